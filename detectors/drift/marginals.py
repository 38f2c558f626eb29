"""Drift of columns: features, outputs, joint directions, and whole panes.

Every watched column is cut into bins at the reference's order statistics; the sketch is the count matrix, and the same
for each watched segment. A chart (``chart.py``) bets on the counts of the model as a whole, one more for each segment,
within the season that the pane belongs to. An alarm names what moved, since when, and whether one client or segment
causes it. Memory: about 0.2 kB a column in the sketch, 1 kB in the evidence, each per segment and season.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from detectors.base import MODEL, Arrays, Judgement, Kind, Level, Pane, Part, Reading, Subject, Unfit
from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.budget import AlarmBudget
from detectors.drift.chart import Chart, ChartState
from detectors.drift.cohorts import CohortCode, Cohorts, find_cause
from detectors.drift.columns import CodeArray, Group, WatchedColumn
from detectors.drift.digitise import count_groups, count_slices
from detectors.drift.dispersion import Dispersion, column_scores
from detectors.drift.effects import listed_by_e_bh
from detectors.drift.segments import BUDGET_SHARE, choose_segments, segment_counts, subject_of
from detectors.drift.values import answered
from detectors.drift.variation import counted, distance, fit_variation, reference_masses, variation_column
from detectors.drift.watch import Watch
from detectors.drift.words import change, sentence
from detectors.schema import Schema
from detectors.seasons import Seasons, find_seasons
from detectors.sketch import Sketch

GROUP_WEIGHTS: Mapping[Group, float] = {
    Group.FEATURE: 0.5,
    Group.OUTPUT: 0.2,
    Group.JOINT: 0.2,
    Group.VARIATION: 0.1,
}
FALSE_DISCOVERY_RATE = 0.1
_MINIMUM_EVENTS = 50
_LEAST_EFFECT = 0.01
_WARNING_MARGIN = float(np.log(100.0))
_LEAST_LOG_EVIDENCE = -50.0
_TOP_COLUMNS = 8
_CONVINCING_LOG_EVIDENCE = float(np.log(1_000.0))
"""A column's own evidence from which it is listed beside the leading one."""
_SEGMENTS_TOLD = 10


@dataclass(frozen=True, eq=False)
class SegmentChart:
    """The chart of one segment and its alarm line."""

    chart: Chart
    log_threshold: float


@dataclass(frozen=True, eq=False)
class MarginalDrift:
    """Drift detector over features, outputs, joint directions and whole panes; see the module's docstring.

    Attributes:
        columns: what the model's chart is about: the watch's columns, and the variation of panes where it is watched.
        masses: (strata, watched columns, N_BINS) of the reference, for the variation of panes; None where unwatched.
    """

    name: ClassVar[str] = "drift"
    kind: ClassVar[Kind] = Kind.DRIFT

    watch: Watch
    seasons: Seasons
    columns: tuple[WatchedColumn, ...]
    masses: FloatArray | None
    chart: Chart
    segments: Mapping[str, SegmentChart]
    cohorts: CohortCode
    log_threshold: float
    minimum_effect: float

    @classmethod
    def fit(cls, reference: EventBatch, schema: Schema, pane_s: float, seed: int) -> Part | Unfit:
        """Bins, counts by season and segment, and overdispersion of every column; needs at least 50 events."""
        reference = reference.take(answered(reference))
        if len(reference) < _MINIMUM_EVENTS:
            return Unfit(f"the reference has {len(reference)} events; drift needs at least {_MINIMUM_EVENTS}")
        watch = Watch.fit(reference, schema)
        n_columns = len(watch.columns)
        if not n_columns:
            return Unfit("the reference logs neither features nor outputs that could drift")
        codes = watch.codes_of_reference(reference)
        (whole,) = count_slices(codes, np.array([0]))
        scores = [s for c, column in enumerate(watch.columns) for s in column_scores(column, whole[c], codes[:, c])]
        seasons = find_seasons(reference.timestamp, np.stack(scores, axis=1) if scores else np.empty((0, 0)), pane_s)
        strata = seasons.strata(reference.timestamp)
        counts = count_groups(codes, strata, seasons.n_strata)
        dispersion = Dispersion.measure(watch.columns, whole, codes, strata, reference, pane_s)
        panes, first, pane = np.unique(np.floor(reference.timestamp / pane_s), return_index=True, return_inverse=True)
        arrays: dict[str, Any] = {
            "counts": counts,
            "overdispersion_time": dispersion.in_time,
            "overdispersion_clients": dispersion.between,
            **watch.to_arrays(),
        }
        facts: dict[str, Any] = {
            "columns": watch.to_facts(),
            "seasons": seasons.to_json(),
            "events_per_pane": len(reference) / len(panes),
        }
        variation = fit_variation(codes, pane, strata[first], counts)
        if variation is not None:
            arrays["pane_distances"], facts["variation_overdispersion"] = variation
        facts["segments"] = choose_segments(reference, n_columns)
        (found,) = segment_counts(reference, codes, np.array([0]), facts["segments"])
        arrays["segment_counts"] = np.stack([found[name] for name in facts["segments"]] or [np.zeros_like(whole)])
        return Part(arrays, facts)

    @classmethod
    def build(cls, part: Part, schema: Schema, budget: AlarmBudget) -> Self:
        watch = Watch.load(part.arrays, part.facts["columns"], schema)
        counts = np.asarray(part.arrays["counts"], dtype=np.int64)
        in_time = np.asarray(part.arrays["overdispersion_time"], dtype=np.float64)
        between = np.asarray(part.arrays["overdispersion_clients"], dtype=np.float64)
        names: Sequence[str] = part.facts["segments"]
        log_threshold = budget.log_threshold(cls.name)
        own = log_threshold - np.log(1.0 - BUDGET_SHARE) if names else log_threshold
        per_pane = float(part.facts["events_per_pane"])
        columns, masses = watch.columns, None
        model = (counts, in_time, between)
        if "pane_distances" in part.arrays:
            masses = reference_masses(counts)
            distances = np.asarray(part.arrays["pane_distances"], dtype=np.float64)
            columns = (*columns, variation_column(distances))
            model = _with_variation(
                counts, in_time, between, columns[-1], distances, float(part.facts["variation_overdispersion"])
            )
        chart = Chart.design(columns, *model, _weights(columns), per_pane, budget.tolerance, own)
        segment_counts_ = np.asarray(part.arrays["segment_counts"], dtype=np.int64)
        sizes = {name: float(segment_counts_[i, 0].sum()) for i, name in enumerate(names)}
        segments = {}
        for i, name in enumerate(names):
            share = sizes[name] / sum(sizes.values())
            line = log_threshold - float(np.log(BUDGET_SHARE * share))
            per_segment = per_pane * sizes[name] / max(float(counts[:, 0].sum()), 1.0)
            segments[name] = SegmentChart(
                Chart.design(
                    watch.columns,
                    segment_counts_[i][None],
                    in_time,
                    between,
                    _weights(watch.columns),
                    per_segment,
                    budget.tolerance,
                    line,
                ),
                line,
            )
        return cls(
            watch=watch,
            seasons=Seasons.from_json(part.facts["seasons"]),
            columns=columns,
            masses=masses,
            chart=chart,
            segments=segments,
            cohorts=CohortCode.design(watch.columns, counts.sum(axis=0)),
            log_threshold=own,
            minimum_effect=max(budget.tolerance, _LEAST_EFFECT),
        )

    def sketch(self, batch: EventBatch, starts: IntArray) -> Sequence[Sketch]:
        whole = answered(batch)
        counted_batch = batch if whole.all() else batch.take(whole)
        starts = np.searchsorted(np.flatnonzero(whole), starts)
        codes = self.watch.codes(counted_batch)
        bins = count_slices(codes, starts)
        clients = self._client_sums(counted_batch, codes, starts)
        segments = segment_counts(counted_batch, codes, starts, tuple(self.segments))
        return [
            Sketch({"bins": total}, {group: sums for group, sums in (("clients", c), ("segments", s)) if sums})
            for total, c, s in zip(bins, clients, segments, strict=True)
        ]

    def subjects(self, pane: Pane) -> Sequence[Subject]:
        return (MODEL, *(subject_of(name) for name in pane.sketch.keyed.get("segments", {}) if name in self.segments))

    def judge(self, evidence: Mapping[Subject, Arrays], pane: Pane) -> Judgement:
        bins = pane.sketch.totals["bins"]
        stored = evidence.get(MODEL)
        state = self.chart.start() if stored is None else ChartState.from_arrays(stored)
        clients = Cohorts.none(self.cohorts.n_buckets) if stored is None else Cohorts.from_arrays(stored)
        if bins.any():
            stratum = self.seasons.stratum(pane.start)
            state = self.chart.bet(state, self._pane_counts(bins, stratum), stratum, pane.start)
            clients = clients.plus(pane.sketch.keyed.get("clients", {}))
        total = self.chart.total(state)
        told, kept, excited = self._judge_segments(evidence, pane, self._model_is_excited(state, total))
        waiting = {name: excited[name].waiting.sum(axis=0) for name in excited}
        reading = self._reading(state, total, clients, waiting, told)
        state = self.chart.alarmed(state) if reading.level is Level.ALARM else self.chart.settled(state, total)
        if np.isnan(state.since):
            clients = Cohorts.none(self.cohorts.n_buckets)
        kept[MODEL] = {**state.to_arrays(), **clients.to_arrays()}
        return Judgement(kept, (reading, *told))

    def _client_sums(self, batch: EventBatch, codes: CodeArray, starts: IntArray) -> list[dict[str, IntArray]]:
        if batch.client_id is None:
            return [{} for _ in starts]
        ends = np.append(starts[1:], len(batch))
        return [
            self.cohorts.sums(codes[a:b], batch.client_id[a:b]) if b > a else {}
            for a, b in zip(starts, ends, strict=True)
        ]

    def _pane_counts(self, bins: IntArray, stratum: int) -> IntArray:
        if self.masses is None:
            return bins
        found = distance(bins, self.masses[stratum])
        return np.concatenate([bins, counted(self.columns[-1], np.array([found]))[None]])

    def _model_is_excited(self, state: ChartState, total: float) -> bool:
        return self.chart.standing(state, total) >= self.log_threshold - _WARNING_MARGIN or self.chart.in_doubt(state)

    def _judge_segments(
        self, evidence: Mapping[Subject, Arrays], pane: Pane, model_is_excited: bool
    ) -> tuple[list[Reading], dict[Subject, Arrays], dict[str, ChartState]]:
        """Readings of segments that have something to say, the states to keep, and the states as they were told."""
        readings: list[Reading] = []
        kept: dict[Subject, Arrays] = {}
        told: dict[str, ChartState] = {}
        for name, counts in sorted(pane.sketch.keyed.get("segments", {}).items()):
            watched = self.segments.get(name)
            if watched is None:
                continue
            chart, subject = watched.chart, subject_of(name)
            stored = evidence.get(subject)
            state = chart.start() if stored is None else ChartState.from_arrays(stored)
            state = chart.bet(state, counts, 0, pane.start)
            told[name] = state
            total = chart.total(state)
            level = Level.OK
            if chart.standing(state, total) >= watched.log_threshold - _WARNING_MARGIN:
                reading = self._segment_reading(name, watched, state, total, model_is_excited)
                readings.append(reading)
                level = reading.level
            state = chart.alarmed(state) if level is Level.ALARM else chart.settled(state, total)
            kept[subject] = state.to_arrays()
        return readings, kept, told

    def _segment_reading(
        self, name: str, watched: SegmentChart, state: ChartState, total: float, model_is_excited: bool
    ) -> Reading:
        changes, n_moved = self._changes(watched.chart, self.watch.columns, state, total)
        effect = max((item["share_moved"] for item in changes[:3]), default=0.0)
        alarmed = total >= watched.log_threshold and effect >= self.minimum_effect and not model_is_excited
        n_events = _n_events(state)
        return Reading(
            detector=self.name,
            kind=self.kind,
            subject=subject_of(name),
            level=Level.ALARM if alarmed else Level.WARNING,
            log_evidence=watched.chart.standing(state, total),
            log_threshold=watched.log_threshold,
            effect=effect,
            effect_unit="share of traffic",
            minimum_effect=self.minimum_effect,
            since=watched.chart.onset(state),
            reason=sentence(changes, n_events, n_moved, f" of {name}"),
            detail={"columns": changes, "n_events": n_events, "n_columns": len(self.watch.columns), "n_moved": n_moved},
        )

    def _reading(
        self,
        state: ChartState,
        total: float,
        clients: Cohorts,
        segments: Mapping[str, IntArray],
        told: Sequence[Reading],
    ) -> Reading:
        standing = self.chart.standing(state, total)
        if standing < self.log_threshold - _WARNING_MARGIN:
            calm = "No column has moved beyond the tolerance."
            return self._verdict(Level.OK, standing, 0.0, None, calm, {})
        changes, n_moved = self._changes(self.chart, self.columns, state, total)
        effect = max((item["share_moved"] for item in changes[:3]), default=0.0)
        alarmed = total >= self.log_threshold and effect >= self.minimum_effect
        n_events = _n_events(state)
        detail: dict[str, Any] = {
            "columns": changes,
            "n_events": n_events,
            "n_columns": len(self.columns),
            "n_moved": n_moved,
            "onset": self.chart.onset(state),
        }
        reason = sentence(changes, n_events, n_moved)
        leading = self._leading(state)
        if leading < len(self.watch.columns):
            counts = state.waiting.sum(axis=0)[: len(self.watch.columns)]
            cause = find_cause(self.cohorts, leading, counts, clients, segments)
            if cause is not None:
                detail["cohort"] = cause.to_json()
                reason = f"{reason} {cause.words()[:1].upper()}{cause.words()[1:]}."
        if told:
            worst = sorted(told, key=lambda r: -(r.log_evidence - r.log_threshold))[:_SEGMENTS_TOLD]
            detail["segments"] = [
                {
                    "segment": r.subject.id,
                    "n_events": r.detail["n_events"],
                    "log10_evidence": round(r.log_evidence / np.log(10), 2),
                    "words": r.reason,
                }
                for r in worst
            ]
        level = Level.ALARM if alarmed else Level.WARNING
        return self._verdict(level, standing, effect, self.chart.onset(state), reason, detail)

    def _verdict(
        self, level: Level, total: float, effect: float, since: float | None, reason: str, detail: Mapping[str, Any]
    ) -> Reading:
        return Reading(
            detector=self.name,
            kind=self.kind,
            subject=MODEL,
            level=level,
            log_evidence=max(total, _LEAST_LOG_EVIDENCE),
            log_threshold=self.log_threshold,
            effect=effect,
            effect_unit="share of traffic",
            minimum_effect=self.minimum_effect,
            since=since,
            reason=reason,
            detail=detail,
        )

    def _leading(self, state: ChartState) -> int:
        return int(np.argmax(self.chart.by_column(state.log_evidence) + np.log(self.chart.weight)))

    def _changes(
        self, chart: Chart, columns: Sequence[WatchedColumn], state: ChartState, total: float
    ) -> tuple[list[dict[str, Any]], int]:
        """What moved, by evidence and single columns before joint directions, and how many columns are convincing."""
        own = chart.by_column(state.log_evidence)
        weighted = own + np.log(chart.weight)
        listed = set(listed_by_e_bh(own - np.log(max(state.n_panes, 1)), FALSE_DISCOVERY_RATE))
        convincing = own > _CONVINCING_LOG_EVIDENCE
        ranked = np.argsort(-weighted, kind="stable")
        top = [int(c) for i, c in enumerate(ranked[:_TOP_COLUMNS]) if i == 0 or convincing[c]]
        top.sort(key=lambda c: columns[c].group in (Group.JOINT, Group.VARIATION))
        seen = state.waiting.sum(axis=0)
        reference = chart.reference_of(state.waiting)
        changes = [
            {
                **change(columns[c], reference[c], seen[c]),
                "evidence_share": float(np.exp(weighted[c] - total)),
                "e_value_log10": round(float((own[c] - np.log(max(state.n_panes, 1))) / np.log(10)), 3),
                "listed": c in listed,
            }
            for c in top
        ]
        return changes, int(convincing.sum())


def _n_events(state: ChartState) -> int:
    return int(state.waiting[:, 0].sum())


def _weights(columns: Sequence[WatchedColumn]) -> FloatArray:
    """(columns,) groups by ``GROUP_WEIGHTS``, equal within a group."""
    peers = {group: sum(column.group is group for column in columns) for group in GROUP_WEIGHTS}
    return np.array([GROUP_WEIGHTS[column.group] / peers[column.group] for column in columns])


def _with_variation(
    counts: IntArray,
    in_time: FloatArray,
    between: FloatArray,
    column: WatchedColumn,
    distances: FloatArray,
    overdispersion: float,
) -> tuple[IntArray, FloatArray, FloatArray]:
    """The counts and overdispersions with the variation of panes as one more column, the same in every season."""
    rows = np.repeat(counted(column, distances)[None, None], len(counts), axis=0)
    return (
        np.concatenate([counts, rows], axis=1),
        np.append(in_time, overdispersion),
        np.append(between, 1.0),
    )
