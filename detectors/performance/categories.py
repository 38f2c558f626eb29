"""Performance of a classifier: accuracy, macro F1, and the ROC curve where there are two classes.

The sketch counts answers by predicted class and confidence bin. Calibration gives every such cell a chance of being
right, so expected accuracy, confusion, F1 and AUC all follow from counts; labels replace them by what happened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from detectors.base import Arrays
from detectors.batch import EventBatch, FloatArray, IntArray, ObjectArray
from detectors.performance.bets import dispersion, dispersion_between
from detectors.performance.calibration import N_BINS, N_FOLDS, Calibration, confidence_edges
from detectors.performance.delays import N_DELAYS, delay_bin
from detectors.performance.measure import (
    ANSWERED,
    DELAY,
    DELAY_OF_RIGHT,
    Loss,
    Sums,
    loss_facts,
    loss_from,
    loss_to_arrays,
    metric_row,
)
from detectors.performance.metrics import Figure, figure, macro_f1, roc_auc, share
from detectors.performance.outcomes import OutcomeReader, Outcomes
from detectors.sketch import Sketch

MAX_CLASSES = 20
OTHER = "other"
_FEWEST_TO_CALIBRATE = 200
_CLOSE = 0.03
_UNKNOWN = N_BINS
"""The confidence bin of answers that logged none."""


@dataclass(frozen=True)
class CategoryMeasure:
    """How a classifier is measured.

    Attributes:
        classes: (k − 1) names, most frequent first; the last code stands for all others.
        edges: (N_BINS − 1,) of confidence.
        labelled, right: (k, N_BINS + 1) counts of the reference.
        told: (k, k) reference events by predicted and true class.
        answers: (k, N_BINS + 1) counts of the reference's answers, labelled or not.
        calibration: None where the reference logs too few confidences.
    """

    reader: OutcomeReader
    classes: tuple[str, ...]
    edges: FloatArray
    labelled: IntArray
    right: IntArray
    told: IntArray
    answers: IntArray
    calibration: Calibration | None
    measured_loss: Loss
    estimated_loss: Loss | None

    name = "accuracy"
    effect_unit = "drop in accuracy"
    unit_of_loss = 1.0

    @classmethod
    def fit(cls, reference: EventBatch, reader: OutcomeReader, outcomes: Outcomes, pane_s: float) -> Self:
        """Learn classes, bins, calibration and dispersion; ``outcomes`` are those of ``reference``."""
        names = Counter(a for a in outcomes.answer if a is not None)
        names.update(v for v in outcomes.label[outcomes.measured])
        classes = tuple(sorted(names, key=lambda name: (-names[name], name))[:MAX_CLASSES])
        sure = outcomes.measured & np.isfinite(outcomes.confidence)
        calibrated = int(sure.sum()) >= _FEWEST_TO_CALIBRATE
        edges = confidence_edges(outcomes.confidence[sure]) if calibrated else np.full(N_BINS - 1, np.inf)
        coder = _Coder(classes, edges)
        predicted, true, bin_ = coder.codes(outcomes)
        right = outcomes.measured & (outcomes.answer == outcomes.label)
        cells = (len(classes) + 1, N_BINS + 1)
        told = outcomes.measured
        clients = reference.client_id
        wrong = (~right[told]).astype(np.float64)
        measured_loss = Loss(
            np.array([0.0, 1.0]),
            np.array([int(right.sum()), int((~right[told]).sum())]),
            dispersion(wrong, reference.timestamp[told], pane_s),
            dispersion_between(wrong, None if clients is None else clients[told]),
        )
        answers = _table(predicted, bin_, outcomes.answered, cells)
        calibration, estimated_loss = None, None
        if calibrated:
            calibration = _calibrated(predicted, bin_, right, sure, outcomes.confidence, cells[0])
            counted = outcomes.answered & np.isfinite(outcomes.confidence)
            loss = 1.0 - calibration.chance[predicted[counted], bin_[counted]]
            estimated_loss = Loss(
                1.0 - calibration.chance.ravel(),
                answers[:, :N_BINS].ravel(),
                dispersion(loss, reference.timestamp[counted], pane_s),
                dispersion_between(loss, None if clients is None else clients[counted]),
            )
        return cls(
            reader=reader,
            classes=classes,
            edges=edges,
            labelled=_table(predicted, bin_, told, cells),
            right=_table(predicted, bin_, right, cells),
            told=_table(predicted, true, told, (cells[0], cells[0])),
            answers=answers,
            calibration=calibration,
            measured_loss=measured_loss,
            estimated_loss=estimated_loss,
        )

    def to_arrays(self) -> dict[str, Any]:
        arrays: dict[str, Any] = {
            name: getattr(self, name) for name in ("edges", "labelled", "right", "told", "answers")
        }
        arrays.update(loss_to_arrays("measured", self.measured_loss))
        if self.calibration is not None and self.estimated_loss is not None:
            arrays.update(loss_to_arrays("estimated", self.estimated_loss))
            arrays.update({"chance": self.calibration.chance, "without": self.calibration.without})
        return arrays

    def to_facts(self) -> dict[str, Any]:
        facts = {**self.reader.to_facts(), "classes": list(self.classes), **loss_facts("measured", self.measured_loss)}
        if self.calibration is not None and self.estimated_loss is not None:
            facts.update(loss_facts("estimated", self.estimated_loss), calibration_error=self.calibration.error)
        else:
            facts["no_estimate"] = (
                f"fewer than {_FEWEST_TO_CALIBRATE} labelled events of the reference log probabilities or logits"
            )
        return facts

    @classmethod
    def load(cls, arrays: Arrays, facts: Mapping[str, Any]) -> Self:
        measured_loss = loss_from("measured", arrays, facts)
        assert measured_loss is not None
        calibration = None
        if "chance" in arrays:
            chance, without = (np.asarray(arrays[name], dtype=np.float64) for name in ("chance", "without"))
            calibration = Calibration(chance, without, float(facts["calibration_error"]))
        counts = {name: np.asarray(arrays[name], dtype=np.int64) for name in ("labelled", "right", "told", "answers")}
        return cls(
            reader=OutcomeReader.from_facts(facts),
            classes=tuple(facts["classes"]),
            edges=np.asarray(arrays["edges"], dtype=np.float64),
            calibration=calibration,
            measured_loss=measured_loss,
            estimated_loss=loss_from("estimated", arrays, facts),
            **counts,
        )

    def sketch(self, batch: EventBatch, starts: IntArray) -> Sequence[Sketch]:
        outcomes = self.reader.read(batch)
        predicted, true, bin_ = _Coder(self.classes, self.edges).codes(outcomes)
        told = outcomes.measured
        right = told & (outcomes.answer == outcomes.label)
        new = outcomes.answered & ~outcomes.joined_late
        delay = delay_bin(outcomes.delay_s)
        k = len(self.classes) + 1
        cells = (k, N_BINS + 1)
        ends = np.append(starts[1:], len(batch))
        return [
            Sketch(
                {
                    ANSWERED: _table(predicted[a:b], bin_[a:b], new[a:b], cells),
                    "labelled": _table(predicted[a:b], bin_[a:b], told[a:b], cells),
                    "right": _table(predicted[a:b], bin_[a:b], right[a:b], cells),
                    "told": _table(predicted[a:b], true[a:b], told[a:b], (k, k)),
                    DELAY: np.bincount(delay[a:b][told[a:b]], minlength=N_DELAYS),
                    DELAY_OF_RIGHT: np.bincount(delay[a:b][right[a:b]], minlength=N_DELAYS),
                }
            )
            for a, b in zip(starts, ends, strict=True)
        ]

    def measured_counts(self, sums: Sums) -> IntArray:
        n, right = int(sums["labelled"].sum()), int(sums["right"].sum())
        return np.array([right, n - right])

    def estimated_counts(self, sums: Sums) -> IntArray:
        return sums[ANSWERED][:, :N_BINS].ravel()

    def reference(self) -> float:
        return float(self.right.sum()) / max(float(self.labelled.sum()), 1.0)

    def measured(self, sums: Sums) -> Figure:
        return share(float(sums["right"].sum()), float(sums["labelled"].sum()))

    def estimated(self, sums: Sums) -> Figure:
        assert self.calibration is not None
        return figure(*self.calibration.expected_right(sums[ANSWERED][:, :N_BINS]))

    def drop(self, value: float) -> float:
        return self.reference() - value

    def metrics(self, measured: Sums | None, estimated: Sums | None) -> list[dict[str, Any]]:
        n = 0 if measured is None else int(measured["labelled"].sum())
        rows = [
            metric_row(
                self.name,
                self.reference(),
                None if measured is None else self.measured(measured),
                n,
                None if estimated is None else self.estimated(estimated),
            ),
            metric_row(
                "macro F1",
                macro_f1(self.told.astype(np.float64))[0],
                None if measured is None else figure(*macro_f1(measured["told"].astype(np.float64))),
                n,
                None if estimated is None else self._expected(estimated, self._expected_f1),
            ),
        ]
        if len(self.classes) == 2 and self.calibration is not None:
            rows.append(
                metric_row(
                    "ROC AUC",
                    self._auc(self.labelled, self.right)[0],
                    None if measured is None else figure(*self._auc(measured["labelled"], measured["right"])),
                    n,
                    None if estimated is None else self._expected(estimated, self._expected_auc),
                )
            )
        return rows

    def confusion(self, measured: Sums | None, estimated: Sums | None) -> dict[str, Any] | None:
        if measured is not None:
            current = measured["told"].astype(np.float64)
        elif estimated is not None and self.calibration is not None:
            current = self._expected_confusion(estimated[ANSWERED][:, :N_BINS], self.calibration.chance)
        else:
            return None
        return {
            "classes": [*self.classes, OTHER],
            "reference": _shares(self.told.astype(np.float64)),
            "current": _shares(current),
            "basis": "estimated" if measured is None else "measured",
        }

    def words(self, *values: float) -> list[str]:
        digits = 1 if abs(values[0] - values[1]) < _CLOSE else 0
        return [f"{100 * value:.{digits}f} %" for value in values]

    def _expected(self, sums: Sums, metric: Callable[[IntArray, FloatArray], tuple[float, float]]) -> Figure:
        """A metric of expected counts, with what sampling and calibration leave open."""
        assert self.calibration is not None
        counts = sums[ANSWERED][:, :N_BINS]
        value, error = metric(counts, self.calibration.chance)
        folds = np.array([metric(counts, chance)[0] for chance in self.calibration.without])
        return figure(value, float(np.sqrt(error**2 + self.calibration.jackknife(folds))))

    def _expected_confusion(self, counts: IntArray, chance: FloatArray) -> FloatArray:
        """(k, k) expected events: right ones on the diagonal, wrong ones spread as in the reference."""
        right = (counts * chance).sum(axis=1)
        wrong = counts.sum(axis=1) - right
        often = self.told.sum(axis=0) + 0.5
        often[-1] = self.told[:, -1].sum()
        spread = self.told + often / often.sum()
        np.fill_diagonal(spread, 0.0)
        spread = spread / np.maximum(spread.sum(axis=1, keepdims=True), 1e-12)
        return np.asarray(np.diag(right) + wrong[:, None] * spread)

    def _expected_f1(self, counts: IntArray, chance: FloatArray) -> tuple[float, float]:
        return macro_f1(self._expected_confusion(counts, chance))

    def _expected_auc(self, counts: IntArray, chance: FloatArray) -> tuple[float, float]:
        score = np.concatenate([1.0 - chance[0], chance[1]])
        events = np.concatenate([counts[0], counts[1]]).astype(np.float64)
        order = np.argsort(score, kind="stable")
        return roc_auc((events * score)[order], (events * (1 - score))[order])

    def _auc(self, labelled: IntArray, right: IntArray) -> tuple[float, float]:
        """Of events whose label is known; the first class counts as negative, which makes no difference."""
        assert self.calibration is not None
        chance = self.calibration.chance
        wrong = labelled - right
        score = np.concatenate([1.0 - chance[0], chance[1]])
        positive = np.concatenate([wrong[0, :N_BINS], right[1, :N_BINS]]).astype(np.float64)
        negative = np.concatenate([right[0, :N_BINS], wrong[1, :N_BINS]]).astype(np.float64)
        order = np.argsort(score, kind="stable")
        return roc_auc(positive[order], negative[order])


@dataclass(frozen=True, slots=True)
class _Coder:
    """Outcomes as codes."""

    classes: tuple[str, ...]
    edges: FloatArray

    def codes(self, outcomes: Outcomes) -> tuple[IntArray, IntArray, IntArray]:
        """(n,) predicted class, (n,) true class, (n,) confidence bin."""
        known = np.isfinite(outcomes.confidence)
        bin_ = np.where(known, np.searchsorted(self.edges, np.nan_to_num(outcomes.confidence), side="right"), _UNKNOWN)
        return self._of(outcomes.answer), self._of(outcomes.label), bin_

    def _of(self, names: ObjectArray) -> IntArray:
        code = {name: i for i, name in enumerate(self.classes)}
        other = len(self.classes)
        return np.array([code.get(name, other) for name in names], dtype=np.int64)


def _table(rows: IntArray, columns: IntArray, counted: np.ndarray, shape: tuple[int, int]) -> IntArray:
    flat = (rows * shape[1] + columns)[counted]
    return np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)


def _calibrated(
    predicted: IntArray, bin_: IntArray, right: np.ndarray, sure: np.ndarray, confidence: FloatArray, k: int
) -> Calibration:
    at = np.flatnonzero(sure)
    fold = np.zeros(len(sure), dtype=np.int64)
    fold[at] = np.arange(len(at)) * N_FOLDS // len(at)
    of_fold = [sure & (fold == f) for f in range(N_FOLDS)]
    events = np.stack([_table(predicted, bin_, mask, (k, N_BINS)) for mask in of_fold])
    hits = np.stack([_table(predicted, bin_, mask & right, (k, N_BINS)) for mask in of_fold])
    seen = np.bincount(bin_[at], minlength=N_BINS)
    total = np.bincount(bin_[at], weights=confidence[at], minlength=N_BINS)
    middle = np.where(seen > 0, total / np.maximum(seen, 1), np.nan)
    filled = np.interp(np.arange(N_BINS), np.flatnonzero(seen), middle[seen > 0])
    return Calibration.fit(events, hits, filled)


def _shares(table: FloatArray) -> list[list[float]]:
    return [[round(float(v), 5) for v in row] for row in table / max(float(table.sum()), 1.0)]
