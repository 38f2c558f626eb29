"""Outcomes: what a model answered, how sure it was, and what turned out to be true, as columns of one batch.

A classifier's answer is a category (its prediction, else its most probable class) and its confidence is the
probability it gave to that category. A model that logs one score in [0, 1] and is labelled 0 or 1 is a classifier
too. Everything else that is labelled with numbers is a regression.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, FloatArray, ObjectArray
from detectors.schema import category

CONFIDENCE = "confidence"
"""Annotation of an event whose label came alone: the confidence of its answer, NaN where there was none."""
LABEL_DELAY_S = "label_delay_s"
"""Annotation of such an event: seconds from its answer to its label; the answer itself was counted when it came."""

_MAX_CLASSES_OF_NUMBERS = 20
_CODES_AGREE = 0.5
"""Whole numbers that are right to the unit so often are codes of classes, however many there are."""


class Task(StrEnum):
    """What the model is asked for."""

    CATEGORY = "category"
    SCORE = "score"
    """The prediction is the probability of the label 1."""
    NUMBER = "number"


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """Answers and labels of ``n`` events.

    Attributes:
        answer, label: (n,) object arrays of str or None; of floats or None where the task is a number.
        confidence: (n,) probability given to the answer, NaN where none was logged.
        delay_s: (n,) seconds from answer to label; NaN where both came in one event.
    """

    answer: ObjectArray
    label: ObjectArray
    confidence: FloatArray
    delay_s: FloatArray

    @property
    def answered(self) -> NDArray[np.bool_]:
        """(n,) whether there is an answer."""
        return _present(self.answer)

    @property
    def measured(self) -> NDArray[np.bool_]:
        """(n,) whether answer and label are both there."""
        return self.answered & _present(self.label)

    @property
    def joined_late(self) -> NDArray[np.bool_]:
        """(n,) whether the label came alone, so that the answer has been counted before."""
        return np.isfinite(self.delay_s)


@dataclass(frozen=True, slots=True)
class OutcomeReader:
    """How outcomes are read from a batch: the task, and the category that each column of probabilities stands for."""

    task: Task
    columns: tuple[str, ...] = ()
    meanings: tuple[str, ...] = ()

    @classmethod
    def fit(cls, batch: EventBatch) -> Self:
        """Learn task and categories from events, some of which have a label."""
        task = _task_of(batch)
        if task is not Task.CATEGORY:
            return cls(task)
        return cls(task, batch.classes, _meanings(batch))

    def read(self, batch: EventBatch) -> Outcomes:
        """The outcomes of a batch; cost: one pass in Python over predictions and labels."""
        late = batch.annotations.get(LABEL_DELAY_S)
        delay_s = np.full(len(batch), np.nan) if late is None else late
        if self.task is Task.NUMBER:
            numbers = (_numbers(batch.prediction, len(batch)), _numbers(batch.label, len(batch)))
            return Outcomes(*numbers, np.full(len(batch), np.nan), delay_s)
        label = categories(batch.label, len(batch))
        if CONFIDENCE in batch.annotations:
            return Outcomes(categories(batch.prediction, len(batch)), label, batch.annotations[CONFIDENCE], delay_s)
        answer, confidence = self._scored(batch) if self.task is Task.SCORE else self._classified(batch)
        return Outcomes(answer, label, confidence, delay_s)

    def _scored(self, batch: EventBatch) -> tuple[ObjectArray, FloatArray]:
        score = np.array([np.nan if v is None else v for v in _numbers(batch.prediction, len(batch))], dtype=np.float64)
        score = np.where((score >= 0) & (score <= 1), score, np.nan)
        answer = np.where(score >= 0.5, "1", "0").astype(object)
        answer[np.isnan(score)] = None
        return answer, np.maximum(score, 1 - score)

    def _classified(self, batch: EventBatch) -> tuple[ObjectArray, FloatArray]:
        answer = categories(batch.prediction, len(batch))
        probabilities = _probabilities(batch)
        if probabilities is None:
            return answer, np.full(len(batch), np.nan)
        known = np.isfinite(probabilities).any(axis=1)
        filled = np.where(np.isfinite(probabilities), probabilities, -1.0)
        best = filled.argmax(axis=1)
        names = self._names_of(batch)
        for i in np.flatnonzero(known & ~_present(answer)):
            answer[i] = names[best[i]]
        position = {name: j for j, name in enumerate(names)}
        column = np.array([position.get(a, -1) for a in answer], dtype=np.int64)
        column = np.where((column >= 0) & known, column, best)
        confidence = np.where(known, filled[np.arange(len(batch)), column], np.nan)
        return answer, np.where((confidence >= 0) & (confidence <= 1 + 1e-6), confidence, np.nan)

    def _names_of(self, batch: EventBatch) -> tuple[str, ...]:
        meaning = dict(zip(self.columns, self.meanings, strict=True))
        width = 0 if batch.probabilities is None and batch.logits is None else len(batch.classes)
        names = batch.classes if width else tuple(map(str, range(1_000)))
        return tuple(meaning.get(name, name) for name in names)

    def to_facts(self) -> dict[str, Any]:
        return {"task": self.task.value, "columns": list(self.columns), "meanings": list(self.meanings)}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        return cls(Task(facts["task"]), tuple(facts["columns"]), tuple(facts["meanings"]))


def categories(values: ObjectArray | None, n: int) -> ObjectArray:
    """(n,) values as categories, None where missing; each distinct value is looked at once."""
    out = np.empty(n, dtype=object)
    if values is not None:
        known: dict[object, str | None] = {}
        out[:] = [known[v] if v in known else known.setdefault(v, category(v)) for v in values]
    return out


def joined(
    model: str,
    version: str,
    event_id: ObjectArray,
    labelled_at: FloatArray,
    answer: ObjectArray,
    confidence: FloatArray,
    label: ObjectArray,
    delay_s: FloatArray,
) -> EventBatch:
    """Events whose labels came alone, as a batch that ``read`` takes: at the time of the label, marked as late."""
    return EventBatch(
        model=model,
        version=version,
        event_id=event_id,
        timestamp=labelled_at,
        prediction=answer,
        label=label,
        annotations={CONFIDENCE: confidence, LABEL_DELAY_S: np.maximum(delay_s, 0.0)},
    )


def _task_of(batch: EventBatch) -> Task:
    if batch.label is None or _probabilities(batch) is not None or batch.prediction is None:
        return Task.CATEGORY
    both = _present(batch.prediction) & _present(batch.label)
    values = [(a, v) for a, v in zip(batch.prediction[both], batch.label[both], strict=True)]
    if not values or not all(isinstance(v, int | float) and not isinstance(v, bool) for pair in values for v in pair):
        return Task.CATEGORY
    answers, labels = (np.array(half, dtype=np.float64) for half in zip(*values, strict=True))
    whole = bool(np.all(answers == np.floor(answers)) and np.all(labels == np.floor(labels)))
    if whole and (np.unique(labels).size <= _MAX_CLASSES_OF_NUMBERS or np.mean(answers == labels) >= _CODES_AGREE):
        return Task.CATEGORY
    if set(labels) <= {0.0, 1.0} and np.all((answers >= 0) & (answers <= 1)):
        return Task.SCORE
    return Task.NUMBER


def _meanings(batch: EventBatch) -> tuple[str, ...]:
    """Category of each column of probabilities: its name, or what is predicted when it is the largest."""
    probabilities = _probabilities(batch)
    answer = categories(batch.prediction, len(batch))
    said = {a for a in answer if a is not None}
    said |= {v for v in categories(batch.label, len(batch)) if v is not None}
    if probabilities is None or said & set(batch.classes):
        return batch.classes
    heard = answer if any(a is not None for a in answer) else categories(batch.label, len(batch))
    best = np.where(np.isfinite(probabilities), probabilities, -1.0).argmax(axis=1)
    meanings = []
    for j, name in enumerate(batch.classes):
        votes = [a for a in heard[best == j] if a is not None]
        meanings.append(max(sorted(set(votes)), key=votes.count) if votes else name)
    return tuple(meanings)


def _probabilities(batch: EventBatch) -> FloatArray | None:
    """(n, k) logged probabilities, else the softmax of logits; None without either."""
    if batch.probabilities is not None and batch.probabilities.shape[1] > 1:
        return batch.probabilities
    if batch.logits is None or batch.logits.shape[1] < 2:
        return None
    logits = np.where(np.isfinite(batch.logits), batch.logits, -np.inf)
    top = logits.max(axis=1, keepdims=True)
    raised = np.exp(logits - np.where(np.isfinite(top), top, 0.0))
    whole = raised.sum(axis=1, keepdims=True)
    return np.where(whole > 0, raised / np.where(whole > 0, whole, 1.0), np.nan)


def number_of(value: object) -> float | None:
    """A prediction or label as a finite number, None where it is none; text that spells a number counts."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def _numbers(values: ObjectArray | None, n: int) -> ObjectArray:
    out = np.empty(n, dtype=object)
    if values is not None:
        out[:] = [number_of(v) for v in values]
    return out


def _present(values: ObjectArray) -> NDArray[np.bool_]:
    return np.array([v is not None for v in values], dtype=np.bool_)
