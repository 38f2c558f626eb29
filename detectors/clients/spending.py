"""Spending: how much of the alarm budget one honest client may use in its life."""

from __future__ import annotations

from typing import Final

import numpy as np

from detectors.batch import EventBatch
from detectors.budget import WEEK_S

LEAST_ALPHA: Final = 1e-7
MOST_ALPHA: Final = 3e-4
"""Never more than this: few honest clients show no tail beyond it."""


def clients_per_week(reference: EventBatch) -> float:
    """Distinct clients of an average week of the reference; all of them where it is shorter."""
    if reference.client_id is None or not len(reference):
        return 0.0
    week = ((reference.timestamp - reference.timestamp.min()) // WEEK_S).astype(np.int64)
    pairs = {(w, c) for w, c in zip(week.tolist(), reference.client_id.tolist(), strict=True) if c}
    return len(pairs) / max(1, len({w for w, _ in pairs}))


def log_threshold(alarms_per_week: float, clients: float) -> float:
    """-ln of the chance that an honest client is ever accused, when ``clients`` of a week share the budget."""
    return float(-np.log(np.clip(alarms_per_week / max(1.0, clients), LEAST_ALPHA, MOST_ALPHA)))
