"""Columns: shares of missing, non-finite, wrongly typed and never-seen values, column by column.

What a value is (missing, number, non-finite, text, bool) is told from the value alone, so a column that turns from
number to text is seen whatever its role. A bet pays beyond the reference's own share plus the tolerance plus the
reference's sampling error, tempered by how much the share clusters in time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from detectors.base import Arrays, Pane, Part
from detectors.batch import EventBatch, FloatArray, IntArray, ObjectArray
from detectors.budget import AlarmBudget
from detectors.drift.effects import population_stability_index
from detectors.evidence import overdispersion, rate_bet
from detectors.quality.watch import Finding, Look, dispersion_blocks, slice_sums
from detectors.schema import Schema, categorical_column
from detectors.sketch import Sketch


class Value(IntEnum):
    """What a logged value is; ``UNSEEN`` is counted on top of ``TEXT``, ``BOOL`` or ``NUMBER``."""

    MISSING = 0
    NUMBER = 1
    NONFINITE = 2
    TEXT = 3
    BOOL = 4
    UNSEEN = 5


class Fault(IntEnum):
    MISSING = 0
    NONFINITE = 1
    WRONG_TYPE = 2
    UNSEEN = 3


_FAULT_WORDS = {
    Fault.MISSING: "is missing",
    Fault.NONFINITE: "is infinite",
    Fault.WRONG_TYPE: "has values of another type",
    Fault.UNSEEN: "has values never seen before",
}
_FAULT_LABELS = {
    Fault.MISSING: "missing",
    Fault.NONFINITE: "invalid",
    Fault.WRONG_TYPE: "other type",
    Fault.UNSEEN: "unseen",
}
_TYPES = (Value.NUMBER, Value.TEXT, Value.BOOL)
_RISES = (0.05, 0.25, 0.8)
_SAMPLING = 2.5
_HIGHEST_NULL = 0.95
_MOST_KNOWN = 2_000
_LONGEST_KNOWN = 200
_GONE = 0.99
OUTPUTS = ("prediction", "probabilities", "logits", "embedding")
TOGETHER = ""
"""The cause that is several categorical columns together."""


@dataclass(frozen=True)
class ColumnWatch:
    """Bets on the shares of faulty values; one cause a column, and one for the categorical columns together."""

    name: ClassVar[str] = "columns"
    pane_cap: ClassVar[float] = 0.7

    names: tuple[str, ...]
    outputs: tuple[str, ...]
    known: Mapping[str, frozenset[str]]
    """Categorical column → the values that the reference saw."""
    shares: FloatArray
    """(columns, faults) of the reference."""
    foreign: NDArray[np.bool_]
    """(columns, values) whether a type never occurs in the reference."""
    ratios: FloatArray
    """(bets, 2) log ratio of an event with and without the fault, tempered."""
    owners: IntArray
    faults: IntArray
    """(bets,) the fault that each bet is on."""
    weights: FloatArray
    tolerance: float

    @classmethod
    def fit(cls, batch: EventBatch, schema: Schema, pane_s: float) -> Part | None:
        """None when the reference logs neither features nor outputs."""
        names = tuple(column.name for column in schema.columns)
        outputs = tuple(o for o in OUTPUTS if getattr(batch, o) is not None and o not in names)
        if not names and not outputs:
            return None
        known = _known_values(batch, schema)
        codes = np.stack([_codes(batch, name) for name in names + outputs], axis=1)
        counts = np.stack([(codes == value).sum(axis=0) for value in Value if value is not Value.UNSEEN], axis=1)
        novelty = np.array([_novelty(batch, name) if name in known else 0.0 for name in names + outputs])
        pane = np.floor(batch.timestamp / pane_s).astype(np.int64)
        blocks = dispersion_blocks(pane)
        deff = np.ones((len(names) + len(outputs), len(Fault)))
        for c in range(deff.shape[0]):
            for fault, value in ((Fault.MISSING, Value.MISSING), (Fault.NONFINITE, Value.NONFINITE)):
                if 0 < counts[c, value] < len(batch):
                    hits = (codes[:, c] == value).astype(np.float64)
                    deff[c, fault] = max([1.0, *(overdispersion(hits, block) for block in blocks)])
        facts = {
            "names": list(names),
            "outputs": list(outputs),
            "known": {name: sorted(values) for name, values in known.items()},
        }
        return Part({"counts": counts, "novelty": novelty, "deff": deff}, facts)

    @classmethod
    def build(cls, part: Part, budget: AlarmBudget) -> Self:
        names, outputs = tuple(part.facts["names"]), tuple(part.facts["outputs"])
        known = {name: frozenset(values) for name, values in part.facts["known"].items()}
        counts = np.asarray(part.arrays["counts"], dtype=np.float64)
        novelty = np.asarray(part.arrays["novelty"], dtype=np.float64)
        deff = np.asarray(part.arrays["deff"], dtype=np.float64)
        n = max(float(counts[0].sum()), 1.0)
        shares = np.zeros((len(counts), len(Fault)))
        shares[:, Fault.MISSING] = counts[:, Value.MISSING] / n
        shares[:, Fault.NONFINITE] = counts[:, Value.NONFINITE] / n
        shares[:, Fault.UNSEEN] = novelty
        foreign = np.zeros((len(counts), len(Value)), dtype=np.bool_)
        foreign[:, _TYPES] = counts[:, _TYPES] == 0
        ratios, owners, faults = [], [], []
        watched = [(c, f) for c in range(len(counts)) for f in Fault if f is not Fault.UNSEEN or _at(names, c) in known]
        for c, fault in watched:
            bets = _share_bets(shares[c, fault], n / deff[c, fault], budget.tolerance) / deff[c, fault]
            ratios += list(bets)
            owners += [c] * len(bets)
            faults += [fault] * len(bets)
        if len(known) >= 2:
            mean = float(np.mean([novelty[names.index(name)] for name in known]))
            bets = _share_bets(mean, n, budget.tolerance) / len(known)
            ratios += list(bets)
            owners += [len(counts)] * len(bets)
            faults += [Fault.UNSEEN] * len(bets)
        owner = np.asarray(owners, dtype=np.int64)
        bets_of = np.bincount(owner)
        return cls(
            names=names,
            outputs=outputs,
            known=known,
            shares=shares,
            foreign=foreign,
            ratios=np.asarray(ratios).reshape(-1, 2),
            owners=owner,
            faults=np.asarray(faults, dtype=np.int64),
            weights=1.0 / bets_of[owner] / np.count_nonzero(bets_of),
            tolerance=budget.tolerance,
        )

    @property
    def _others(self) -> int:
        """Categorical columns that ``TOGETHER`` is about in a pane: all but the worst."""
        return max(len(self.known) - 1, 1)

    @property
    def n_causes(self) -> int:
        return len(self.subjects)

    @property
    def subjects(self) -> tuple[str, ...]:
        """What each cause is called; ``TOGETHER`` last."""
        return (*self.names, *self.outputs, TOGETHER)

    def sketch(self, batch: EventBatch, starts: IntArray) -> Sequence[Sketch]:
        columns = self.names + self.outputs
        counts = np.zeros((len(starts), len(columns), len(Value)), dtype=np.int64)
        numeric = {name: i for i, name in enumerate(batch.numeric_names)}
        block = np.array([numeric.get(name, -1) for name in self.names], dtype=np.int64)
        if np.any(block >= 0):
            there = np.flatnonzero(block >= 0)
            counts[:, there, :5] = _numeric_counts(batch.numeric[:, block[there]], starts)
        for c in range(len(columns)):
            if c < len(self.names) and block[c] >= 0 and columns[c] not in self.known:
                continue
            codes = _codes(batch, columns[c])
            counts[:, c, :5] = slice_sums((codes[:, None] == np.arange(5)).astype(np.int64), starts)
            if columns[c] in self.known:
                values, seen = categorical_column(batch, columns[c]), self.known[columns[c]]
                new = np.array([v is not None and v not in seen for v in values], dtype=np.int64)
                counts[:, c, Value.UNSEEN] = slice_sums(new, starts)
        return [Sketch({"values": count}) for count in counts]

    def look(self, pane: Pane) -> Look | None:
        values = pane.sketch.totals["values"]
        n = int(values[0, : Value.UNSEEN].sum())
        if n == 0:
            return None
        counts = self._fault_counts(values)
        hits = counts[self.owners, self.faults].astype(np.float64)
        trials = np.full(len(hits), float(n))
        trials[self.owners == len(values)] = n * self._others
        log_ratio = hits * self.ratios[:, 0] + (trials - hits) * self.ratios[:, 1]
        window = np.concatenate([counts, np.full((len(counts), 1), n)], axis=1)
        return Look(log_ratio, {"window": window})

    def finding(self, cause: int, window: Arrays, notes: Arrays) -> Finding:
        counts = np.asarray(window["window"])[cause].astype(np.float64)
        n = max(float(counts[-1]), 1.0)
        if cause == len(self.shares):
            return self._together(counts[Fault.UNSEEN] / n / self._others)
        now, before = counts[: len(Fault)] / n, self.shares[cause]
        fault = Fault(int(np.argmax(now - before)))
        name = self.subjects[cause]
        return Finding(
            name=name,
            words=_words(name, fault, float(now[fault]), float(before[fault])),
            expected=float(before[fault]),
            current=float(now[fault]),
            unit="share of events",
            effect=float(now[fault] - before[fault]),
            effect_unit="share of traffic",
            minimum_effect=self.tolerance,
            change=self._change(cause, now, before, fault),
        )

    def vanished(self, cause: int, window: Arrays) -> bool:
        """Whether the column is missing from all recent events though the reference had it."""
        counts = np.asarray(window["window"])[cause]
        return bool(
            cause < len(self.shares)
            and counts[Fault.MISSING] >= _GONE * max(counts[-1], 1)
            and self.shares[cause, Fault.MISSING] < _GONE
        )

    def _together(self, share: float) -> Finding:
        before = float(np.mean([self.shares[self.names.index(name), Fault.UNSEEN] for name in self.known]))
        words = f"{_percent(share)} of categorical values were never seen before ({_percent(before)} usually)"
        return Finding(
            "unseen values", words, before, share, "share of values", share - before, "share of values", self.tolerance
        )

    def _change(self, cause: int, now: FloatArray, before: FloatArray, fault: Fault) -> dict[str, Any]:
        current, reference = (np.append(x, max(1.0 - x.sum(), 0.0)) for x in (now, before))
        smooth = [(x + 1e-4) / (x + 1e-4).sum() for x in (reference, current)]
        return {
            "name": self.subjects[cause],
            "role": "output" if cause >= len(self.names) else "feature",
            "effect": float(now[fault] - before[fault]),
            "effect_unit": "share of traffic",
            "psi": round(population_stability_index(*smooth), 4),
            "share_moved": float(now[fault] - before[fault]),
            "labels": [*(_FAULT_LABELS[f] for f in Fault), "as usual"],
            "reference": [round(float(x), 6) for x in reference],
            "current": [round(float(x), 6) for x in current],
        }

    def _fault_counts(self, values: IntArray) -> IntArray:
        """(columns + 1, faults) of a pane's (columns, values); the last row is all categorical columns but the worst.

        What one column alone does is that column's cause.
        """
        counts = np.zeros((len(values) + 1, len(Fault)), dtype=np.int64)
        counts[:-1, Fault.MISSING] = values[:, Value.MISSING]
        counts[:-1, Fault.NONFINITE] = values[:, Value.NONFINITE]
        counts[:-1, Fault.WRONG_TYPE] = np.where(self.foreign, values, 0).sum(axis=1)
        counts[:-1, Fault.UNSEEN] = values[:, Value.UNSEEN]
        counts[-1, Fault.UNSEEN] = values[:, Value.UNSEEN].sum() - values[:, Value.UNSEEN].max()
        return counts


def _share_bets(share: float, effective_n: float, tolerance: float) -> FloatArray:
    """(bets, 2) log ratios of an event with and without the fault; none where nearly all have it already."""
    n = max(effective_n, 1.0)
    null = share + tolerance + _SAMPLING * float(np.sqrt(max(share * (1 - share), 1.0 / n) / n))
    if null >= _HIGHEST_NULL:
        return np.empty((0, 2))
    inside = np.array([1.0, 0.0])
    return np.stack([rate_bet(inside, null, null + (1 - null) * rise) for rise in _RISES])


def _numeric_counts(matrix: FloatArray, starts: IntArray) -> IntArray:
    """(slices, columns, 5) of a matrix of numbers."""
    missing = slice_sums(np.isnan(matrix).astype(np.int64), starts)
    infinite = slice_sums(np.isinf(matrix).astype(np.int64), starts)
    out = np.zeros((*missing.shape, 5), dtype=np.int64)
    sizes = np.diff(np.append(starts, len(matrix)))
    out[..., Value.MISSING], out[..., Value.NONFINITE] = missing, infinite
    out[..., Value.NUMBER] = sizes[:, None] - missing - infinite
    return out


def _codes(batch: EventBatch, name: str) -> IntArray:
    """(n,) what each value of a feature or output is; a column that is not there is missing."""
    if name in batch.mixed:
        return _object_codes(batch.mixed[name])
    if name in batch.numeric_names:
        return _number_codes(batch.numeric[:, batch.numeric_names.index(name)])
    values = getattr(batch, name) if name in OUTPUTS else None
    if values is None:
        return np.full(len(batch), Value.MISSING, dtype=np.int64)
    return _object_codes(values) if values.ndim == 1 else _row_codes(values)


def _number_codes(values: FloatArray) -> IntArray:
    codes = np.full(len(values), int(Value.NUMBER), dtype=np.int64)
    codes[np.isinf(values)] = Value.NONFINITE
    codes[np.isnan(values)] = Value.MISSING
    return codes


def _row_codes(rows: FloatArray) -> IntArray:
    codes = np.full(len(rows), int(Value.NUMBER), dtype=np.int64)
    codes[np.isinf(rows).any(axis=1)] = Value.NONFINITE
    codes[np.isnan(rows).all(axis=1)] = Value.MISSING
    return codes


def _object_codes(values: ObjectArray) -> IntArray:
    return np.fromiter((_code(value) for value in values), dtype=np.int64, count=len(values))


def _code(value: object) -> int:
    if value is None:
        return Value.MISSING
    if isinstance(value, str):
        return Value.TEXT
    if isinstance(value, bool | np.bool_):
        return Value.BOOL
    if isinstance(value, int | float | np.number):
        number = float(value)
        return Value.MISSING if np.isnan(number) else Value.NONFINITE if np.isinf(number) else Value.NUMBER
    return Value.TEXT


def _known_values(batch: EventBatch, schema: Schema) -> dict[str, frozenset[str]]:
    """Values of the categorical columns that have few enough, and short enough, to be remembered."""
    known = {}
    for name in schema.categories:
        values = {v for v in categorical_column(batch, name) if v is not None}
        if 0 < len(values) <= _MOST_KNOWN and max(map(len, values)) <= _LONGEST_KNOWN:
            known[name] = frozenset(values)
    return known


def _novelty(batch: EventBatch, name: str) -> float:
    """Share of values that a reference of half the size had not seen, and the Good-Turing share of the whole."""
    values = categorical_column(batch, name)
    half = len(values) // 2
    before = set(values[:half])
    present = [v for v in values if v is not None]
    _, counts = np.unique(present, return_counts=True)
    unseen = float(np.mean([v is not None and v not in before for v in values[half:]]))
    return max(float((counts == 1).sum()) / len(values), unseen / 2)


def _at(names: Sequence[str], index: int) -> str | None:
    return names[index] if index < len(names) else None


def _words(name: str, fault: Fault, now: float, before: float) -> str:
    if fault is Fault.MISSING and now >= _GONE:
        return f"column {name} has vanished: no event carries it any more"
    if fault is Fault.WRONG_TYPE and now >= _GONE:
        return f"column {name} has changed its type in all events"
    return f"column {name} {_FAULT_WORDS[fault]} in {_percent(now)} of events ({_percent(before)} usually)"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 or share == 0 else f"{100 * share:.1f} %"
