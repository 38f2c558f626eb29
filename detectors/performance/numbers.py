"""Performance of a regression: mean absolute error. Nothing can be said of it before labels come.

The loss is the absolute error over its 99.9 % quantile in the reference, at most 1, counted in bins at reference
quantiles and each counted at its upper edge, so that it is never played down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from detectors.base import Arrays
from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.performance.bets import dispersion, dispersion_between
from detectors.performance.delays import N_DELAYS, delay_bin
from detectors.performance.measure import (
    ANSWERED,
    DELAY,
    Loss,
    Sums,
    loss_facts,
    loss_from,
    loss_to_arrays,
    metric_row,
)
from detectors.performance.metrics import Figure
from detectors.performance.outcomes import OutcomeReader, Outcomes
from detectors.sketch import FIXED_POINT_ONE, Sketch

N_LEVELS = 20
_LARGEST_LOSS = 1_000.0
"""Errors beyond so many times the scale count as this, so that sums stay within 64 bits."""


@dataclass(frozen=True)
class NumberMeasure:
    """How a regression is measured.

    Attributes:
        edges: (N_LEVELS − 1,) of the absolute error, in units of the label.
        scale: the absolute error that counts as a loss of 1.
        mean: mean absolute error in the reference.
    """

    reader: OutcomeReader
    edges: FloatArray
    scale: float
    mean: float
    measured_loss: Loss

    name = "mean absolute error"
    effect_unit = "rise in mean absolute error"
    estimated_loss: Loss | None = None

    @property
    def unit_of_loss(self) -> float:
        return self.scale

    @classmethod
    def fit(cls, reference: EventBatch, reader: OutcomeReader, outcomes: Outcomes, pane_s: float) -> Self:
        """Learn bins, scale and dispersion; ``outcomes`` are those of ``reference``."""
        told = outcomes.measured
        error = _errors(outcomes)[told]
        scale = max(float(np.quantile(error, 0.999)), 1e-12)
        edges = np.quantile(error, np.arange(1, N_LEVELS) / N_LEVELS)
        levels = np.minimum(np.append(edges, scale) / scale, 1.0)
        counts = np.bincount(np.searchsorted(edges, error), minlength=N_LEVELS)
        capped = np.minimum(error / scale, 1.0)
        clients = None if reference.client_id is None else reference.client_id[told]
        loss = Loss(
            levels,
            counts,
            dispersion(capped, reference.timestamp[told], pane_s),
            dispersion_between(capped, clients),
        )
        mean = float(np.minimum(error / scale, _LARGEST_LOSS).mean()) * scale
        return cls(reader, edges, scale, mean, loss)

    def to_arrays(self) -> dict[str, Any]:
        return {"edges": self.edges, **loss_to_arrays("measured", self.measured_loss)}

    def to_facts(self) -> dict[str, Any]:
        return {
            **self.reader.to_facts(),
            "scale": self.scale,
            "mean": self.mean,
            "no_estimate": "the error of a number cannot be told without its label",
            **loss_facts("measured", self.measured_loss),
        }

    @classmethod
    def load(cls, arrays: Arrays, facts: Mapping[str, Any]) -> Self:
        loss = loss_from("measured", arrays, facts)
        assert loss is not None
        edges = np.asarray(arrays["edges"], dtype=np.float64)
        return cls(OutcomeReader.from_facts(facts), edges, float(facts["scale"]), float(facts["mean"]), loss)

    def sketch(self, batch: EventBatch, starts: IntArray) -> Sequence[Sketch]:
        outcomes = self.reader.read(batch)
        error = _errors(outcomes)
        told = outcomes.measured
        level = np.searchsorted(self.edges, np.nan_to_num(error))
        fixed = np.rint(np.minimum(np.nan_to_num(error) / self.scale, _LARGEST_LOSS) * FIXED_POINT_ONE).astype(np.int64)
        new = outcomes.answered & ~outcomes.joined_late
        delay = delay_bin(outcomes.delay_s)
        ends = np.append(starts[1:], len(batch))
        return [
            Sketch(
                {
                    ANSWERED: np.array([int(new[a:b].sum())]),
                    "loss": np.bincount(level[a:b][told[a:b]], minlength=N_LEVELS),
                    "loss_sum": np.array([int(fixed[a:b][told[a:b]].sum())]),
                    DELAY: np.bincount(delay[a:b][told[a:b]], minlength=N_DELAYS),
                }
            )
            for a, b in zip(starts, ends, strict=True)
        ]

    def measured_counts(self, sums: Sums) -> IntArray:
        return sums["loss"]

    def estimated_counts(self, sums: Sums) -> IntArray:
        return np.zeros(0, dtype=np.int64)

    def reference(self) -> float:
        return self.mean

    def measured(self, sums: Sums) -> Figure:
        n = max(float(sums["loss"].sum()), 1.0)
        value = float(sums["loss_sum"][0]) / FIXED_POINT_ONE / n
        p = sums["loss"] / n
        levels = self.measured_loss.levels
        spread = float((p * levels**2).sum()) - float((p * levels).sum()) ** 2
        half = 1.96 * float(np.sqrt(max(spread, 0.0) / n))
        return Figure(value * self.scale, max(0.0, value - half) * self.scale, (value + half) * self.scale)

    def estimated(self, sums: Sums) -> Figure:
        raise NotImplementedError("a regression has no estimate without labels")

    def drop(self, value: float) -> float:
        return value - self.mean

    def metrics(self, measured: Sums | None, estimated: Sums | None) -> list[dict[str, Any]]:
        n = 0 if measured is None else int(measured["loss"].sum())
        return [metric_row(self.name, self.mean, None if measured is None else self.measured(measured), n, None)]

    def confusion(self, measured: Sums | None, estimated: Sums | None) -> dict[str, Any] | None:
        return None

    def words(self, *values: float) -> list[str]:
        return [f"{value:.3g}" for value in values]


def _errors(outcomes: Outcomes) -> FloatArray:
    """(n,) absolute error, NaN where either half is missing."""
    halves = [np.array([np.nan if v is None else v for v in half], float) for half in (outcomes.answer, outcomes.label)]
    return np.asarray(np.abs(halves[0] - halves[1]))
