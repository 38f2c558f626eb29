"""Tails: what a client's worst look is worth as a p-value, by the worst looks of honest clients.

A client is looked at many times, so the figure that is calibrated is the largest of all its looks: one price for any
number of them. Up to the oddest honest clients the p-value is a rank; beyond them a Pareto tail (Hill 1975) goes on,
its scale enlarged for how few they are. A client may also be of a sort that the reference does not show, such as one
behind a new device: as often as the rule of succession has it for what was never seen (1 in n), but never less often
than ``LEAST_UNSHOWN``, for new sorts go on arriving however many old ones are known; then it looks as clients do that
were made up.
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
LEAST_UNSHOWN = 0.01
"""Least share of clients that are of such a sort."""
FEWEST = 3
"""Honest clients with fewer looks than these tell nothing of a tail."""
SCALES = (0.2, 0.5)
"""Least and most scale of the tail in logarithms that any reference shows; of made-up clients ``MADE_UP_SCALES``."""
MADE_UP_SCALES = (0.25, 1.0)
FEW = 3.0
"""Clients beyond the tail that are too few to show that it is thin: a sort of which there is one in thirty may be
missing, and those of the head that looks in most directions, or at what bets win, are the farthest out.
"""
WON_SCALES = (0.3, 0.5)
"""The same of what bets win: a bet that is worth it says no more than it would if honest clients were all alike."""


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
    def fit(cls, largest: Sequence[float] | FloatArray, share_beyond: float, scales: tuple[float, float]) -> Self:
        values = np.sort(np.maximum(largest, 1e-6))[::-1]
        last = _beyond(len(values), share_beyond)
        middle = float(np.median(values))
        beyond = max(float(values[last]), 1.01 * middle)
        scale = float(np.mean(np.log(np.maximum(values[:last] / beyond, 1.0)))) * (1.0 + 1.0 / np.sqrt(last))
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

    def softened(self, factor: float) -> Curve:
        """The curve on which logs of p-values are that many times as small."""
        return Curve(self.middle, self.beyond, self.share ** (1.0 / factor), self.scale * factor)

    def to_row(self) -> list[float]:
        return [self.middle, self.beyond, self.share, self.scale]


def _beyond(n: int, share: float) -> int:
    """How many of n clients the tail is learned from."""
    return int(np.clip(np.ceil(share * n), 2, max(2, n // 2)))


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
    def fit(
        cls,
        largest: Sequence[float] | FloatArray,
        made_up: Sequence[float] | FloatArray = (),
        scales: tuple[float, float] = SCALES,
    ) -> Tail:
        """From the largest looks of honest clients, and of made-up ones."""
        if len(largest) < FEWEST:
            return UNKNOWN
        shown = Curve.fit(largest, SHARE_BEYOND, scales)
        if len(made_up) < FEWEST:
            return cls(shown, shown, 0.0)
        unshown = Curve.fit(made_up, MADE_UP_BEYOND, MADE_UP_SCALES)
        return cls(shown, unshown, max(LEAST_UNSHOWN, UNSHOWN / (len(largest) + UNSHOWN)))

    def log_p(self, value: float) -> float:
        """Natural log of the chance that an honest client's largest look is at least ``value``."""
        return self.heard(value).log_p

    def heard(self, value: float, unshown: float | None = None) -> Heard:
        """What is said of a client whose largest look is ``value``; ``unshown`` where it is of a sort not shown."""
        return Heard(self.shown.log_p(value), self.unshown.log_p(value if unshown is None else unshown), self.weight)

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

    def softened(self, factor: float) -> Tail:
        """The tail of bets whose winnings say ``factor`` times less than they do."""
        return Tail(self.shown.softened(factor), self.unshown.softened(factor), self.weight)

    def to_row(self) -> FloatArray:
        return np.array([*self.shown.to_row(), *self.unshown.to_row(), self.weight])

    @classmethod
    def of_row(cls, row: FloatArray) -> Self:
        *curves, weight = row.tolist()
        return cls(Curve(*curves[:4]), Curve(*curves[4:]), weight)


_UNKNOWN = Curve(1.0, 3.0, 0.1, SCALES[1])
UNKNOWN = Tail(_UNKNOWN, _UNKNOWN, 0.0)
"""What is thought of honest clients where too few are known."""


class Largest(NamedTuple):
    """The largest statistics of one client over its looks, for ``Tails``: as a client of a sort that is shown has them,
    or as one of another has; NaN: not known.
    """

    distance: float
    asked: float
    repeats: float
    hard: float
    sure: float
    apart: float
    stamped: float


class Tails(NamedTuple):
    """The tails of distance from peers (H1), what bets on queries win (H2), near repeats (H3), what bets on hard and on
    sure answers win (H9), what the bets win that queries keep apart (H10) or are stamped (H11).
    """

    distance: Tail
    asked: Tail
    repeats: Tail
    hard: Tail
    sure: Tail
    apart: Tail
    stamped: Tail

    @classmethod
    def fit(cls, honest: Sequence[Largest], made_up: Sequence[Largest]) -> Tails:
        """From honest clients and made-up ones."""
        known, others = (np.array(all_).reshape(-1, len(Largest._fields)) for all_ in (honest, made_up))
        sure = float(np.clip(WON_SCALES[1] * np.sqrt(FEW / _beyond(len(known), SHARE_BEYOND)), *WON_SCALES))
        careful = (sure, WON_SCALES[1])
        scales = (careful, careful, SCALES, *[WON_SCALES] * 4)
        return cls(*(Tail.fit(known[:, j], others[~np.isnan(others[:, j]), j], s) for j, s in enumerate(scales)))

    @classmethod
    def unknown(cls) -> Tails:
        """Where too few honest clients are known."""
        return cls(*[UNKNOWN] * len(cls._fields))

    def widened(
        self, distance: float, asked: float, repeats: float, answered: float, apart: float, stamped: float
    ) -> Tails:
        """The tails of statistics of H1 and H3 that are so many times as large, of bets (all others) that say less."""
        return Tails(
            self.distance.widened(distance),
            self.asked.softened(asked),
            self.repeats.widened(repeats),
            self.hard.softened(answered),
            self.sure.softened(answered),
            self.apart.softened(apart),
            self.stamped.softened(stamped),
        )
