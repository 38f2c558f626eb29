"""A user's own scores as a source: one component a score, higher = stranger, ranked like every other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray
from detectors.ood.base import MIN_ROWS, ArrayMap, Component, Learning, Side
from detectors.ood.inputs import Inputs


@dataclass(frozen=True, slots=True, eq=False)
class OwnSource:
    """``names``: (k,) of the scores that at least ``MIN_ROWS`` reference rows had."""

    name: ClassVar[str] = "own"
    names: NDArray[np.str_]

    @classmethod
    def learn(cls, inputs: Inputs, learning: Learning) -> Self | None:
        names = [name for name, values in inputs.own.items() if np.isfinite(values).sum() >= MIN_ROWS]
        return cls(np.array(names)) if names else None

    def components(self) -> tuple[Component, ...]:
        return tuple(Component(n, Side.HIGH, True, f"your score {n} says so") for n in self.names.tolist())

    def scores(self, inputs: Inputs) -> FloatArray:
        nothing = np.full(len(inputs), np.nan)
        return np.stack([inputs.own.get(name, nothing) for name in self.names.tolist()], axis=1)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"names": self.names}

    @classmethod
    def from_arrays(cls, arrays: ArrayMap) -> Self:
        return cls(np.asarray(arrays["names"], np.str_))
