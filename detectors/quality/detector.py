"""Quality detector: has what reaches the model, or its log, broken?

Every watch (volume, columns, schema, duplicates, latency) and silence bet under one budget. One cause is one incident:
a single column speaks for itself; what concerns the model as a whole, or several columns at once, speaks for the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from detectors.base import (
    MODEL,
    Arrays,
    Judgement,
    Kind,
    Level,
    Pane,
    Part,
    Reading,
    Silence,
    Subject,
    SubjectType,
    Unfit,
)
from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.budget import AlarmBudget
from detectors.drift.values import answered
from detectors.evidence import NO_EVIDENCE
from detectors.quality.columns import TOGETHER, ColumnWatch
from detectors.quality.duplicates import DuplicateWatch
from detectors.quality.latency import LatencyWatch
from detectors.quality.ledger import Ledger, cause_weights
from detectors.quality.names import NameWatch
from detectors.quality.silence import NAME as SILENCE
from detectors.quality.silence import SilenceWatch
from detectors.quality.volume import VolumeWatch
from detectors.quality.watch import Finding, Watch
from detectors.schema import Schema
from detectors.sketch import Sketch, total

SHARES: Mapping[str, float] = {
    "volume": 0.2,
    SILENCE: 0.2,
    "columns": 0.3,
    "schema": 0.1,
    "duplicates": 0.1,
    "latency": 0.1,
}
"""How the watches share the detector's budget; those that a reference has not are shared by the others."""
_MINIMUM_EVENTS = 50
_WARNING_MARGIN = float(np.log(100.0))
_CONVINCING = float(np.log(1_000.0))
_NEXT_TO_NOTHING = -50.0
_MOST_LISTED = 8
_NAMED = 3


@dataclass(frozen=True)
class _Cause:
    """One cause in one pane: its weighted log evidence, and what is wrong."""

    watch: str
    index: int
    log_evidence: float
    own_evidence: float
    since: float
    finding: Finding
    column: str = ""
    vanished: bool = False


@dataclass(frozen=True)
class QualityDetector:
    """Detector of broken plumbing; see the module's docstring."""

    name: ClassVar[str] = "quality"
    kind: ClassVar[Kind] = Kind.QUALITY

    watches: tuple[Watch, ...]
    silence: SilenceWatch | None
    shares: Mapping[str, float]
    log_threshold: float

    @classmethod
    def fit(cls, reference: EventBatch, schema: Schema, pane_s: float, seed: int) -> Part | Unfit:
        """Needs at least 50 events that log an input or an output."""
        events = reference.take(answered(reference))
        if len(events) < _MINIMUM_EVENTS:
            return Unfit(f"the reference has {len(events)} such events; data quality needs at least {_MINIMUM_EVENTS}")
        parts = {
            "volume": VolumeWatch.fit(events, pane_s),
            SILENCE: SilenceWatch.fit(events, pane_s),
            "columns": ColumnWatch.fit(events, schema, pane_s),
            "schema": NameWatch.fit(events, schema) if schema.columns else None,
            "duplicates": DuplicateWatch.fit(events, pane_s),
            "latency": LatencyWatch.fit(events, pane_s),
        }
        found = {name: part for name, part in parts.items() if part is not None}
        return Part(
            {f"{name}.{key}": np.asarray(array) for name, part in found.items() for key, array in part.arrays.items()},
            {name: dict(part.facts) for name, part in found.items()},
        )

    @classmethod
    def build(cls, part: Part, schema: Schema, budget: AlarmBudget) -> Self:
        parts = {name: _subpart(part, name) for name in part.facts}
        built: list[Watch] = []
        if "volume" in parts:
            built.append(VolumeWatch.build(parts["volume"]))
        if "columns" in parts:
            built.append(ColumnWatch.build(parts["columns"], budget))
        if "schema" in parts:
            built.append(NameWatch.build(parts["schema"], budget))
        if "duplicates" in parts:
            built.append(DuplicateWatch.build(parts["duplicates"], budget))
        if "latency" in parts:
            built.append(LatencyWatch.build(parts["latency"]))
        whole = sum(SHARES[name] for name in parts)
        return cls(
            watches=tuple(watch for watch in built if len(watch.owners)),
            silence=SilenceWatch.build(parts[SILENCE]) if SILENCE in parts else None,
            shares={name: SHARES[name] / whole for name in parts},
            log_threshold=budget.log_threshold(cls.name),
        )

    def sketch(self, batch: EventBatch, starts: IntArray) -> Sequence[Sketch]:
        counted = answered(batch)
        before = np.concatenate([[0], np.cumsum(counted)])
        events, starts = batch.take(counted), before[starts]
        parts = [[sketch.under(watch.name) for sketch in watch.sketch(events, starts)] for watch in self.watches]
        sizes = np.diff(np.append(starts, len(events)))
        return [total([Sketch({"events": np.array([n])}), *(part[i] for part in parts)]) for i, n in enumerate(sizes)]

    def subjects(self, pane: Pane) -> Sequence[Subject]:
        return (MODEL,)

    def judge(self, evidence: Mapping[Subject, Arrays], pane: Pane) -> Judgement:
        if not self.ends_silence(pane):
            return Judgement()
        state = evidence.get(MODEL, {})
        silence = self.judge_silence(evidence, pane.start)
        kept_arrays: dict[str, Any] = self._after_gap(state, pane)
        causes: list[_Cause] = []
        calm: list[float] = []
        ledgers: dict[str, Ledger] = {}
        for watch in self.watches:
            ledger = Ledger.load(watch, state, pane.start)
            look = watch.look(Pane(pane.start, pane.width_s, pane.n_events, pane.sketch.part(watch.name)))
            if look is not None:
                ledger = ledger.step(look, self._pane_caps(watch))
                causes += self._causes(watch, ledger)
            ledgers[watch.name] = ledger
            if not isinstance(watch, ColumnWatch):
                calm.append(float(ledger.by_cause(watch)[0] + np.log(self.shares[watch.name])))
        readings, alarmed = self._readings(causes, silence, float(np.logaddexp.reduce(calm or [NO_EVIDENCE])))
        for watch in self.watches:
            hit = np.zeros(len(ledgers[watch.name].since), dtype=np.bool_)
            hit[[cause.index for cause in alarmed if cause.watch == watch.name]] = True
            kept_arrays.update(ledgers[watch.name].cleared(watch, hit, pane.start + pane.width_s).save(watch))
        return Judgement({MODEL: kept_arrays}, readings)

    def judge_silence(self, evidence: Mapping[Subject, Arrays], until: float) -> Silence | None:
        """The alarm of a gap since the last events, once it is one by event time ``until``; once a gap.

        Returns:
            The pane that raises it, which depends on the gap's beginning alone; None while there is nothing to say.
        """
        state = evidence.get(MODEL, {})
        if self.silence is None or "silence.since" not in state or bool(state["silence.told"]):
            return None
        since = float(np.asarray(state["silence.since"]))
        log_m = float(np.asarray(state["silence.evidence"]))
        at = self.silence.alarm_at(since, log_m, self._needed(SILENCE))
        if not np.isfinite(at):
            return None
        width = self.silence.pane_s
        start = float(np.floor(np.nextafter(at, -np.inf) / width) * width)
        if start + width > until:
            return None
        finding = self.silence.finding(since, start + width)
        missed = float(self.silence.profile.expected(since, start + width))
        log_evidence = max(
            float(np.logaddexp(log_m, 0.0)) + self.silence.log_ratio(missed) + np.log(self.shares[SILENCE]),
            self.log_threshold,
        )
        detail = {"cause": SILENCE, "checks": [finding.to_json(1.0)], "columns": [], "n_events": 0}
        reading = self._reading(MODEL, Level.ALARM, log_evidence, finding, since, _sentence([finding.words]), detail)
        told = {**state, "silence.told": np.asarray(True), "silence.evidence": np.asarray(NO_EVIDENCE)}
        return Silence(start, Judgement({MODEL: told}, (reading,)))

    def ends_silence(self, pane: Pane) -> bool:
        return "events" in pane.sketch.totals and bool(pane.sketch.totals["events"][0])

    def _after_gap(self, state: Arrays, pane: Pane) -> dict[str, Any]:
        """The state of silence once ``pane`` has brought events."""
        if self.silence is None:
            return {}
        end = pane.start + pane.width_s
        log_m = float(np.asarray(state.get("silence.evidence", NO_EVIDENCE)))
        since = float(np.asarray(state.get("silence.since", pane.start)))
        told = bool(state.get("silence.told", False))
        if pane.start > since and not told:
            missed = float(self.silence.profile.expected(since, pane.start))
            log_m = float(np.logaddexp(log_m, 0.0)) + self.silence.ended(missed)
            if log_m >= self._needed(SILENCE):
                log_m = NO_EVIDENCE
        return {
            "silence.since": np.asarray(max(end, since)),
            "silence.evidence": np.asarray(log_m),
            "silence.told": np.asarray(False),
        }

    def _needed(self, watch: str) -> float:
        """Log evidence that a bet holding all of a watch's weight needs for an alarm."""
        return self.log_threshold - float(np.log(self.shares[watch]))

    def _pane_caps(self, watch: Watch) -> FloatArray:
        return watch.pane_cap * (self._needed(watch.name) - np.log(watch.weights))

    def _causes(self, watch: Watch, ledger: Ledger) -> list[_Cause]:
        """The causes whose evidence comes near an alarm, or convinces by itself."""
        of_model = ledger.by_cause(watch) + np.log(self.shares[watch.name])
        own = of_model - np.log(cause_weights(watch) * self.shares[watch.name])
        near = (of_model >= self.log_threshold - _WARNING_MARGIN) | (own >= _CONVINCING)
        causes = []
        for index in np.flatnonzero(near):
            column = watch.subjects[index] if isinstance(watch, ColumnWatch) else ""
            gone = isinstance(watch, ColumnWatch) and watch.vanished(int(index), ledger.window)
            causes.append(
                _Cause(
                    watch.name,
                    int(index),
                    float(of_model[index]),
                    float(own[index]),
                    float(ledger.since[index]),
                    watch.finding(int(index), ledger.window, ledger.notes),
                    "" if column == TOGETHER else column,
                    gone,
                )
            )
        return causes

    def _readings(
        self, causes: Sequence[_Cause], silence: Silence | None, evidence: float
    ) -> tuple[Sequence[Reading], Sequence[_Cause]]:
        """The pane's readings, the model's first, and the causes that alarm."""
        alarmed = [c for c in causes if c.finding.matters and c.log_evidence >= self.log_threshold]
        moved = [c for c in causes if c in alarmed or (c.finding.matters and c.own_evidence >= _CONVINCING)]
        columns = [c for c in moved if c.column]
        renamed = any(c.watch == "schema" for c in moved)
        alone = len(columns) == 1 and not (renamed and columns[0].vanished)
        of_model = [c for c in causes if not c.column] + ([] if alone else columns)
        raised = [c for c in of_model if c in alarmed]
        readings = [self._model_reading(of_model, raised, evidence)]
        if silence is not None and not raised:
            readings = list(silence.judgement.readings)
        if alone and columns[0].log_evidence >= self.log_threshold - _WARNING_MARGIN:
            cause = columns[0]
            level = Level.ALARM if cause in alarmed else Level.WARNING
            readings.append(self._told(Subject(SubjectType.FEATURE, cause.column), level, [cause]))
        return readings, alarmed

    def _model_reading(self, causes: Sequence[_Cause], raised: Sequence[_Cause], evidence: float) -> Reading:
        near = [c for c in causes if c.log_evidence >= self.log_threshold - _WARNING_MARGIN and c.finding.matters]
        if raised:
            beside = [c for c in causes if c not in raised and c.finding.matters and c.own_evidence >= _CONVINCING]
            return self._told(MODEL, Level.ALARM, _ranked(raised) + _ranked(beside))
        if near:
            return self._told(MODEL, Level.WARNING, _ranked(near))
        calm = max(evidence, _NEXT_TO_NOTHING)
        nothing = Finding("", "", 0.0, 0.0, "", 0.0, "share of traffic", 0.0)
        reason = "Volume, columns, schema, duplicates and latency are as in the reference."
        return self._reading(MODEL, Level.OK, calm, nothing, None, reason, {})

    def _told(self, subject: Subject, level: Level, causes: Sequence[_Cause]) -> Reading:
        """A reading led by the first of ``causes``, which are ranked."""
        lead = causes[0]
        whole = float(np.logaddexp.reduce([c.log_evidence for c in causes]))
        listed = causes[:_MOST_LISTED]
        shares = [float(np.exp(c.log_evidence - whole)) for c in listed]
        more = len(causes) - _NAMED
        words = [c.finding.words for c in causes[:_NAMED]] + ([f"{more} more things broke"] if more > 0 else [])
        detail = {
            "cause": _cause_name(causes),
            "checks": [c.finding.to_json(share) for c, share in zip(listed, shares, strict=True)],
            "columns": [
                {**c.finding.change, "evidence_share": share}
                for c, share in zip(listed, shares, strict=True)
                if c.finding.change is not None
            ],
            "n_broken": len(causes),
        }
        since = min(c.since for c in causes)
        return self._reading(subject, level, whole, lead.finding, since, _sentence(words), detail)

    def _reading(
        self,
        subject: Subject,
        level: Level,
        log_evidence: float,
        finding: Finding,
        since: float | None,
        reason: str,
        detail: Mapping[str, Any],
    ) -> Reading:
        return Reading(
            detector=self.name,
            kind=self.kind,
            subject=subject,
            level=level,
            log_evidence=float(log_evidence),
            log_threshold=self.log_threshold,
            effect=finding.effect,
            effect_unit=finding.effect_unit,
            minimum_effect=finding.minimum_effect,
            since=since,
            reason=reason,
            detail=detail,
        )


def _subpart(part: Part, name: str) -> Part:
    prefix = name + "."
    arrays = {key[len(prefix) :]: array for key, array in part.arrays.items() if key.startswith(prefix)}
    return Part(arrays, part.facts[name])


def _ranked(causes: Sequence[_Cause]) -> list[_Cause]:
    return sorted(causes, key=lambda cause: -cause.log_evidence)


def _cause_name(causes: Sequence[_Cause]) -> str:
    """What the causes have in common: the watch of the first, ``columns`` where several columns broke together."""
    lead = causes[0]
    if any(c.watch == "schema" for c in causes) and any(c.vanished for c in causes):
        return "schema"
    return lead.watch


def _sentence(words: Sequence[str]) -> str:
    text = "; ".join(words)
    return text[:1].upper() + text[1:] + "."
