"""Spending: how much of the alarm budget one honest client may use in its life."""

from __future__ import annotations

from typing import Final

import numpy as np

from detectors.batch import EventBatch
from detectors.budget import WEEK_S

LEAST_ALPHA: Final = 1e-7
MOST_ALPHA: Final = 3e-4
"""Never more than this, unless a detector's tails bear it: few honest clients show no tail beyond it."""


def clients_per_week(reference: EventBatch, span_s: float = WEEK_S) -> float:
    """Distinct clients of each ``span_s`` of the reference, summed over an average week; over all of a shorter one."""
    if reference.client_id is None or not len(reference):
        return 0.0
    since = reference.timestamp - reference.timestamp.min()
    slots = (since // span_s).astype(np.int64), (since // WEEK_S).astype(np.int64)
    seen = {(*at, c) for *at, c in zip(*(s.tolist() for s in slots), reference.client_id.tolist(), strict=True) if c}
    return len({(slot, c) for slot, _, c in seen}) / max(1, len({week for _, week, _ in seen}))


def log_threshold(alarms_per_week: float, clients: float, most: float = MOST_ALPHA) -> float:
    """-ln of the chance, at most ``most``, that an honest client is ever accused, as a week's ``clients`` share it."""
    return float(-np.log(np.clip(alarms_per_week / max(1.0, clients), LEAST_ALPHA, most)))
