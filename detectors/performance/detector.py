"""Performance: estimated from calibrated confidence until labels come, then measured.

Two tests run side by side on one budget. One bets on the losses of labelled answers, the other, with less weight, on
the losses that calibration expects of all answers. Once enough labels have come for the answers that the estimate is
worried about, it counts only if they bear it out, and starts over where they do not. An estimate assumes that equal
confidence means equal accuracy: it sees inputs move to where the model is unsure, not labels that change their meaning,
which only labels show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from detectors.base import MODEL, Arrays, Judgement, Kind, Level, Pane, Part, Reading, Subject, Unfit
from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.budget import AlarmBudget
from detectors.evidence import NO_EVIDENCE, log_mean
from detectors.performance import words
from detectors.performance.bets import LossBets
from detectors.performance.categories import CategoryMeasure
from detectors.performance.delays import median_delay_s, within
from detectors.performance.joining import with_late_labels
from detectors.performance.measure import ANSWERED, DELAY, DELAY_OF_RIGHT, Loss, Measure, Sums
from detectors.performance.metrics import Figure, share
from detectors.performance.numbers import NumberMeasure
from detectors.performance.outcomes import OutcomeReader, Task
from detectors.performance.state import Running
from detectors.schema import Schema
from detectors.sketch import Sketch

FEWEST_LABELS = 50
_WEIGHT_OF_ESTIMATE = 0.3
_ONSET_LOG_EVIDENCE = float(np.log(10.0))
_WARNING_MARGIN = float(np.log(100.0))
_SHARE_LABELLED = 0.5
_MEASURED, _ESTIMATED = "measured", "estimated"


@dataclass(frozen=True)
class PerformanceDetector:
    """Detector of lost accuracy, or of grown error; see the module's docstring."""

    name: ClassVar[str] = "performance"
    kind: ClassVar[Kind] = Kind.PERFORMANCE

    measure: Measure
    reader: OutcomeReader
    measured_bets: LossBets
    estimated_bets: LossBets | None
    enough_labels: int
    """Labels that settle whether the loss has risen by the tolerance."""
    log_threshold: float
    minimum_effect: float

    @classmethod
    def fit(cls, reference: EventBatch, schema: Schema, pane_s: float, seed: int) -> Part | Unfit:
        """Calibration, losses and their dispersion; needs at least 50 answers with their labels, together or late."""
        (reference,) = with_late_labels([reference])
        if reference.label is None or all(label is None for label in reference.label):
            return Unfit("the reference holds no labels: nothing says how often the model is right")
        reader = OutcomeReader.fit(reference)
        outcomes = reader.read(reference)
        n = int(outcomes.measured.sum())
        if n < FEWEST_LABELS:
            return Unfit(
                f"the reference holds {n} answers with their labels; performance needs at least {FEWEST_LABELS}"
            )
        kind = NumberMeasure if reader.task is Task.NUMBER else CategoryMeasure
        measure = kind.fit(reference, reader, outcomes, pane_s)
        return Part(measure.to_arrays(), {**measure.to_facts(), "n_labels": n})

    @classmethod
    def build(cls, part: Part, schema: Schema, budget: AlarmBudget) -> Self:
        number = part.facts["task"] == Task.NUMBER
        kind: type[NumberMeasure] | type[CategoryMeasure] = NumberMeasure if number else CategoryMeasure
        measure = kind.load(part.arrays, part.facts)
        bets = _bets(measure.measured_loss, budget.tolerance)
        spread = bets.mean * (1 - bets.mean) if not number else _variance(measure.measured_loss)
        return cls(
            measure=measure,
            reader=measure.reader,
            measured_bets=bets,
            estimated_bets=None if measure.estimated_loss is None else _bets(measure.estimated_loss, budget.tolerance),
            enough_labels=max(FEWEST_LABELS, int(np.ceil(spread / max(budget.tolerance, 0.01) ** 2))),
            log_threshold=budget.log_threshold(cls.name),
            minimum_effect=budget.tolerance * measure.unit_of_loss,
        )

    def sketch(self, batch: EventBatch, starts: IntArray) -> Sequence[Sketch]:
        return self.measure.sketch(batch, starts)

    def subjects(self, pane: Pane) -> Sequence[Subject]:
        return (MODEL,)

    def judge(self, evidence: Mapping[Subject, Arrays], pane: Pane) -> Judgement:
        measured, estimated = self._add(evidence.get(MODEL), pane)
        verdict = _Verdict.of(self, measured, estimated)
        reading = self._reading(verdict, measured, estimated)
        if reading.level is Level.ALARM:
            measured, estimated = measured.restarted(), estimated.restarted()
        elif verdict.refuted:
            estimated = estimated.restarted()
        if verdict.log_measured < _ONSET_LOG_EVIDENCE:
            measured = measured.emptied()
        if verdict.log_estimated < _ONSET_LOG_EVIDENCE:
            estimated = estimated.emptied()
        return Judgement({MODEL: {**measured.to_arrays(_MEASURED), **estimated.to_arrays(_ESTIMATED)}}, (reading,))

    def _add(self, state: Arrays | None, pane: Pane) -> tuple[Running, Running]:
        """Both tests with one pane more."""
        n_estimated = 0 if self.estimated_bets is None else len(self.estimated_bets.log_ratios)
        if state is None:
            measured = Running.fresh(len(self.measured_bets.log_ratios), pane.start)
            estimated = Running.fresh(n_estimated, pane.start)
        else:
            measured, estimated = Running.load(_MEASURED, state), Running.load(_ESTIMATED, state)
        sums = pane.sketch.totals
        since = estimated.since if estimated.sums else pane.start
        age_s = pane.start + pane.width_s - since
        matured = np.array([within(sums[name], age_s) if name in sums else 0 for name in (DELAY, DELAY_OF_RIGHT)])
        earned = self.measured_bets.log_ratios @ self.measure.measured_counts(sums)
        expected: FloatArray = np.zeros(0)
        if self.estimated_bets is not None:
            expected = self.estimated_bets.log_ratios @ self.measure.estimated_counts(sums)
        told = {name: array for name, array in sums.items() if name != ANSWERED}
        return (
            measured.plus(earned, told, pane.start, matured),
            estimated.plus(expected, {ANSWERED: sums[ANSWERED]}, pane.start, matured),
        )

    def _reading(self, verdict: _Verdict, measured: Running, estimated: Running) -> Reading:
        total = verdict.log_evidence
        if verdict.n_labels == 0 and verdict.n_answers == 0:
            return self._verdict(Level.WARMING, total, 0.0, None, words.NOTHING, {})
        told = measured.sums if verdict.n_labels else None
        expected = estimated.sums if verdict.n_answers else None
        on_labels = told is not None and (verdict.settled or expected is None or verdict.labels_lead)
        figure, n_labels = self._figure(verdict, measured, estimated, on_labels)
        effect = self.measure.drop(figure.value)
        level = self._level(total, effect)
        if on_labels:
            guess = self.measure.estimated(estimated.sums) if verdict.refuted else None
            reason = words.measured(self.measure, figure, n_labels, guess)
        else:
            reason = words.estimated(self.measure, figure, n_labels)
        metrics = self.measure.metrics(told, expected)
        if on_labels:
            metrics[0].update(
                measured=figure.value, measured_low=figure.low, measured_high=figure.high, n_labels=n_labels
            )
        detail: dict[str, Any] = {
            "basis": _MEASURED if on_labels else _ESTIMATED,
            "metrics": metrics,
            "n_events": verdict.n_answers,
            "label_delay_s": median_delay_s(measured.sums[DELAY]),
        }
        if level is not Level.OK:
            detail["confusion"] = self.measure.confusion(told if on_labels else None, expected)
        since = None if level is Level.OK else (measured if on_labels and verdict.labels_lead else estimated).since
        return self._verdict(level, total, effect, since, reason, detail)

    def is_borne_out(self, accuracy: float, estimated: Sums) -> bool:
        """Whether labels lie nearer to the estimate than to the reference, and beyond the tolerance."""
        expected = self.measure.drop(self.measure.estimated(estimated).value)
        return self.measure.drop(accuracy) >= max(self.minimum_effect, expected / 2)

    def _figure(self, verdict: _Verdict, measured: Running, estimated: Running, on_labels: bool) -> tuple[Figure, int]:
        """The leading metric on what speaks for it, and how many labels there are."""
        n_matured, n_right = (int(n) for n in estimated.matured)
        if not on_labels:
            return self.measure.estimated(estimated.sums), n_matured
        if verdict.settled and not verdict.labels_lead:
            return share(n_right, n_matured), n_matured
        return self.measure.measured(measured.sums), verdict.n_labels

    def _level(self, total: float, effect: float) -> Level:
        if total >= self.log_threshold and effect >= self.minimum_effect:
            return Level.ALARM
        return Level.WARNING if total >= self.log_threshold - _WARNING_MARGIN else Level.OK

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
            effect_unit=self.measure.effect_unit,
            minimum_effect=self.minimum_effect,
            since=since,
            reason=reason,
            detail=detail,
        )


@dataclass(frozen=True, slots=True)
class _Verdict:
    """How the two tests stand.

    Attributes:
        log_evidence: of the whole.
        log_measured, log_estimated: each with its weight.
        settled: enough labels have come for the answers that the estimate speaks of.
        refuted: they do not bear it out, and it alone would raise an alarm.
        n_labels, n_answers: behind the two.
    """

    log_evidence: float
    log_measured: float
    log_estimated: float
    settled: bool
    refuted: bool
    n_labels: int
    n_answers: int

    @property
    def labels_lead(self) -> bool:
        return self.log_measured >= self.log_estimated or self.log_estimated < _ONSET_LOG_EVIDENCE

    @classmethod
    def of(cls, detector: PerformanceDetector, measured: Running, estimated: Running) -> _Verdict:
        bets = detector.estimated_bets
        share = 0.0 if bets is None else _WEIGHT_OF_ESTIMATE
        log_measured = log_mean(measured.log_evidence, detector.measured_bets.weights * (1 - share))
        log_estimated = NO_EVIDENCE if bets is None else log_mean(estimated.log_evidence, bets.weights * share)
        n_labels = int(detector.measure.measured_counts(measured.sums).sum())
        answers = detector.measure.estimated_counts(estimated.sums)
        needed = min(detector.enough_labels, _SHARE_LABELLED * float(answers.sum()))
        n_matured, n_right = (int(n) for n in estimated.matured)
        settled = bets is not None and n_matured >= max(needed, FEWEST_LABELS)
        denied = settled and not detector.is_borne_out(n_right / max(n_matured, 1), estimated.sums)
        total = log_measured if denied else float(np.logaddexp(log_measured, log_estimated))
        raised = log_estimated >= detector.log_threshold > log_measured
        return cls(total, log_measured, log_estimated, settled, denied and raised, n_labels, int(answers.sum()))


def _bets(loss: Loss, tolerance: float) -> LossBets:
    return LossBets.design(loss.levels, loss.counts.astype(np.float64), loss.effective_n, loss.temper, tolerance)


def _variance(loss: Loss) -> float:
    p = loss.counts / max(float(loss.counts.sum()), 1.0)
    return float((p * loss.levels**2).sum()) - float((p * loss.levels).sum()) ** 2
