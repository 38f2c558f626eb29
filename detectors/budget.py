"""The alarm budget: one number, expected false alarms a week, shared by everything that may raise an alert.

A detector k holds evidence M_k with E[M_k after m panes] <= m while nothing is wrong (Shiryaev-Roberts form,
``detectors/evidence.py``). It alarms at M_k >= B / w_k with B = panes a week / alarms a week and the weights w_k
summing to one, so the expected false alarms in m panes are at most m / B over all detectors together.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

WEEK_S = 7 * 86_400.0
DEFAULT_SHARES: Mapping[str, float] = {
    "drift": 0.36,
    "joint": 0.06,
    "ood": 0.15,
    "extraction": 0.2,
    "evasion": 0.05,
    "privacy": 0.02,
    "abuse": 0.03,
    "performance": 0.08,
    "quality": 0.05,
}
"""Detector → its weight; where a detector cannot watch a model, the others share what it leaves."""
DEFAULT_TOLERANCE = 0.02
DEFAULT_EXPOSURE_LIMIT = 0.9
_PER = {"hour": 3_600.0, "day": 86_400.0, "week": WEEK_S, "month": 30 * 86_400.0}


@dataclass(frozen=True, slots=True)
class AlarmBudget:
    """Expected false alarms a week for one model version, how the detectors share them, and what is worth one.

    Attributes:
        alarms_per_week: > 0.
        pane_s: width of a pane in seconds, > 0.
        shares: detector → weight; the weights sum to at most one.
        tolerance: share of traffic, in [0, 1), that may change without being worth an alarm.
        exposure_limit: share of what can be copied of the model, in (0, 1], from which a client is told to be exposed.
            A fact and not a test: it raises no alarm and spends nothing.
    """

    alarms_per_week: float
    pane_s: float
    shares: Mapping[str, float] = field(default_factory=lambda: DEFAULT_SHARES)
    tolerance: float = DEFAULT_TOLERANCE
    exposure_limit: float = DEFAULT_EXPOSURE_LIMIT

    def __post_init__(self) -> None:
        if not self.alarms_per_week > 0 or not self.pane_s > 0:
            raise ValueError("an alarm budget needs a positive number of alarms a week and a positive pane width")
        if sum(self.shares.values()) > 1 + 1e-9:
            raise ValueError("the shares of an alarm budget sum to at most 1")
        if not 0 <= self.tolerance < 1:
            raise ValueError("the tolerance of an alarm budget is a share of traffic: 0 or more, and below 1")
        if not 0 < self.exposure_limit <= 1:
            raise ValueError("the exposure limit is a share of what can be copied: above 0, and at most 1")

    @property
    def bound(self) -> float:
        """B: evidence needed by a detector that held the whole budget."""
        return WEEK_S / self.pane_s / self.alarms_per_week

    def log_threshold(self, detector: str) -> float:
        """Natural log of the evidence at which ``detector`` alarms, at least log 20."""
        return math.log(max(self.bound / self.shares[detector], 20.0))

    def alarms_per_week_of(self, detector: str) -> float:
        """The false alarms a week that ``detector`` may spend."""
        return self.alarms_per_week * self.shares[detector]


def shares_of(detectors: Collection[str]) -> dict[str, float]:
    """The default shares of the detectors that are there, scaled to sum to one."""
    whole = sum(DEFAULT_SHARES[name] for name in detectors)
    return {name: DEFAULT_SHARES[name] / whole for name in detectors}


def parse_alarm_budget(text: str) -> float:
    """Alarms a week from text such as ``1/week``, ``0.5/day``, ``2/month`` or a bare number (a week).

    Raises:
        ValueError: not of that form, or not positive.

    >>> parse_alarm_budget("1/day")
    7.0
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(?:(?:/|per)\s*(hour|day|week|month))?\s*", text)
    if match is None or float(match[1]) <= 0:
        raise ValueError(f"alarm budget {text!r}: write a positive number per hour, day, week or month, e.g. 1/week")
    return float(match[1]) * WEEK_S / _PER[match[2] or "week"]
