"""Ladders: how far from its null each alternative of a bet is.

An alternative that is far beyond what a pane can tell is idle: it earns nothing from changes of that size, and where
it does win, it overshoots the alarm line and leaves the budget unspent. So the ladders follow what the panes and the
reference can tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.batch import FloatArray
from detectors.evidence import tilt_masses

N_TILTS = 3
"""Alternatives of each tilt, evenly spaced in logarithms."""
RISES = (0.05, 0.25)
"""How far an alternative rate is from the null towards one, at most: the slightest, and the strongest."""
FALLS = (0.3, 0.7)
"""How much an alternative rate is below the null, relative to it, at most."""
_MOST_TILT = 1.2
_PANE_ERRORS = 0.35
"""The slightest alternative in standard errors of a pane's mean: what panes are taken together for."""
_OF_SHARE = 2.5
"""The slightest alternative over the tolerated share; for tilts, in standard deviations, what moves such a share."""
_RARE, _COMMON = 0.02, 0.95
"""Rates beyond these are taken as these: a standard error says little where an event is the exception."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What there is to tell a change of one column by.

    Attributes:
        n_reference, per_pane: effective events of the reference, and of a usual pane.
        needed: log evidence at which one bet alone raises the alarm.
    """

    n_reference: float
    per_pane: float
    needed: float

    @property
    def pane_error(self) -> float:
        """Standard error of a pane's mean, in standard deviations of an event."""
        return float(1 / np.sqrt(max(self.per_pane, 1.0)))

    @property
    def in_two_panes(self) -> float:
        """The change, in standard deviations, that alarms within two panes: stronger alternatives are no use."""
        whole = max(self.n_reference, 1.0)
        return float(np.sqrt(self.needed * (self.pane_error**2 + 1 / whole)))

    def tilts(self, tolerance: float) -> FloatArray:
        """(N_TILTS,) how far beyond the null tilts reach, in standard deviations of the score, the slightest first.

        A tilt ``t`` earns ``t**2 / 2`` an event of the change that it is made for. The slightest is what a reference
        can tell apart before the urn has learned the change, or, in large panes, what takes several of them; it is not
        lost beside the tolerance.
        """
        slightest = min(np.sqrt(2 * self.needed / max(self.n_reference, 1.0)), _PANE_ERRORS * self.pane_error)
        low = float(np.clip(slightest, _OF_SHARE * tolerance, _MOST_TILT / 4))
        return np.geomspace(low, float(np.clip(self.in_two_panes, 4 * low, _MOST_TILT)), N_TILTS)

    def rises(self, rate: float, tolerance: float) -> FloatArray:
        """(2 or 3,) how far alternatives of a ``rate`` rise, as ``RISES``, the slightest first."""
        spread = _spread(rate)
        return self._rungs(spread / (1 - min(rate, _COMMON)), tolerance, RISES)

    def falls(self, rate: float, tolerance: float) -> FloatArray:
        """(2 or 3,) how far alternatives of a ``rate`` fall, as ``FALLS``, the slightest first."""
        return self._rungs(_spread(rate) / max(rate, _RARE), tolerance / max(rate, _RARE), FALLS)

    def _rungs(self, unit: float, tolerance: float, most: tuple[float, float]) -> FloatArray:
        """Alternatives at most ``most``; ``unit``: an event's standard deviation. A wide ladder has a third rung."""
        usual = most[1] / most[0]
        low = min(max(_PANE_ERRORS * self.pane_error * unit, _OF_SHARE * tolerance), most[0])
        high = min(max(self.in_two_panes * unit, usual * low), most[1])
        return np.geomspace(low, high, 2 if high < usual * low * 1.01 else 3)


def _spread(rate: float) -> float:
    held = float(np.clip(rate, _RARE, _COMMON))
    return float(np.sqrt(held * (1 - held)))


def tolerated_tilts(masses: FloatArray, scores: FloatArray, tolerance: float) -> FloatArray:
    """(t,) strengths at which tilting ``masses`` (t, k) by ``scores`` moves ``tolerance`` of the traffic.

    Total variation grows with the strength; found by bisection up to a strength of four.
    """
    low, high = np.zeros(len(masses)), np.full(len(masses), 4.0)
    if tolerance <= 0 or not len(masses):
        return low
    for _ in range(40):
        middle = (low + high) / 2
        moved = np.abs(tilt_masses(masses, scores, middle) - masses).sum(axis=1) / 2
        low, high = np.where(moved < tolerance, middle, low), np.where(moved < tolerance, high, middle)
    return low


def earning_tilts(masses: FloatArray, scores: FloatArray, steps: FloatArray) -> FloatArray:
    """(t,) strengths up to ``steps`` whose tilt of ``masses`` (t, k) earns at most ``step**2 / 2`` an event.

    That is what a tilt of a normal score earns. A skewed score, such as that of a rare flag, is so much further from
    its mean than its standard deviation that the same strength would look for a flag in nearly every event.
    """
    found = steps.copy()
    wanted = steps**2 / 2
    far = np.flatnonzero(_earned(masses, scores, steps) > wanted)
    low, high = np.zeros(len(far)), steps[far]
    for _ in range(40 if len(far) else 0):
        middle = (low + high) / 2
        enough = _earned(masses[far], scores[far], middle) > wanted[far]
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    found[far] = high
    return found


def _earned(masses: FloatArray, scores: FloatArray, strength: FloatArray) -> FloatArray:
    """(t,) divergence, in nats, of the tilted masses from ``masses``: a bet's mean earning an event of its change."""
    tilted = tilt_masses(masses, scores, strength)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = tilted * np.log(tilted / masses)
    return np.asarray(np.where(tilted > 0, terms, 0.0).sum(axis=1))
