"""The budget ledger: false alarms allowed against those that people called so. Pure arithmetic.

The alarm budget promises a rate. What came of it is a count over the time watched, and a count of rare events says
little about its rate: the interval says how little. It is exact for a Poisson count (Garwood, Biometrika 28, 1936).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from scipy.stats import chi2

from detectors.budget import WEEK_S
from monitor.queries import DetectorLedgerRow, LedgerRow

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Tally:
    """Alerts that one detector opened, and how many of them people called false alarms or real."""

    alerts: int = 0
    false_alarms: int = 0
    real: int = 0


def ledger(
    since: datetime,
    until: datetime,
    watched_s: float,
    alarms_per_week: float,
    shares: Mapping[str, float],
    tallies: Mapping[str, Tally],
) -> LedgerRow:
    """The ledger of one stretch of event time.

    Args:
        watched_s: how much of it was judged against a reference, in seconds, ≥ 0.
        shares: detector → its share of the budget.
        tallies: detector → its alerts; one without a share spends what is nobody's.
    """
    weeks = watched_s / WEEK_S
    allowed = alarms_per_week * weeks
    whole = total(tallies.values())
    low, high = poisson_interval(whole.false_alarms)
    names = sorted(shares.keys() | tallies.keys(), key=lambda name: (-shares.get(name, 0.0), name))
    return LedgerRow(
        since=since,
        until=until,
        watched_s=watched_s,
        allowed=allowed,
        alerts=whole.alerts,
        false_alarms=whole.false_alarms,
        real=whole.real,
        unmarked=_unmarked(whole),
        false_alarms_per_week=whole.false_alarms / weeks if weeks > 0 else None,
        false_alarms_per_week_low=low / weeks if weeks > 0 else None,
        false_alarms_per_week_high=high / weeks if weeks > 0 else None,
        detectors=tuple(_line(name, shares.get(name, 0.0), allowed, tallies.get(name, Tally())) for name in names),
    )


def total(tallies: Iterable[Tally]) -> Tally:
    """The sum of tallies."""
    listed = tuple(tallies)
    return Tally(
        alerts=sum(tally.alerts for tally in listed),
        false_alarms=sum(tally.false_alarms for tally in listed),
        real=sum(tally.real for tally in listed),
    )


def poisson_interval(count: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Exact central interval of a Poisson mean from one count; covers it at least as often as ``confidence`` says.

    >>> low, high = poisson_interval(3)
    >>> round(low, 3), round(high, 3)
    (0.619, 8.767)
    """
    tail = (1.0 - confidence) / 2.0
    low = float(chi2.ppf(tail, 2 * count)) / 2.0 if count > 0 else 0.0
    return low, float(chi2.isf(tail, 2 * count + 2)) / 2.0


def _line(name: str, share: float, allowed: float, tally: Tally) -> DetectorLedgerRow:
    return DetectorLedgerRow(
        detector=name,
        share=share,
        allowed=share * allowed,
        alerts=tally.alerts,
        false_alarms=tally.false_alarms,
        real=tally.real,
        unmarked=_unmarked(tally),
    )


def _unmarked(tally: Tally) -> int:
    return tally.alerts - tally.false_alarms - tally.real
