"""Adapters: outlier detectors of other libraries as functions of the event batch, higher = stranger.

* PyOD's ``decision_function`` is high for outliers: ``HIGH``.
* scikit-learn's ``decision_function`` is **low**, below zero, for outliers: ``LOW`` turns the sign round.
* river's anomaly detectors score one event at a time with ``score_one``; they are asked and never taught here, so that
  a replay gives the same scores however the stream was cut.

What they were taught on must not be the reference: scores of rows that a detector knows look too ordinary, and what is
calibrated on them raises false alarms.

>>> import numpy as np
>>> from detectors.batch import EventBatch
>>> class Far:
...     def decision_function(self, rows):
...         return np.abs(rows).max(axis=1)
>>> score = from_decision_function(Far(), ("x", "y"), Strange.HIGH)
>>> ids, rows = np.array(["a", "b"], dtype=object), np.array([[0.0, 3.0], [np.nan, 1.0]])
>>> batch = EventBatch("m", "", ids, np.zeros(2), numeric_names=("y", "x"), numeric=rows)
>>> score(batch)
array([ 3., nan])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Protocol

import numpy as np

from detectors.batch import EventBatch, FloatArray
from detectors.schema import numeric_matrix


class Strange(Enum):
    """Which end of a detector's scores is the strange one."""

    HIGH = 1
    LOW = -1


class HasDecisionFunction(Protocol):
    """A fitted detector in the style of PyOD or scikit-learn."""

    def decision_function(self, rows: Any) -> Any: ...


class ScoresOne(Protocol):
    """A detector in the style of ``river.anomaly``: high = anomalous."""

    def score_one(self, x: Any) -> float: ...


def from_decision_function(
    model: HasDecisionFunction, columns: Sequence[str], strange: Strange
) -> Callable[[EventBatch], FloatArray]:
    """A function (n events) → (n,) scores by a fitted detector over these numeric features, in this order.

    Events that lack one of them, or where it is not finite, score NaN: missing, not ordinary.

    Args:
        strange: ``HIGH`` for PyOD, ``LOW`` for scikit-learn.
    """
    names = tuple(columns)

    def score(batch: EventBatch) -> FloatArray:
        rows = numeric_matrix(batch, names).reshape(len(batch), len(names))
        whole = np.isfinite(rows).all(axis=1)
        out = np.full(len(batch), np.nan)
        if whole.any():
            out[whole] = strange.value * np.asarray(model.decision_function(rows[whole]), dtype=np.float64)
        return out

    return score


def from_river(detector: ScoresOne, columns: Sequence[str]) -> Callable[[EventBatch], FloatArray]:
    """A function (n events) → (n,) scores by a taught river detector; it gets what is there of these features.

    Numbers come as floats, other values as they are; an event that has none of the columns scores NaN. Cost: one call
    in Python an event, so some thousand events a second.
    """
    names = tuple(columns)

    def score(batch: EventBatch) -> FloatArray:
        rows = rows_of(batch, names)
        return np.array([detector.score_one(row) if row else np.nan for row in rows], dtype=np.float64)

    return score


def rows_of(batch: EventBatch, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The events as river wants them: name → value of the columns that each has, to ``learn_one`` from."""
    position = {name: j for j, name in enumerate(batch.numeric_names)}
    found: list[dict[str, Any]] = [{} for _ in range(len(batch))]
    for name in columns:
        if name in position:
            values: Sequence[Any] = batch.numeric[:, position[name]].tolist()
        elif name in batch.mixed:
            values = batch.mixed[name].tolist()
        else:
            continue
        for row, value in zip(found, values, strict=True):
            if value is not None and value == value:
                row[name] = value
    return found
