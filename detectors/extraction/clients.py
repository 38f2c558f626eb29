"""Clients: the running state of one client, and when it is due to be looked at.

Two windows a client: everything since it was first seen, looked at whenever its number of queries doubles, and the
block since the last look, so that an honest history cannot hide what a client does today. Repeats do not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import IntArray
from detectors.extraction.layout import COUNTS

FIRST_LOOK = 25
LONGEST_BLOCK = 200
NEVER = 32
"""As many looks as these: the next doubling is out of reach."""
DAY_S = 86_400.0
_STATE = 7
_NEW = [COUNTS.index(name) for name in ("exact", "unseen")]


@dataclass(frozen=True, slots=True, eq=False)
class ClientState:
    """Sums and standing of one client.

    Attributes:
        total, block: (width,) int64 sums since first seen, and since the last look.
        crowd_at_first, crowd_at_block: (width,) running sums of the crowd when those windows began, and the client's
            own part since.
        status: 0 nothing, 1 warning, 2 alarm.
        evidence: largest evidence since the status last was 0.
        since: event time at which the evidence began to rise; first_at, block_at: when the windows began.
        total_looks: how often the window since first seen was looked at.
        day: the last day of event time, counted from the epoch, on which the client was active.
    """

    total: IntArray
    block: IntArray
    crowd_at_first: IntArray
    crowd_at_block: IntArray
    status: int
    evidence: float
    since: float
    first_at: float
    block_at: float
    total_looks: int
    day: int = -1

    @classmethod
    def new(cls, crowd: IntArray, at: float) -> Self:
        zero = np.zeros_like(crowd)
        return cls(zero, zero, crowd, crowd, 0, 0.0, at, at, at, 0)

    @classmethod
    def by_blocks(cls, crowd: IntArray, at: float) -> Self:
        """A state whose whole is never looked at, only its blocks: any drift is significant over a long enough time."""
        return replace(cls.new(crowd, at), total_looks=NEVER)

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]] | None, crowd: IntArray, at: float) -> Self:
        """The stored state; a new one, beside ``crowd``, for a client not seen before."""
        if not arrays or arrays["sums"].shape != (4, len(crowd)) or arrays["state"].shape != (_STATE,):
            return cls.new(crowd, at)
        status, evidence, since, first_at, block_at, total_looks, day = arrays["state"].tolist()
        total, block, first, current = arrays["sums"]
        times = (since, first_at, block_at)
        return cls(total, block, first, current, int(status), evidence, *times, int(total_looks), int(day))

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        state = (
            self.status,
            self.evidence,
            self.since,
            self.first_at,
            self.block_at,
            self.total_looks,
            self.day,
        )
        sums = np.stack([self.total, self.block, self.crowd_at_first, self.crowd_at_block])
        return {"sums": sums, "state": np.array(state, dtype=np.float64)}

    def after(self, added: IntArray, counted: IntArray, crowd_before: IntArray, at: float) -> ClientState:
        """The state with a pane's sums folded in, of which ``counted`` went into the running sums of the crowd."""
        starts = queries(self.block) == 0
        return replace(
            self,
            total=self.total + added,
            block=added if starts else self.block + added,
            crowd_at_first=self.crowd_at_first + counted,
            crowd_at_block=(crowd_before if starts else self.crowd_at_block) + counted,
            block_at=at if starts else self.block_at,
            day=int(at // DAY_S),
        )

    @property
    def total_due(self) -> bool:
        """Whether the number of queries has passed the next doubling of ``FIRST_LOOK``."""
        return queries(self.total) >= FIRST_LOOK << self.total_looks

    @property
    def block_due(self) -> bool:
        """Whether the block is long enough for a look of its own; a client under alarm is looked at often."""
        have, all_ = queries(self.block), queries(self.total)
        wanted = FIRST_LOOK if self.status == 2 else min(max(FIRST_LOOK, all_ // 4), LONGEST_BLOCK)
        if self.total_looks >= NEVER:
            return have >= LONGEST_BLOCK
        return wanted <= have < all_

    def looked(self, total: bool, block: bool, crowd: IntArray, at: float) -> ClientState:
        """The state after a look: the next doubling is set beyond what was seen, a looked-at block is closed."""
        looks = self.total_looks
        while total and queries(self.total) >= FIRST_LOOK << looks:
            looks += 1
        zero = np.zeros_like(self.block)
        closed = block or queries(self.block) == queries(self.total)
        return replace(
            self,
            total_looks=looks,
            block=zero if closed else self.block,
            crowd_at_block=crowd if closed else self.crowd_at_block,
            block_at=at if closed else self.block_at,
        )


def queries(vector: IntArray) -> int:
    """Events that were seen and are not exact repeats."""
    return int(vector[0] - vector[_NEW].sum())
