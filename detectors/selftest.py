"""Self-test: a reference that already drifts within itself is no picture of normal.

The earlier half of the ordinary events is learned as a reference of its own, and the later half is judged by it, as
production would, under the same alarm budget. What alarms there would go on alarming, or hide, once the whole is the
reference: an old incident among the ordinary events, a slow trend, two traffic sources one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from detectors.base import Arrays, Fitter, Kind, Level, Reading, Subject
from detectors.batch import EventBatch
from detectors.drift.marginals import MarginalDrift
from detectors.reference import Reference
from detectors.seasons import Seasons
from detectors.suite import DETECTORS, MINIMUM_REFERENCE_EVENTS, Suite, fit_reference, judge

ALARMS_PER_WEEK = 1.0
_TESTED = frozenset({Kind.DRIFT, Kind.QUALITY})
_MOST_DOUBTS = 5


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What the later half of the ordinary events says of the earlier one.

    Attributes:
        doubts: why the reference should not be trusted; none where it holds.
        untested: why it could not be tested; "" where it was.
    """

    doubts: tuple[str, ...] = ()
    untested: str = ""


def fit_tested_reference(
    events: EventBatch,
    version: str,
    seed: int,
    pane_s: int | None = None,
    detectors: Sequence[Fitter] = DETECTORS,
) -> Reference:
    """``fit_reference``, with what the self-test has against it. Cost: twice that of fitting.

    Raises:
        ValueError: fewer than 50 events.
    """
    reference = fit_reference(events, version, seed, pane_s, detectors)
    tested = self_test(events, reference, seed)
    return replace(reference, doubts=tested.doubts, untested=tested.untested)


def self_test(events: EventBatch, reference: Reference, seed: int) -> SelfTest:
    """Judge the later half of ``events`` by the earlier one, on the panes of ``reference``."""
    ordered = events.take(np.argsort(events.timestamp, kind="stable"))
    middle = len(ordered) // 2
    if middle < MINIMUM_REFERENCE_EVENTS:
        return SelfTest(untested=f"{len(ordered)} events are too few to test one half by the other")
    earlier, later = ordered.take(np.arange(middle)), ordered.take(np.arange(middle, len(ordered)))
    chosen = [detector for detector in DETECTORS if detector.kind in _TESTED]
    half = fit_reference(earlier, reference.version, seed, reference.pane_s, chosen, reference.schema)
    if _n_strata(reference) > 1 and _n_strata(half) == 1:
        return SelfTest(untested="the reference spans fewer than four of its seasons, so no half shows them")
    alarms = [reading for reading in _played(half, later) if reading.level is Level.ALARM]
    return SelfTest(doubts=tuple(dict.fromkeys(_doubt(reading) for reading in alarms))[:_MOST_DOUBTS])


def _n_strata(reference: Reference) -> int:
    part = reference.parts.get(MarginalDrift.name)
    return 1 if part is None else Seasons.from_json(part.facts["seasons"]).n_strata


def _played(reference: Reference, events: EventBatch) -> Sequence[Reading]:
    suite = Suite.build(reference, "self-test", ALARMS_PER_WEEK)
    evidence: dict[str, dict[Subject, Arrays]] = {detector.name: {} for detector in suite.detectors}
    readings: list[Reading] = []
    for pane in suite.sketch(events):
        for detector in suite.detectors:
            part = suite.pane_of(detector, pane.pane_start, pane.n_events, pane.sketch)
            judgement = judge(detector, evidence[detector.name], part)
            evidence[detector.name].update(judgement.evidence)
            readings += judgement.readings
    return readings


def _doubt(reading: Reading) -> str:
    if reading.since is None:
        return reading.reason
    return f"{reading.reason} (since {str(np.datetime64(int(reading.since // 60), 'm')).replace('T', ' ')} UTC)"
