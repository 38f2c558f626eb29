"""A detector of drift judging events at the times that they hold."""

from __future__ import annotations

import numpy as np

from detectors.base import Arrays, Pane, Reading, Subject
from detectors.batch import EventBatch
from detectors.drift.joint import JointDrift
from detectors.drift.marginals import MarginalDrift


def judged_in_time(detector: JointDrift | MarginalDrift, batch: EventBatch, pane_s: float) -> list[Reading]:
    """All readings of events in time order, a pane of ``pane_s`` seconds after the other; empty panes are left out."""
    pane, starts = np.unique(np.floor(batch.timestamp / pane_s), return_index=True)
    readings: list[Reading] = []
    evidence: dict[Subject, Arrays] = {}
    for start, sketch in zip(pane * pane_s, detector.sketch(batch, starts), strict=True):
        judgement = detector.judge(evidence, Pane(float(start), pane_s, 0, sketch))
        evidence = dict(judgement.evidence)
        readings += judgement.readings
    return readings
