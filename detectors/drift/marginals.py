"""Drift of single columns and joint directions: one e-detector over all of them.

Every watched column is cut into bins at the reference's order statistics; the sketch is the count matrix. Bets on the
counts (``bets.py``) earn evidence (``detectors/evidence.py``), tempered by the column's overdispersion in time, and the
model's evidence is their weighted mean. Memory: about 0.2 kB a column in the sketch, 0.3 kB in the evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from detectors.base import MODEL, Arrays, Judgement, Kind, Level, Pane, Part, Reading, Subject, Unfit
from detectors.batch import EventBatch, FloatArray, IntArray, ObjectArray
from detectors.budget import AlarmBudget
from detectors.drift.bets import Tolerance, column_bets, smoothed
from detectors.drift.columns import (
    INNER,
    N_BINS,
    CodeArray,
    Group,
    NumericBins,
    Role,
    WatchedColumn,
)
from detectors.drift.effects import mean_shift, population_stability_index, share_moved
from detectors.drift.values import (
    answered,
)
from detectors.drift.watch import Watch
from detectors.evidence import NO_EVIDENCE, accumulate, legendre_scores, log_mean, overdispersion
from detectors.schema import Schema
from detectors.sketch import Sketch

GROUP_WEIGHTS: Mapping[Group, float] = {Group.FEATURE: 0.55, Group.OUTPUT: 0.2, Group.JOINT: 0.25}
_MINIMUM_EVENTS = 50
_ONSET_LOG_EVIDENCE = float(np.log(10.0))
_WARNING_MARGIN = float(np.log(100.0))
_TOP_COLUMNS = 8
_BEYOND_SD = 4.0
_GONE = {"missing": "is missing", "invalid": "is invalid", "unseen": "has values never seen before"}
_CONVINCING_LOG_EVIDENCE = float(np.log(1_000.0))
"""A column's own evidence from which it is listed beside the leading one."""


@dataclass(frozen=True)
class MarginalDrift:
    """Drift detector over features, outputs and joint directions; see the module's docstring."""

    name: ClassVar[str] = "drift"
    kind: ClassVar[Kind] = Kind.DRIFT

    watch: Watch
    counts: IntArray
    """(columns, N_BINS) of the reference."""
    bets: FloatArray
    """(bets, N_BINS) log likelihood ratio of one event in each bin, already tempered."""
    bet_column: IntArray
    """(bets,) index of the column that a bet is on."""
    bet_weight: FloatArray
    """(bets,) weights, summing to one."""
    log_threshold: float
    minimum_effect: float

    @classmethod
    def fit(cls, reference: EventBatch, schema: Schema, pane_s: float, seed: int) -> Part | Unfit:
        """Bins, counts and overdispersion of every column; needs at least 50 events."""
        reference = reference.take(answered(reference))
        if len(reference) < _MINIMUM_EVENTS:
            return Unfit(f"the reference has {len(reference)} events; drift needs at least {_MINIMUM_EVENTS}")
        watch = Watch.fit(reference, schema)
        columns = watch.columns
        if not columns:
            return Unfit("the reference logs neither features nor outputs that could drift")
        codes = watch.codes_of_reference(reference)
        counts = np.stack([np.bincount(codes[:, c], minlength=N_BINS) for c in range(len(columns))])
        time_blocks = _time_blocks(reference.timestamp, pane_s)
        in_time, between_clients = [], []
        for c, column in enumerate(columns):
            scores = _dispersion_scores(column, counts[c], codes[:, c])
            in_time.append(max(_mean_overdispersion(scores, blocks) for blocks in time_blocks))
            between_clients.append(_client_overdispersion(scores, reference.client_id))
        arrays: dict[str, Any] = {
            "counts": counts,
            "overdispersion_time": np.asarray(in_time),
            "overdispersion_clients": np.asarray(between_clients),
        }
        return Part({**arrays, **watch.to_arrays()}, {"columns": watch.to_facts()})

    @classmethod
    def build(cls, part: Part, schema: Schema, budget: AlarmBudget) -> Self:
        watch = Watch.load(part.arrays, part.facts["columns"], schema)
        columns = watch.columns
        counts = np.asarray(part.arrays["counts"], dtype=np.int64)
        in_time = np.asarray(part.arrays["overdispersion_time"], dtype=np.float64)
        clients = np.asarray(part.arrays["overdispersion_clients"], dtype=np.float64)
        tolerance = Tolerance()
        present = {column.group for column in columns}
        total_weight = sum(GROUP_WEIGHTS[group] for group in present)
        bets, owner, weight = [], [], []
        for c, column in enumerate(columns):
            effective_n = counts[c].sum() / max(in_time[c], clients[c])
            ratios, shares = column_bets(column, counts[c], float(effective_n), tolerance)
            peers = sum(other.group is column.group for other in columns)
            bets.append(ratios / in_time[c])
            owner.append(np.full(len(shares), c))
            weight.append(shares * GROUP_WEIGHTS[column.group] / total_weight / peers)
        return cls(
            watch=watch,
            counts=counts,
            bets=np.concatenate(bets),
            bet_column=np.concatenate(owner),
            bet_weight=np.concatenate(weight),
            log_threshold=budget.log_threshold(cls.name),
            minimum_effect=tolerance.mass,
        )

    def sketch(self, batch: EventBatch, starts: IntArray) -> Sequence[Sketch]:
        codes = self.watch.codes(batch)
        n_columns = len(self.columns)
        flat = codes + np.arange(n_columns) * N_BINS
        counted = answered(batch)
        ends = np.append(starts[1:], len(batch))
        return [
            Sketch(
                {
                    "bins": np.bincount(flat[a:b][counted[a:b]].ravel(), minlength=n_columns * N_BINS).reshape(
                        n_columns, N_BINS
                    )
                }
            )
            for a, b in zip(starts, ends, strict=True)
        ]

    @property
    def columns(self) -> tuple[WatchedColumn, ...]:
        return self.watch.columns

    def subjects(self, pane: Pane) -> Sequence[Subject]:
        return (MODEL,)

    def judge(self, evidence: Mapping[Subject, Arrays], pane: Pane) -> Judgement:
        state = evidence.get(MODEL)
        log_evidence = (
            np.full(len(self.bet_weight), NO_EVIDENCE)
            if state is None
            else np.asarray(state["log_evidence"], dtype=np.float64)
        )
        seen = np.zeros_like(self.counts) if state is None else np.asarray(state["seen"], dtype=np.int64)
        since = pane.start if state is None or not seen.any() else float(np.asarray(state["since"]))
        bins = pane.sketch.totals["bins"]
        log_ratio = np.einsum("bk,bk->b", bins[self.bet_column].astype(np.float64), self.bets)
        log_evidence = accumulate(log_evidence, log_ratio)
        seen = seen + bins
        total = log_mean(log_evidence, self.bet_weight)
        reading = self._reading(total, log_evidence, seen, since)
        if reading.level is Level.ALARM:
            log_evidence = np.full_like(log_evidence, NO_EVIDENCE)
        if reading.level is Level.ALARM or total < _ONSET_LOG_EVIDENCE:
            seen = np.zeros_like(seen)
        kept = {"log_evidence": log_evidence, "seen": seen, "since": np.asarray(since)}
        return Judgement({MODEL: kept}, (reading,))

    def _reading(self, total: float, log_evidence: FloatArray, seen: IntArray, since: float) -> Reading:
        if total < self.log_threshold - _WARNING_MARGIN:
            return self._verdict(Level.OK, total, 0.0, None, "No column has moved beyond the tolerance.", {})
        by_column = self._column_evidence(log_evidence)
        shares = np.exp(by_column - total)
        convincing = by_column - np.log(self._column_weight()) > _CONVINCING_LOG_EVIDENCE
        ranked = np.argsort(-by_column, kind="stable")
        top = [int(c) for i, c in enumerate(ranked[:_TOP_COLUMNS]) if i == 0 or convincing[c]]
        top.sort(key=lambda c: self.columns[c].group is Group.JOINT)
        changes = [self._change(c, seen[c], float(shares[c])) for c in top]
        effect = max((change["share_moved"] for change in changes[:3]), default=0.0)
        alarmed = total >= self.log_threshold and effect >= self.minimum_effect
        n_events = int(seen[0].sum())
        detail = {
            "columns": changes,
            "n_events": n_events,
            "n_columns": len(self.columns),
            "n_moved": int(convincing.sum()),
        }
        reason = _sentence(changes, n_events, int(convincing.sum()))
        return self._verdict(Level.ALARM if alarmed else Level.WARNING, total, effect, since, reason, detail)

    def _verdict(
        self, level: Level, total: float, effect: float, since: float | None, reason: str, detail: Mapping[str, Any]
    ) -> Reading:
        return Reading(
            detector=self.name,
            kind=self.kind,
            subject=MODEL,
            level=level,
            log_evidence=total,
            log_threshold=self.log_threshold,
            effect=effect,
            effect_unit="share of traffic",
            minimum_effect=self.minimum_effect,
            since=since,
            reason=reason,
            detail=detail,
        )

    def _column_evidence(self, log_evidence: FloatArray) -> FloatArray:
        """(columns,) log of each column's part of the weighted mean."""
        sums = np.full(len(self.columns), NO_EVIDENCE)
        np.logaddexp.at(sums, self.bet_column, log_evidence + np.log(self.bet_weight))
        return sums

    def _column_weight(self) -> FloatArray:
        return np.bincount(self.bet_column, weights=self.bet_weight, minlength=len(self.columns)).astype(np.float64)

    def _change(self, c: int, seen: IntArray, evidence_share: float) -> dict[str, Any]:
        column = self.columns[c]
        reference, current = smoothed(self.counts[c]), smoothed(seen)
        shown = [i for i, label in enumerate(column.labels()) if label and (self.counts[c][i] or seen[i])]
        moved = share_moved(reference, current, int(seen.sum()))
        shift = _location_shift(column, self.counts[c], seen)
        return {
            "name": column.name,
            "role": "output" if column.group is Group.OUTPUT else column.role.value,
            "effect": shift if column.role is Role.NUMERIC else moved,
            "effect_unit": "sd" if column.role is Role.NUMERIC else "share of traffic",
            "psi": round(population_stability_index(reference, current), 4),
            "share_moved": moved,
            "evidence_share": evidence_share,
            "labels": [column.labels()[i] for i in shown],
            "reference": [round(float(self.counts[c][i] / max(self.counts[c].sum(), 1)), 6) for i in shown],
            "current": [round(float(seen[i] / max(seen.sum(), 1)), 6) for i in shown],
        }


def _time_blocks(timestamp: FloatArray, pane_s: float) -> list[FloatArray]:
    """Block labels at widths of 1, 4, 16, … panes, while at least eight blocks remain."""
    blocks = []
    width = pane_s
    while True:
        labels = np.floor(timestamp / width)
        if np.unique(labels).size < 8:
            break
        blocks.append(labels)
        width *= 4
    return blocks or [np.floor(np.arange(len(timestamp)) / max(len(timestamp) // 20, 1))]


def _dispersion_scores(column: WatchedColumn, counts: IntArray, codes: CodeArray) -> list[FloatArray]:
    if isinstance(column.bins, NumericBins):
        n_inner = column.bins.n_inner
        padded = [np.concatenate([s, np.zeros(N_BINS - n_inner)]) for s in legendre_scores(smoothed(counts[:n_inner]))]
        return [scores[codes] for scores in padded]
    heavy = np.argsort(-counts[:INNER])[:4]
    return [(codes == k).astype(np.float64) for k in heavy if 0 < counts[k] < counts.sum()]


def _mean_overdispersion(scores: Sequence[FloatArray], groups: FloatArray) -> float:
    return float(np.mean([overdispersion(score, groups) for score in scores])) if scores else 1.0


def _client_overdispersion(scores: Sequence[FloatArray], client_id: ObjectArray | None) -> float:
    if client_id is None:
        return 1.0
    _, labels = np.unique(client_id.astype(str), return_inverse=True)
    return _mean_overdispersion(scores, labels.astype(np.float64))


def _location_shift(column: WatchedColumn, counts: IntArray, seen: IntArray) -> float:
    if not isinstance(column.bins, NumericBins):
        return 0.0
    inner = slice(0, column.bins.n_inner)
    reference, current = smoothed(counts[inner]), smoothed(seen[inner])
    return mean_shift(reference, current, legendre_scores(reference)[0])


def _sentence(changes: Sequence[Mapping[str, Any]], n_events: int, n_moved: int) -> str:
    if not changes:
        return f"The distribution of the last {n_events:,} events differs from the reference."
    words = [_words(change) for change in changes[:3]]
    more = f"; {n_moved - len(words)} more columns moved" if n_moved > len(words) else ""
    return f"Over the last {n_events:,} events " + "; ".join(words) + more + "."


def _words(change: Mapping[str, Any]) -> str:
    moved = f"{100 * change['share_moved']:.0f} % of its traffic moved"
    for label, words in _GONE.items():
        if label in change["labels"]:
            at = change["labels"].index(label)
            before, after = change["reference"][at], change["current"][at]
            if after - before >= max(0.5 * change["share_moved"], 0.01):
                return (
                    f"{change['name']} {words} in {100 * after:.0f} % of events ({100 * before:.1f} % in the reference)"
                )
    if change["effect_unit"] == "sd" and abs(change["effect"]) >= 0.1:
        direction = "rose" if change["effect"] > 0 else "fell"
        if abs(change["effect"]) > _BEYOND_SD:
            return f"{change['name']} {direction} beyond all that the reference knew ({moved})"
        return f"{change['name']} {direction} by {abs(change['effect']):.1f} sd ({moved})"
    return f"{change['name']} changed ({moved})"
