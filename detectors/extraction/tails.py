"""Tails: what a client's worst look is worth as a p-value, by the worst looks of honest clients.

A client is looked at many times, so the figure that is calibrated is the largest of all its looks: one price for any
number of them. Up to the oddest honest clients the p-value is a rank; beyond them a Pareto tail (Hill 1975) goes on,
its scale enlarged for how few they are. Made-up clients, with a device nobody has yet, count among the honest as a few
do, so that a sort of client the reference does not know is no thief.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from detectors.batch import FloatArray

SHARE_BEYOND = 0.03
"""Share of honest clients, the oddest, that the Pareto tail is learned from."""
UNSHOWN = 1.0
"""How many honest clients of sorts that it does not show a reference is taken to lack."""
FEWEST = 3
"""Honest clients with fewer looks than these tell nothing of a tail."""
LEAST_SCALE = 0.12
"""Of the tail in logarithms: no reference shows less."""
MOST_SCALE = 0.5


@dataclass(frozen=True, slots=True)
class Tail:
    """The distribution of the largest look of an honest client, for large values.

    Attributes:
        middle: value up to which nothing is said. beyond: value that the share ``share`` of honest clients exceeds.
        scale: mean of ln(value / beyond) among those.
    """

    middle: float
    beyond: float
    share: float
    scale: float

    @classmethod
    def fit(cls, largest: Sequence[float], made_up: Sequence[float] = ()) -> Tail:
        """From the largest looks of honest clients, and of made-up ones."""
        if len(largest) < FEWEST:
            return UNKNOWN
        values = np.maximum(np.array([*largest, *made_up]), 1e-6)
        weight = np.repeat([1.0, UNSHOWN / max(1, len(made_up))], [len(largest), len(made_up)])
        order = np.argsort(-values)
        values, weight = values[order], weight[order]
        whole = float(weight.sum()) + 1.0
        above = (np.cumsum(weight) + 1.0) / whole
        share = max(SHARE_BEYOND, 3.0 / whole)
        last = int(np.clip(np.searchsorted(above, share), 2, max(2, len(values) // 2)))
        beyond = float(values[last])
        mean = float(np.average(np.log(values[:last] / beyond), weights=weight[:last]))
        caution = 1.0 + 1.0 / np.sqrt(max(1.0, min(last, 4.0 * float(weight[:last].sum()))))
        middle = float(values[min(int(np.searchsorted(above, 0.5)), len(values) - 1)])
        scale = float(np.clip(mean * caution, LEAST_SCALE, MOST_SCALE))
        return cls(min(middle, 0.99 * beyond), beyond, float(above[last]), scale)

    def log_p(self, value: float) -> float:
        """Natural log of the chance that an honest client's largest look is at least ``value``."""
        if value <= self.middle:
            return 0.0
        if value <= self.beyond:
            part = np.log(value / self.middle) / np.log(self.beyond / self.middle)
            return float(np.log(0.5) + part * (np.log(self.share) - np.log(0.5)))
        return float(np.log(self.share) - np.log(value / self.beyond) / self.scale)

    def at(self, log_p: float) -> float:
        """The value with that log p-value, at most ln(1/2)."""
        if log_p <= np.log(self.share):
            return float(self.beyond * np.exp(self.scale * (np.log(self.share) - log_p)))
        part = (min(log_p, float(np.log(0.5))) - np.log(0.5)) / (np.log(self.share) - np.log(0.5))
        return float(self.middle * (self.beyond / self.middle) ** part)

    def widened(self, factor: float) -> Tail:
        """The tail of values that are ``factor`` times as large."""
        return Tail(self.middle * factor, self.beyond * factor, self.share, self.scale)

    def to_row(self) -> FloatArray:
        return np.array([self.middle, self.beyond, self.share, self.scale])

    @classmethod
    def of_row(cls, row: FloatArray) -> Self:
        middle, beyond, share, scale = row.tolist()
        return cls(middle, beyond, share, scale)


UNKNOWN = Tail(1.0, 3.0, 0.1, MOST_SCALE)
"""What is thought of honest clients where too few are known."""
