"""What a watch is: one thing that may break, as a sketch, bets on it, and words for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from detectors.base import Arrays, Pane
from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.sketch import Sketch


@dataclass(frozen=True, slots=True)
class Look:
    """What one pane says.

    Attributes:
        log_ratio: (bets,) log likelihood ratio that each bet earns, its mean at most one while nothing is wrong.
        window: name → (causes, …) sums that words and effect sizes are made of.
        notes: name → array that replaces the one before it instead of being added.
    """

    log_ratio: FloatArray
    window: Mapping[str, NDArray[Any]]
    notes: Arrays = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, in words and numbers; ``effect`` and ``minimum_effect`` share a unit."""

    name: str
    words: str
    expected: float
    current: float
    unit: str
    effect: float
    effect_unit: str
    minimum_effect: float
    change: Mapping[str, Any] | None = None
    """The column's change, in the shape of drift's."""

    @property
    def matters(self) -> bool:
        return abs(self.effect) >= self.minimum_effect

    def to_json(self, evidence_share: float) -> dict[str, Any]:
        return {
            "name": self.name,
            "words": self.words,
            "expected": self.expected,
            "current": self.current,
            "unit": self.unit,
            "evidence_share": evidence_share,
        }


class Watch(Protocol):
    """One thing watched; its bets are divided among its causes, most often a single one."""

    name: ClassVar[str]
    pane_cap: ClassVar[float]
    """The part of an alarm's evidence that a single pane may bring, in (0, 1)."""

    @property
    def n_causes(self) -> int: ...

    @property
    def owners(self) -> IntArray:
        """(bets,) the cause that each bet is about."""
        ...

    @property
    def weights(self) -> FloatArray:
        """(bets,) summing to one."""
        ...

    def sketch(self, batch: EventBatch, starts: IntArray) -> Sequence[Sketch]: ...

    def look(self, pane: Pane) -> Look | None:
        """What the pane says; None when it says nothing."""
        ...

    def finding(self, cause: int, window: Arrays, notes: Arrays) -> Finding: ...


def slice_sums(values: IntArray, starts: IntArray) -> IntArray:
    """(slices, …) sums of (n, …) values over the slices that begin at ``starts``, some perhaps empty."""
    padded = np.concatenate([np.zeros((1, *values.shape[1:]), dtype=np.int64), np.cumsum(values, axis=0)])
    return np.asarray(padded[np.append(starts[1:], len(values))] - padded[starts])


def even(n: int) -> FloatArray:
    """(n,) equal weights that sum to one."""
    return np.full(n, 1.0 / n) if n else np.empty(0)


def dispersion_blocks(panes: IntArray) -> list[FloatArray]:
    """Block labels of (n,) pane numbers at widths of 1, 4, 16, … panes, while at least eight blocks remain."""
    blocks: list[FloatArray] = []
    width = 1
    while True:
        labels = np.floor(panes / width)
        if np.unique(labels).size < 8:
            return blocks
        blocks.append(np.asarray(labels, dtype=np.float64))
        width *= 4
