"""Silence: no events at all where some are expected, in closed form over a gap of any length.

A gap is measured in the events that were to be expected meanwhile, by the hour of the week or day where the reference
knows it, so a night without traffic is no gap. What the reference's own longest gap G (among n) excuses is never
evidence; past it a gap is taken to go on as ``exp(-x / s)`` with ``s = G / log(n + 1)``, the scale at which a gap of
G is the longest among n. The bet that the model is dead earns ``exp((1 - d) x / s)`` and loses a factor ``d`` when
an event comes after all: the mean ratio is one at that scale, and less for every shorter one.

Nothing is counted while a gap lasts: whether and when it becomes an alarm follows from the state at its beginning, so
live judging and a backtest find the same pane.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from detectors.base import Part
from detectors.batch import EventBatch
from detectors.quality.profile import Profile, slot_width
from detectors.quality.volume import MINIMUM_PANES, inverse_rate
from detectors.quality.watch import Finding

NAME = "silence"
_DEAD = 0.05
_FEWEST_PANES = 3
_SHORTEST_S = 60.0


@dataclass(frozen=True)
class SilenceWatch:
    """When a gap of a model becomes an alarm.

    Attributes:
        longest: the reference's longest gap, in expected events.
        longest_s: the reference's longest gap in seconds.
        scale: expected events by which the chance of a longer gap falls e-fold.
    """

    profile: Profile
    longest: float
    longest_s: float
    scale: float
    pane_s: float

    @classmethod
    def fit(cls, batch: EventBatch, pane_s: float) -> Part | None:
        """None when the reference spans fewer than eight panes."""
        times = np.sort(batch.timestamp)
        span_s = float(times[-1] - times[0])
        if span_s < MINIMUM_PANES * pane_s:
            return None
        slot_s = slot_width(pane_s)
        first = int(times[0] // slot_s)
        slots = np.arange(first, int(times[-1] // slot_s) + 1)
        seconds = np.minimum((slots + 1) * slot_s, times[-1]) - np.maximum(slots * slot_s, times[0])
        number = np.floor(batch.timestamp / slot_s).astype(np.int64) - first
        events = np.bincount(number, weights=inverse_rate(batch), minlength=len(slots)).astype(np.float64)
        profile = Profile.fit(slots, events, np.maximum(seconds, 1e-6), slot_s, span_s)
        gaps = profile.expected(times[:-1], times[1:])
        longest = max(float(gaps.max()), 1.0)
        facts = {
            "slot_s": slot_s,
            "longest": longest,
            "longest_s": float(np.diff(times).max()),
            "scale": max(longest / float(np.log(len(gaps) + 1)), 1.0),
            "pane_s": pane_s,
        }
        return Part({"rates": profile.rates}, facts)

    @classmethod
    def build(cls, part: Part) -> Self:
        profile = Profile(np.asarray(part.arrays["rates"], dtype=np.float64), float(part.facts["slot_s"]))
        rest = (float(part.facts[name]) for name in ("longest", "longest_s", "scale", "pane_s"))
        return cls(profile, *rest)

    def log_ratio(self, missed: float) -> float:
        """Log likelihood ratio of a gap that still lasts, after ``missed`` expected events."""
        return max(missed - self.longest, 0.0) * (1.0 - _DEAD) / self.scale

    def ended(self, missed: float) -> float:
        """Log likelihood ratio of a gap that ended after ``missed`` expected events."""
        return self.log_ratio(missed) + float(np.log(_DEAD)) if missed > self.longest else 0.0

    def alarm_at(self, since: float, log_evidence: float, needed: float) -> float:
        """Event time at which silence since ``since`` becomes an alarm; infinite when it never does.

        Args:
            log_evidence: log M as of the last event.
            needed: log M of an alarm.
        """
        lacking = needed - float(np.logaddexp(log_evidence, 0.0))
        missed = self.longest + max(lacking, 0.0) * self.scale / (1.0 - _DEAD)
        earliest = since + max(_FEWEST_PANES * self.pane_s, _SHORTEST_S)
        return max(self.profile.reached(since, missed), earliest)

    def finding(self, since: float, until: float) -> Finding:
        missed = float(self.profile.expected(since, until))
        silent_s = until - since
        return Finding(
            name="no events arrive",
            words=(
                f"no events arrive: none in {span(silent_s)}, where "
                f"{missed:,.0f} were to be expected (longest pause in the reference: {span(self.longest_s)})"
            ),
            expected=missed,
            current=0.0,
            unit="events",
            effect=silent_s,
            effect_unit="seconds without events",
            minimum_effect=0.0,
        )


def span(seconds: float) -> str:
    """A length of time in the unit that suits it."""
    for width, unit in ((86_400.0, "days"), (3_600.0, "h"), (60.0, "min")):
        if seconds >= 2 * width:
            return f"{seconds / width:.3g} {unit}"
    return f"{seconds:.3g} s"
