"""Source: what every kind of logged input is to the scorer.

A source is learned from reference rows and scores any rows; ``nan`` means "this row did not log what it takes". Every
component has a *side* (strange when large, or on either side) and may be part of the source's *core*: the scores that
are right most of the time, averaged; the others are heard when they shout (``scorer.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray
from detectors.ood.encoding import compress
from detectors.ood.head import Head
from detectors.ood.inputs import Inputs
from detectors.ood.neighbours import Float32

MIN_ROWS = 20
LIMIT = 1e3
ArrayMap = Mapping[str, NDArray[np.generic]]


class Side(StrEnum):
    HIGH = "high"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Component:
    """One score of a source; ``words`` finish the sentence "the input is strange because …"."""

    name: str
    side: Side
    core: bool
    words: str


@dataclass(frozen=True, slots=True)
class Learning:
    """What a source may use besides the rows: chance, and the last layer of the model where it was given."""

    rng: np.random.Generator
    head: Head | None = None


class Source(Protocol):
    """A fitted source: pure, immutable."""

    name: ClassVar[str]

    @classmethod
    def learn(cls, inputs: Inputs, learning: Learning) -> Self | None:
        """Fit on reference rows; None where fewer than ``MIN_ROWS`` logged what it takes."""
        ...

    def components(self) -> tuple[Component, ...]: ...

    def scores(self, inputs: Inputs) -> FloatArray:
        """(n, components) scores, larger = stranger; NaN rows could not be scored."""
        ...

    def to_arrays(self) -> dict[str, NDArray[np.generic]]: ...

    @classmethod
    def from_arrays(cls, arrays: ArrayMap) -> Self: ...


def standard(rows: FloatArray, scale: FloatArray) -> Float32:
    return np.asarray(compress((rows - scale[0]) / scale[1]).astype(np.float32))


def fields_of(prefix: str, value: Any) -> dict[str, NDArray[np.generic]]:
    """The arrays of a part of a source, each under its name."""
    return {f"{prefix}.{name}": np.asarray(getattr(value, name)) for name in type(value).__slots__}


def take(arrays: ArrayMap, name: str) -> FloatArray:
    return np.asarray(arrays[name])
