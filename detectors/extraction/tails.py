"""Tails: what a client's worst look is worth as a p-value, by the worst looks of honest clients.

A client is looked at many times, so the figure that is calibrated is the largest of all its looks: one price for any
number of them. Up to the oddest honest clients the p-value is a rank; beyond them a Pareto tail (Hill 1975) goes on,
its scale enlarged for how few they are. A client may also be of a sort that the reference does not show, such as one
behind a new device: as often as the rule of succession has it for what was never seen (1 in n), and then it looks as
clients do that were made up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from detectors.batch import FloatArray

SHARE_BEYOND = 0.03
"""Share of honest clients, the oddest, that the Pareto tail is learned from; of made-up ones ``MADE_UP_BEYOND``."""
MADE_UP_BEYOND = 0.1
UNSHOWN = 1.0
"""How many honest clients of sorts that it does not show a reference is taken to lack."""
FEWEST = 3
"""Honest clients with fewer looks than these tell nothing of a tail."""
SCALES = (0.2, 0.5)
"""Least and most scale of the tail in logarithms that any reference shows; of made-up clients ``MADE_UP_SCALES``."""
MADE_UP_SCALES = (0.25, 1.0)


@dataclass(frozen=True, slots=True)
class Curve:
    """The distribution of the largest look of one sort of client, for large values.

    Attributes:
        middle: value up to which nothing is said. beyond: value that the share ``share`` of clients exceeds.
        scale: mean of ln(value / beyond) among those.
    """

    middle: float
    beyond: float
    share: float
    scale: float

    @classmethod
    def fit(cls, largest: Sequence[float], share_beyond: float, scales: tuple[float, float]) -> Self:
        values = np.sort(np.maximum(largest, 1e-6))[::-1]
        last = int(np.clip(np.ceil(share_beyond * len(values)), 2, max(2, len(values) // 2)))
        beyond = float(values[last])
        scale = float(np.mean(np.log(values[:last] / beyond))) * (1.0 + 1.0 / np.sqrt(last))
        middle = min(float(np.median(values)), 0.99 * beyond)
        share = (last + 1.0) / (len(values) + 1.0)
        return cls(middle, beyond, share, float(np.clip(scale, *scales)))

    def log_p(self, value: float) -> float:
        """Natural log of the chance that such a client's largest look is at least ``value``."""
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

    def widened(self, factor: float) -> Curve:
        return Curve(self.middle * factor, self.beyond * factor, self.share, self.scale)

    def to_row(self) -> list[float]:
        return [self.middle, self.beyond, self.share, self.scale]


class Heard(NamedTuple):
    """Natural logs of the p-value of a head where the client's sort is shown, and where it is not, and that chance.

    Two heads that are both odd because the client is of a sort that is not shown must not count its rarity twice.
    """

    shown: float
    unshown: float
    weight: float

    @classmethod
    def alone(cls, log_p: float) -> Heard:
        """A head that no sort of client excuses."""
        return cls(log_p, log_p, 0.0)

    @property
    def log_p(self) -> float:
        return mixed(self.shown, self.unshown, self.weight)

    def better(self, other: Heard) -> Heard:
        """The better of two answers to the same question, at twice the p-value."""
        twice = float(np.log(2.0))
        shown, unshown = min(self.shown, other.shown) + twice, min(self.unshown, other.unshown) + twice
        return Heard(min(0.0, shown), min(0.0, unshown), max(self.weight, other.weight))


def mixed(shown: float, unshown: float, weight: float) -> float:
    """Natural log of the p-value of a client that may be of either sort."""
    if weight == 0.0:
        return shown
    return min(0.0, float(np.logaddexp(np.log1p(-weight) + shown, np.log(weight) + unshown)))


@dataclass(frozen=True, slots=True)
class Tail:
    """The distribution of the largest look of an honest client: of a sort that the reference shows, or of another.

    Attributes:
        shown, unshown: of the two. weight: the chance of the other.
    """

    shown: Curve
    unshown: Curve
    weight: float

    @classmethod
    def fit(cls, largest: Sequence[float], made_up: Sequence[float] = ()) -> Tail:
        """From the largest looks of honest clients, and of made-up ones."""
        if len(largest) < FEWEST:
            return UNKNOWN
        shown = Curve.fit(largest, SHARE_BEYOND, SCALES)
        if len(made_up) < FEWEST:
            return cls(shown, shown, 0.0)
        unshown = Curve.fit(made_up, MADE_UP_BEYOND, MADE_UP_SCALES)
        return cls(shown, unshown, UNSHOWN / (len(largest) + UNSHOWN))

    def log_p(self, value: float) -> float:
        """Natural log of the chance that an honest client's largest look is at least ``value``."""
        return self.heard(value).log_p

    def heard(self, value: float) -> Heard:
        """What is said of a client whose largest look is ``value``."""
        return Heard(self.shown.log_p(value), self.unshown.log_p(value), self.weight)

    def at(self, log_p: float) -> float:
        """The value with that log p-value, at most ln(1/2)."""
        low, high = self.shown.middle, 2.0 * max(self.shown.at(log_p), self.unshown.at(log_p))
        while high / low > 1.0 + 1e-9:
            value = float(np.sqrt(low * high))
            low, high = (value, high) if self.log_p(value) > log_p else (low, value)
        return low

    def of_shown(self) -> Tail:
        """The tail of those that cannot be of another sort."""
        return Tail(self.shown, self.unshown, 0.0)

    def widened(self, factor: float) -> Tail:
        """The tail of values that are ``factor`` times as large."""
        return Tail(self.shown.widened(factor), self.unshown.widened(factor), self.weight)

    def to_row(self) -> FloatArray:
        return np.array([*self.shown.to_row(), *self.unshown.to_row(), self.weight])

    @classmethod
    def of_row(cls, row: FloatArray) -> Self:
        *curves, weight = row.tolist()
        return cls(Curve(*curves[:4]), Curve(*curves[4:]), weight)


_UNKNOWN = Curve(1.0, 3.0, 0.1, SCALES[1])
UNKNOWN = Tail(_UNKNOWN, _UNKNOWN, 0.0)
"""What is thought of honest clients where too few are known."""
