"""Honest: what an honest client did, as channel rows: one of the reference, or one that was made up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray

MIN_QUERIES = 10
"""Fresh queries that a client can be judged by."""


@dataclass(frozen=True, slots=True, eq=False)
class Honest:
    """One honest client, in time order.

    Attributes:
        phi: (m, d) channel rows of its fresh queries. won: (m, 6) what each wins of ``WAGERS``.
        strange: (m,) whether each is rarer than 1 in 100.
        near: (c, 3) whether each query compared with recent ones is a near repeat, narrowly and widely, and stamped.
    """

    client: str
    phi: FloatArray
    won: FloatArray
    strange: NDArray[np.bool_]
    near: NDArray[np.bool_]

    @property
    def fresh(self) -> int:
        return len(self.phi)


@dataclass(frozen=True, slots=True, eq=False)
class Newcomers:
    """Honest clients of sorts that a reference does not show.

    Attributes:
        changed: its clients behind new devices. narrow: clients that ask about little. unrounded: clients that send
            digits which nobody else sends.
    """

    changed: Sequence[Honest]
    narrow: Sequence[Honest]
    unrounded: Sequence[Honest]

    @property
    def everybody(self) -> list[Honest]:
        return [*self.changed, *self.narrow, *self.unrounded]
