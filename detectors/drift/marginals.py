"""Drift of columns: features, outputs, joint directions, and whole panes.

Every watched column is cut into bins at the reference's order statistics; the sketch is the count matrix, and the same
for each watched segment. A chart (``chart.py``) bets on the counts of the model as a whole, one more for each segment,
within the season that the pane belongs to. An alarm names what moved, since when, and whether one client or segment
causes it. Memory: about 0.2 kB a column in the sketch, 1 kB in the evidence, each per segment and season.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from detectors.base import MODEL, Arrays, Judgement, Kind, Level, Pane, Part, Reading, Subject, Unfit
from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.budget import AlarmBudget
from detectors.drift.chart import Chart, ChartState, Verdict
from detectors.drift.cohorts import CohortCode, Cohorts, find_cause
from detectors.drift.columns import CodeArray, Group, WatchedColumn
from detectors.drift.digitise import count_groups, count_slices
from detectors.drift.dispersion import Dispersion, column_scores
from detectors.drift.segments import BUDGET_SHARE, choose_segments, members_of, segment_counts, subject_of
from detectors.drift.telling import Charted, calm_reading, loud_reading, with_cause, with_segments
from detectors.drift.values import answered
from detectors.drift.variation import counted, distance, fit_variation, reference_masses, variation_column
from detectors.drift.watch import Watch
from detectors.schema import Schema
from detectors.seasons import Seasons, find_seasons
from detectors.sketch import Sketch

GROUP_WEIGHTS: Mapping[Group, float] = {
    Group.FEATURE: 0.5,
    Group.OUTPUT: 0.2,
    Group.JOINT: 0.2,
    Group.VARIATION: 0.1,
}
_MINIMUM_EVENTS = 50
_COHORTS = {"client": "clients", "segment": "segments"}
"""What may cause a drift alone, and the group of the sketch that tells of it."""


@dataclass(frozen=True, eq=False)
class MarginalDrift:
    """Drift detector over features, outputs, joint directions and whole panes; see the module's docstring.

    Attributes:
        whole: the chart of the model: the watch's columns, and the variation of panes where it is watched.
        masses: (strata, watched columns, N_BINS) of the reference, for the variation of panes; None where unwatched.
    """

    name: ClassVar[str] = "drift"
    kind: ClassVar[Kind] = Kind.DRIFT

    watch: Watch
    seasons: Seasons
    masses: FloatArray | None
    whole: Charted
    segments: Mapping[str, Charted]
    cohorts: CohortCode

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
        arrays["segment_overdispersion_time"] = _dispersion_of_segments(
            facts["segments"], watch, arrays["segment_counts"], codes, reference, pane_s
        )
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
        of_segments = np.asarray(part.arrays["segment_counts"], dtype=np.int64)
        own_in_time = np.asarray(part.arrays["segment_overdispersion_time"], dtype=np.float64)
        sizes = of_segments[:, 0].sum(axis=1).astype(np.float64)
        segments = {}
        for i, name in enumerate(names):
            line = log_threshold - float(np.log(BUDGET_SHARE * sizes[i] / sizes.sum()))
            per_segment = per_pane * sizes[i] / max(float(counts[:, 0].sum()), 1.0)
            weights = _weights(watch.columns)
            scatter = (np.maximum(in_time, own_in_time[i]), between)
            design = (watch.columns, of_segments[i][None], *scatter, weights, per_segment, budget.tolerance, line)
            where = f" of {name}"
            segments[name] = Charted(
                subject_of(name), Chart.design(*design), watch.columns, line, budget.tolerance, where
            )
        return cls(
            watch=watch,
            seasons=Seasons.from_json(part.facts["seasons"]),
            masses=masses,
            whole=Charted(MODEL, chart, columns, own, budget.tolerance),
            segments=segments,
            cohorts=CohortCode.design(watch.columns, counts.sum(axis=0)),
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
        bins, chart = pane.sketch.totals["bins"], self.whole.chart
        state = _state(evidence, self.whole)
        cohorts = self._cohorts(evidence)
        if bins.any():
            stratum = self.seasons.stratum(pane.start)
            state = chart.bet(state, self._pane_counts(bins, stratum), stratum, pane.start)
            cohorts = {name: known.plus(self._added(name, pane.sketch)) for name, known in cohorts.items()}
        verdict = chart.verdict(state)
        excited = self.whole.speaks(verdict) or verdict.doubt >= chart.log_suspicion
        told, kept = self._judge_segments(evidence, pane, excited)
        reading = self._reading(state, verdict, cohorts, told)
        state = chart.alarmed(state) if reading.level is Level.ALARM else chart.settled(state, verdict)
        if np.isnan(state.since):
            cohorts = {name: Cohorts.none(self.cohorts.n_buckets) for name in cohorts}
        arrays = state.to_arrays()
        for name, known in cohorts.items():
            arrays.update(known.to_arrays(name))
        return Judgement({**kept, MODEL: arrays}, (reading, *told))

    def _cohorts(self, evidence: Mapping[Subject, Arrays]) -> dict[str, Cohorts]:
        stored = evidence.get(MODEL)
        if stored is None:
            return {name: Cohorts.none(self.cohorts.n_buckets) for name in _COHORTS}
        return {name: Cohorts.from_arrays(stored, name) for name in _COHORTS}

    def _added(self, cohort: str, sketch: Sketch) -> Mapping[str, IntArray]:
        keyed = sketch.keyed.get(_COHORTS[cohort], {})
        if cohort == "client":
            return keyed
        return {name: self.cohorts.sums_of_counts(counts) for name, counts in keyed.items()}

    def _reading(
        self, state: ChartState, verdict: Verdict, cohorts: Mapping[str, Cohorts], told: Sequence[Reading]
    ) -> Reading:
        if not self.whole.speaks(verdict):
            return calm_reading(self.name, self.whole, verdict)
        reading = with_segments(loud_reading(self.name, self.whole, state, verdict), told)
        leading, n_watched = self.whole.leading(state), len(self.watch.columns)
        if leading >= n_watched:
            return reading
        return with_cause(reading, find_cause(self.cohorts, leading, state.waiting.sum(axis=0)[:n_watched], cohorts))

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
        return np.concatenate([bins, counted(self.whole.columns[-1], np.array([found]))[None]])

    def _judge_segments(
        self, evidence: Mapping[Subject, Arrays], pane: Pane, model_is_excited: bool
    ) -> tuple[list[Reading], dict[Subject, Arrays]]:
        """Readings of segments that have something to say, and the states to keep.

        While the model as a whole is under suspicion no segment alarms: it is the same change, told once.
        """
        readings: list[Reading] = []
        kept: dict[Subject, Arrays] = {}
        for name, counts in sorted(pane.sketch.keyed.get("segments", {}).items()):
            charted = self.segments.get(name)
            if charted is None:
                continue
            chart = charted.chart
            state = chart.bet(_state(evidence, charted), counts, 0, pane.start)
            verdict = chart.verdict(state)
            alarmed = False
            if charted.speaks(verdict):
                reading = loud_reading(self.name, charted, state, verdict)
                alarmed = reading.level is Level.ALARM and not model_is_excited
                readings.append(reading if alarmed else replace(reading, level=Level.WARNING))
            state = chart.alarmed(state) if alarmed else chart.settled(state, verdict)
            kept[charted.subject] = state.to_arrays()
        return readings, kept


def _dispersion_of_segments(
    names: Sequence[str], watch: Watch, counts: IntArray, codes: CodeArray, reference: EventBatch, pane_s: float
) -> FloatArray:
    """(segments, columns) overdispersion in time of each segment's own events, the clock's share included.

    Segments have no seasons. A column that hardly varies within one may follow the clock there although it does not in
    the whole.
    """
    members = {k: own for key, values in reference.segments.items() for k, own in members_of(key, values).items()}
    found = np.ones((max(len(names), 1), len(watch.columns)))
    for i, own in enumerate(members[name] for name in names):
        unseasoned = np.zeros(int(own.sum()), dtype=np.int64)
        events = (codes[own], unseasoned, reference.take(own), pane_s)
        found[i] = Dispersion.measure(watch.columns, counts[i], *events).in_time
    return found


def _state(evidence: Mapping[Subject, Arrays], charted: Charted) -> ChartState:
    stored = evidence.get(charted.subject)
    chart = charted.chart
    return chart.start() if stored is None else chart.resumed(ChartState.from_arrays(stored))


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
