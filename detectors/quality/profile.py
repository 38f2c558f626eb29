"""The volume that a model normally has, by hour of the week or of the day, as far as its reference can know it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from detectors.batch import FloatArray, IntArray

HOUR_S = 3_600.0
_PERIODS_S = (7 * 86_400.0, 86_400.0)
_NEARLY = 0.98


@dataclass(frozen=True, slots=True)
class Profile:
    """Events per second in each slot of a period that repeats: (k,) ``rates``, each slot ``slot_s`` seconds wide.

    A single slot is a flat profile.
    """

    rates: FloatArray
    slot_s: float

    @property
    def is_flat(self) -> bool:
        return len(self.rates) == 1

    @property
    def period_s(self) -> float:
        return self.slot_s * len(self.rates)

    def expected(self, start: FloatArray | float, end: FloatArray | float) -> FloatArray:
        """Events expected between two event times (epoch seconds), however far apart; cost does not depend on it."""
        return np.asarray(self._until(np.asarray(end)) - self._until(np.asarray(start)))

    def reached(self, start: float, amount: float) -> float:
        """The event time at which ``amount`` events were expected since ``start``; infinite where none ever are."""
        sums = self._sums()
        if sums[-1] <= 0 or not np.isfinite(amount):
            return float("inf")
        goal = float(self._until(np.asarray(start))) + amount
        turns = np.floor(goal / sums[-1])
        rest = goal - turns * sums[-1]
        slot = min(int(np.searchsorted(sums, rest, side="left")), len(self.rates)) - 1
        slot = max(slot, 0)
        inside = (rest - sums[slot]) / self.rates[slot] if self.rates[slot] > 0 else 0.0
        return float(turns * self.period_s + slot * self.slot_s + inside)

    def _sums(self) -> FloatArray:
        return np.concatenate([[0.0], np.cumsum(self.rates * self.slot_s)])

    def _until(self, time: FloatArray) -> FloatArray:
        sums = self._sums()
        turns = np.floor(time / self.period_s)
        inside = time - turns * self.period_s
        slot = np.minimum((inside / self.slot_s).astype(np.int64), len(self.rates) - 1)
        return np.asarray(turns * sums[-1] + sums[slot] + (inside - slot * self.slot_s) * self.rates[slot])

    @classmethod
    def fit(cls, slots: IntArray, events: FloatArray, seconds: FloatArray, slot_s: float, span_s: float) -> Self:
        """A profile by hour of the week for two weeks or more, by hour of the day for two days, else flat.

        Each slot's rate is shrunk towards the overall one by as much as its days differ among themselves.

        Args:
            slots: (n,) numbers of the slots that were seen, since the epoch.
            events, seconds: (n,) events in each, and how much of it was seen.
        """
        overall = float(events.sum() / max(seconds.sum(), 1e-9))
        for period_s in _PERIODS_S:
            k = round(period_s / slot_s)
            if k > 1 and k * slot_s == period_s and span_s >= 2 * period_s * _NEARLY:
                return cls(_shrunk(slots % k, events / np.maximum(seconds, 1e-9), seconds, k, overall), slot_s)
        return cls(np.array([overall]), slot_s)


def slot_width(pane_s: float) -> float:
    """Seconds: an hour, or the pane where it is wider."""
    return max(HOUR_S, pane_s)


def _shrunk(slot: IntArray, rate: FloatArray, seconds: FloatArray, k: int, overall: float) -> FloatArray:
    weight = np.bincount(slot, weights=seconds, minlength=k)
    seen = weight > 0
    mean = np.full(k, overall)
    mean[seen] = np.bincount(slot, weights=seconds * rate, minlength=k)[seen] / weight[seen]
    times = np.bincount(slot, minlength=k)
    within = float(np.sum((rate - mean[slot]) ** 2)) / max(len(rate) - int(seen.sum()), 1)
    noise = within / np.maximum(times, 1)
    between = max(float(np.var(mean[seen])) - float(np.mean(noise[seen])), 0.0)
    trust = between / np.maximum(between + noise, 1e-300)
    return np.where(seen, overall + trust * (mean - overall), overall)
