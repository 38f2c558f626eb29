"""Walkers: the running state of one client, and when it is due to be looked at.

Two windows a client: everything since it was first seen, looked at whenever its steps have grown by half, and the block
since the last look, so that an honest past cannot hide what a client does today.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import IntArray
from detectors.evasion.tally import COUNTS, WIDTH

FIRST_LOOK = 8
GROWTH = 1.5
LONGEST_BLOCK = 60
QUIET_EVENTS = 50
_STEPS, _EVENTS = COUNTS.index("steps"), COUNTS.index("events")


@dataclass(frozen=True, slots=True, eq=False)
class Walker:
    """Counts and standing of one client.

    Attributes:
        total, block: (``WIDTH``,) int64 counts since first seen, and since the last look.
        status: 0 nothing, 1 warning, 2 alarm. evidence: largest since the status last was 0.
        since: event time at which the evidence began to rise; first_at, block_at: when the windows began.
        total_looks, block_looks: how often each window was looked at.
    """

    total: IntArray
    block: IntArray
    status: int
    evidence: float
    since: float
    first_at: float
    block_at: float
    total_looks: int
    block_looks: int

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]] | None, at: float) -> Self:
        """The stored state; a new one for a client not seen before."""
        if not arrays or arrays["sums"].shape != (2, WIDTH):
            zero = np.zeros(WIDTH, dtype=np.int64)
            return cls(zero, zero, 0, 0.0, at, at, at, 0, 0)
        status, evidence, since, first_at, block_at, total_looks, block_looks = arrays["state"].tolist()
        times = (since, first_at, block_at)
        total, block = arrays["sums"]
        return cls(total, block, int(status), evidence, *times, int(total_looks), int(block_looks))

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        times = (self.since, self.first_at, self.block_at)
        state = (self.status, self.evidence, *times, self.total_looks, self.block_looks)
        return {"sums": np.stack([self.total, self.block]), "state": np.array(state, dtype=np.float64)}

    def after(self, added: IntArray, at: float) -> Walker:
        """The state with a pane's counts folded in."""
        starts = not self.block[_STEPS]
        return replace(
            self,
            total=self.total + added,
            block=added if starts and not self.status else self.block + added,
            block_at=at if starts and added[_STEPS] else self.block_at,
        )

    @property
    def total_due(self) -> bool:
        return bool(self.total[_STEPS] >= _wanted(self.total_looks))

    @property
    def block_due(self) -> bool:
        """Whether the block is long enough for a look; under alarm also when it is long and quiet."""
        steps, total = int(self.block[_STEPS]), int(self.total[_STEPS])
        if self.status == 2:
            return bool(steps >= QUIET_EVENTS // 2 or self.block[_EVENTS] >= QUIET_EVENTS)
        return min(max(FIRST_LOOK, total // 4), LONGEST_BLOCK) <= steps < total

    def looked(self, total: bool, block: bool) -> Walker:
        """The state after a look: the next one is set beyond what was seen, and a looked-at block begins anew."""
        looks = self.total_looks
        while total and self.total[_STEPS] >= _wanted(looks):
            looks += 1
        closed = block or self.block[_STEPS] == self.total[_STEPS]
        left = np.zeros_like(self.block) if closed else self.block
        return replace(self, total_looks=looks, block=left, block_looks=self.block_looks + int(block))


def _wanted(looks: int) -> float:
    return float(FIRST_LOOK * GROWTH**looks)
