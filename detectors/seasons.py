"""Seasons: which hours of the day or week resemble each other, where ordinary traffic breathes with the clock.

A reference that spans at least two whole days (or weeks) may show that some hours differ from others, each day alike.
Then panes of like hours form a *stratum* with a normal of its own, and only what differs from the same hours of the
reference counts as drift. What two halves of the reference (every other day) do not both show is no season.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from detectors.batch import FloatArray, IntArray

DAY_S = 86_400.0
WEEK_S = 7 * DAY_S
MOST_STRATA = 6
FEWEST_EVENTS = 500
"""Effective reference events that a stratum needs."""
_HOUR_S = 3_600.0
_CLEAR_Z = 6.0
_SMALLEST_VARIANCE = 0.0025
"""A season moves at least one column's mean by 0.05 sd (root mean square over the period); less is not worth it."""
_EXPLAINED = 0.85


@dataclass(frozen=True, slots=True)
class Seasons:
    """A map from time to stratum.

    Attributes:
        period_s: length of the period in seconds (a day or a week), UTC; 0 where there is no season.
        slots: stratum of each equal slot of the period, in order; one slot where there is none.
    """

    period_s: float = 0.0
    slots: tuple[int, ...] = (0,)

    @property
    def n_strata(self) -> int:
        return max(self.slots) + 1

    def strata(self, timestamp: FloatArray) -> IntArray:
        """(n,) stratum of each instant (epoch seconds)."""
        if not self.period_s:
            return np.zeros(len(timestamp), dtype=np.int64)
        slot = np.floor(np.mod(timestamp, self.period_s) / self.period_s * len(self.slots)).astype(np.int64)
        return np.asarray(self.slots, dtype=np.int64)[np.minimum(slot, len(self.slots) - 1)]

    def stratum(self, start: float) -> int:
        """Stratum of a pane that starts at ``start``."""
        return int(self.strata(np.array([start]))[0])

    def to_json(self) -> dict[str, Any]:
        return {"period_s": self.period_s, "slots": list(self.slots)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(float(data["period_s"]), tuple(int(slot) for slot in data["slots"]))


def find_seasons(timestamp: FloatArray, scores: FloatArray, pane_s: float) -> Seasons:
    """The seasons of a reference; none where it spans too little time, or shows none.

    Args:
        timestamp: (n,) event times in seconds, any order.
        scores: (n, m) what may breathe: columns of variance about one.
        pane_s: panes longer than an hour make longer slots.

    Cost: one sort of the timestamps and a pass over ``scores``.
    """
    slot_s = max(_HOUR_S, float(pane_s))
    if len(timestamp) < 2 * FEWEST_EVENTS or scores.shape[1] == 0:
        return Seasons()
    found: dict[float, _Profile] = {}
    for period_s in (DAY_S, WEEK_S):
        if period_s % slot_s or period_s / slot_s < 2 or np.ptp(timestamp) < 2 * period_s - slot_s:
            continue
        profile = _Profile.of(timestamp, scores, period_s, slot_s)
        if profile is not None:
            found[period_s] = profile
    if not found:
        return Seasons()
    daily, weekly = found.get(DAY_S), found.get(WEEK_S)
    whole_week = weekly is not None and (daily is None or daily.strength < _EXPLAINED * weekly.strength)
    period_s = WEEK_S if whole_week else DAY_S
    slots = found[period_s].strata()
    return Seasons(period_s, slots) if max(slots) > 0 else Seasons()


@dataclass(frozen=True, slots=True)
class _Profile:
    """How the columns that show a season breathe.

    Attributes:
        means: (slots, m) mean scores by slot of the period.
        events: (slots,) events behind each.
        noise: (m,) variance of a slot's mean from one period to the next.
        strength: variance that comes back every period, summed over columns; unbiased.
    """

    means: FloatArray
    events: FloatArray
    noise: FloatArray
    strength: float

    @classmethod
    def of(cls, timestamp: FloatArray, scores: FloatArray, period_s: float, slot_s: float) -> Self | None:
        """The profile of the columns that show a season; None when none does."""
        n_slots = round(period_s / slot_s)
        block = np.floor(timestamp / slot_s).astype(np.int64)
        blocks, inverse = np.unique(block, return_inverse=True)
        order = np.argsort(inverse, kind="stable")
        starts = np.searchsorted(inverse[order], np.arange(len(blocks)))
        sums = np.add.reduceat(scores[order] - scores.mean(axis=0), starts, axis=0)
        counts = np.bincount(inverse).astype(np.float64)
        slot = blocks % n_slots
        half = (blocks // n_slots) % 2
        first, second = (_slot_means(slot[half == h], sums[half == h], counts[half == h], n_slots) for h in (0, 1))
        both = (first[1] > 0) & (second[1] > 0)
        if both.sum() < 2:
            return None
        weight = np.where(both, np.minimum(first[1], second[1]), 0.0)
        agreement = (weight[:, None] * first[0] * second[0]).sum(axis=0) / weight.sum()
        error = np.sqrt(_product_variance(weight, first, second).sum(axis=0)) / weight.sum()
        seasonal = (agreement > _CLEAR_Z * error) & (agreement > _SMALLEST_VARIANCE)
        if not seasonal.any():
            return None
        means, events = _slot_means(slot, sums[:, seasonal], counts, n_slots)
        spread = _within(slot, sums[:, seasonal], counts, means, n_slots)
        return cls(means, events, spread, float(agreement[seasonal].sum()))

    def strata(self) -> tuple[int, ...]:
        """Stratum of each slot: the fewest that explain most of the season, each with enough events."""
        n_slots = len(self.events)
        if n_slots == 1:
            return (0,)
        tree = linkage(self.means, method="ward")
        total = _weighted_variance(self.means, self.events, np.zeros(n_slots, dtype=np.int64))
        chosen = np.zeros(n_slots, dtype=np.int64)
        best = total
        for k in range(2, MOST_STRATA + 1):
            labels = _enough(fcluster(tree, k, criterion="maxclust").astype(np.int64) - 1, self.means, self.events)
            left = _weighted_variance(self.means, self.events, labels)
            if left < best:
                chosen, best = labels, left
            if best <= (1 - _EXPLAINED) * total + float(self.noise.sum()):
                break
        _, compact = np.unique(chosen, return_inverse=True)
        return tuple(int(label) for label in compact)


def _slot_means(slot: IntArray, sums: FloatArray, counts: FloatArray, n_slots: int) -> tuple[FloatArray, FloatArray]:
    total = np.zeros((n_slots, sums.shape[1]))
    np.add.at(total, slot, sums)
    events = np.bincount(slot, weights=counts, minlength=n_slots).astype(np.float64)
    return total / np.maximum(events, 1.0)[:, None], events


def _product_variance(
    weight: FloatArray, first: tuple[FloatArray, FloatArray], second: tuple[FloatArray, FloatArray]
) -> FloatArray:
    """(slots, m) variance of weight × product of the two halves' means where there is no season, from their gap."""
    noise = np.average((first[0] - second[0]) ** 2, axis=0, weights=weight) / 2
    return np.asarray(weight[:, None] ** 2 * noise[None, :] ** 2)


def _within(slot: IntArray, sums: FloatArray, counts: FloatArray, means: FloatArray, n_slots: int) -> FloatArray:
    """(m,) variance of a slot's mean from one period to the next, averaged over slots: what strata cannot explain."""
    deviation = sums / counts[:, None] - means[slot]
    periods = np.maximum(np.bincount(slot, minlength=n_slots), 1)[slot]
    return np.asarray(np.average(deviation**2 / periods[:, None], axis=0, weights=counts))


def _weighted_variance(means: FloatArray, events: FloatArray, labels: IntArray) -> float:
    left = 0.0
    for label in np.unique(labels):
        chosen = labels == label
        if events[chosen].sum() > 0:
            centre = np.average(means[chosen], axis=0, weights=events[chosen])
            left += float((events[chosen, None] * (means[chosen] - centre) ** 2).sum())
    return left / max(float(events.sum()), 1.0)


def _enough(labels: IntArray, means: FloatArray, events: FloatArray) -> IntArray:
    """The labels with every stratum that has too few events merged into the one most like it."""
    labels = labels.copy()
    while True:
        names = np.unique(labels)
        sizes = np.array([events[labels == name].sum() for name in names])
        if len(names) == 1 or sizes.min() >= FEWEST_EVENTS:
            return labels
        small = names[int(sizes.argmin())]
        centres = {
            name: np.average(means[labels == name], axis=0, weights=events[labels == name] + 1e-9) for name in names
        }
        nearest = min(
            (name for name in names if name != small),
            key=lambda name: (float(((centres[name] - centres[small]) ** 2).sum()), int(name)),
        )
        labels[labels == small] = nearest
