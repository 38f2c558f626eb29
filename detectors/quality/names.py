"""Names: features that the reference never had. A sender must not be able to fill a sketch with names of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from detectors.base import Arrays, Pane, Part
from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.budget import AlarmBudget
from detectors.evidence import rate_bet
from detectors.quality.hashing import text_hashes
from detectors.quality.watch import Finding, Look, even, slice_sums
from detectors.schema import Schema
from detectors.sketch import Sketch

MOST_NAMES = 32
LONGEST_NAME = 80
_RISES = (0.05, 0.25, 0.8)
_HIGHEST_NULL = 0.95
_SHOWN = 5


@dataclass(frozen=True)
class NameWatch:
    """Bets on the share of events that carry a feature of an unknown name.

    The sketch holds that share exactly, and the ``MOST_NAMES`` unknown names with the lowest hash: the same ones
    whichever worker saw them first.
    """

    name: ClassVar[str] = "schema"
    pane_cap: ClassVar[float] = 0.7

    known: frozenset[str]
    null: float
    tolerance: float

    @classmethod
    def fit(cls, batch: EventBatch, schema: Schema) -> Part:
        """Learns how often new names turned up within the reference: models with sparse features have some."""
        half = len(batch) // 2
        early = _carried(batch.take(np.arange(half)))
        late = batch.take(np.arange(half, len(batch)))
        share = float(_unknown(late, early).any(axis=1).mean()) if len(late) else 0.0
        return Part({}, {"known": [column.name for column in schema.columns], "share": share})

    @classmethod
    def build(cls, part: Part, budget: AlarmBudget) -> Self:
        null = min(float(part.facts["share"]) + budget.tolerance, _HIGHEST_NULL)
        return cls(frozenset(part.facts["known"]), null, budget.tolerance)

    @property
    def n_causes(self) -> int:
        return 1

    @property
    def owners(self) -> IntArray:
        return np.zeros(len(_RISES), dtype=np.int64)

    @property
    def weights(self) -> FloatArray:
        return even(len(_RISES))

    def sketch(self, batch: EventBatch, starts: IntArray) -> Sequence[Sketch]:
        names = [name for name in batch.feature_names if name not in self.known]
        found = _unknown(batch, self.known)
        ends = np.append(starts[1:], len(batch))
        new = slice_sums(np.asarray(found.any(axis=1), dtype=np.int64), starts)
        return [
            Sketch({"events": np.array([b - a, k])}, {"names": _kept(names, found[a:b])})
            for a, b, k in zip(starts, ends, new, strict=True)
        ]

    def look(self, pane: Pane) -> Look | None:
        n, new = (int(value) for value in pane.sketch.totals["events"])
        if n == 0:
            return None
        inside = np.array([1.0, 0.0])
        bets = [rate_bet(inside, self.null, self.null + (1 - self.null) * rise) for rise in _RISES]
        names = sorted(pane.sketch.keyed.get("names", {}), key=_rank)[:MOST_NAMES]
        return Look(
            np.array([new * bet[0] + (n - new) * bet[1] for bet in bets]),
            {"window": np.array([[new, n]])},
            {"names": np.array(names, dtype=f"<U{LONGEST_NAME}")} if names else {},
        )

    def finding(self, cause: int, window: Arrays, notes: Arrays) -> Finding:
        new, n = (float(value) for value in np.asarray(window["window"])[cause])
        share = new / max(n, 1.0)
        names = sorted(str(name) for name in np.asarray(notes.get("names", np.empty(0, dtype="<U1"))))
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        listed = ", ".join(names[:_SHOWN]) + more
        one = len(names) == 1
        return Finding(
            name="schema changed",
            words=f"{100 * share:.0f} % of events carry {'a feature' if one else 'features'} that the reference "
            f"never had: {listed}",
            expected=0.0,
            current=share,
            unit="share of events",
            effect=share,
            effect_unit="share of traffic",
            minimum_effect=self.null,
        )


def _carried(batch: EventBatch) -> frozenset[str]:
    found = _unknown(batch, frozenset())
    return frozenset(name for j, name in enumerate(batch.feature_names) if found[:, j].any())


def _unknown(batch: EventBatch, known: frozenset[str]) -> NDArray[np.bool_]:
    """(n, unknown names) where an event carries a value under each name that is not in ``known``."""
    numeric = [j for j, name in enumerate(batch.numeric_names) if name not in known]
    found = [~np.isnan(batch.numeric[:, numeric])] if numeric else []
    for name, values in batch.mixed.items():
        if name not in known:
            found.append(np.array([[value is not None] for value in values], dtype=np.bool_).reshape(-1, 1))
    return np.concatenate(found, axis=1) if found else np.zeros((len(batch), 0), dtype=np.bool_)


def _kept(names: Sequence[str], found: NDArray[np.bool_]) -> Mapping[str, IntArray]:
    counts: dict[str, int] = {}
    for name, times in zip(names, found.sum(axis=0), strict=True):
        if times:
            cut = name[:LONGEST_NAME]
            counts[cut] = counts.get(cut, 0) + int(times)
    return {name: np.array([counts[name]]) for name in sorted(counts, key=_rank)[:MOST_NAMES]}


def _rank(name: str) -> tuple[int, str]:
    return int(text_hashes([name], 1)[0]), name
