"""Measure: what performance means for one kind of model, from events to integer sums and from sums to figures.

A measured loss and an estimated loss are both counts over levels in [0, 1], so that one bet serves all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from detectors.base import Arrays
from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.performance.metrics import Figure
from detectors.sketch import Sketch

Sums = Mapping[str, IntArray]

ANSWERED = "answers"
DELAY = "delay"
DELAY_OF_RIGHT = "delay_of_right"


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss in the reference.

    Attributes:
        levels: (l,) losses in [0, 1].
        counts: (l,) events of the reference at each level.
        temper, between: overdispersion in time and between clients.
    """

    levels: FloatArray
    counts: IntArray
    temper: float
    between: float

    @property
    def effective_n(self) -> float:
        return float(self.counts.sum()) / max(self.temper, self.between)


class Measure(Protocol):
    """How one kind of model is measured; built from what ``fit`` left in the reference."""

    @property
    def name(self) -> str:
        """The leading metric, such as ``accuracy``."""
        ...

    @property
    def effect_unit(self) -> str:
        """Unit of ``drop``."""
        ...

    @property
    def unit_of_loss(self) -> float:
        """How much of the leading metric one unit of loss is."""
        ...

    @property
    def measured_loss(self) -> Loss: ...

    @property
    def estimated_loss(self) -> Loss | None:
        """None where nothing can be said without labels."""
        ...

    def sketch(self, batch: EventBatch, starts: IntArray) -> Sequence[Sketch]: ...

    def measured_counts(self, sums: Sums) -> IntArray:
        """(l,) labelled events at each level of the measured loss."""
        ...

    def estimated_counts(self, sums: Sums) -> IntArray:
        """(m,) answers at each level of the estimated loss."""
        ...

    def reference(self) -> float:
        """The leading metric in the reference."""
        ...

    def measured(self, sums: Sums) -> Figure:
        """The leading metric on labelled events."""
        ...

    def estimated(self, sums: Sums) -> Figure:
        """The leading metric on answers without their labels."""
        ...

    def drop(self, value: float) -> float:
        """How much worse ``value`` is than the reference; negative when it is better."""
        ...

    def metrics(self, measured: Sums | None, estimated: Sums | None) -> list[dict[str, Any]]:
        """Every metric with its reference, and what is measured and estimated of it; JSON-ready."""
        ...

    def confusion(self, measured: Sums | None, estimated: Sums | None) -> dict[str, Any] | None:
        """Shares by predicted and true class; None where there are no classes."""
        ...

    def words(self, *values: float) -> list[str]:
        """Values of the leading metric for people, precise enough to tell the first two apart."""
        ...


def metric_row(
    name: str, reference: float, measured: Figure | None, n_labels: int, estimated: Figure | None
) -> dict[str, Any]:
    """One entry of a reading's ``metrics``."""
    row: dict[str, Any] = {"name": name, "reference": reference}
    for kind, found in (("estimated", estimated), ("measured", measured)):
        row[kind] = None if found is None else found.value
        row[f"{kind}_low"] = None if found is None else found.low
        row[f"{kind}_high"] = None if found is None else found.high
    return {**row, "n_labels": n_labels}


def loss_to_arrays(name: str, loss: Loss) -> dict[str, Any]:
    """A loss as named arrays."""
    return {f"{name}.levels": loss.levels, f"{name}.counts": loss.counts}


def loss_from(name: str, arrays: Arrays, facts: Mapping[str, Any]) -> Loss | None:
    """Inverse of ``loss_to_arrays``, with the dispersions from the facts."""
    if f"{name}.levels" not in arrays:
        return None
    return Loss(
        arrays[f"{name}.levels"].astype("float64"),
        arrays[f"{name}.counts"].astype("int64"),
        float(facts[f"{name}.temper"]),
        float(facts[f"{name}.between"]),
    )


def loss_facts(name: str, loss: Loss) -> dict[str, float]:
    """The dispersions of a loss as facts."""
    return {f"{name}.temper": loss.temper, f"{name}.between": loss.between}
