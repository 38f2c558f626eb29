"""When a failed delivery is tried again: the schedule of the Standard Webhooks specification, with jitter."""

from __future__ import annotations

import random

SCHEDULE_S = (0.0, 5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Wait before each attempt; after the last one fails (75 h) the delivery is dead."""

JITTER = 0.2
LONGEST_RETRY_AFTER_S = 86_400.0


def wait_s(attempt: int, retry_after_s: float | None, chance: random.Random) -> float | None:
    """Seconds to wait after failed attempt number ``attempt`` (from 1); None when it was the last.

    Up to a fifth is added at random so that receivers that come back are not met by everything at once. What the
    receiver asked for is a lower bound, up to a day.
    """
    if attempt >= len(SCHEDULE_S):
        return None
    planned = SCHEDULE_S[attempt] * (1.0 + JITTER * chance.random())
    return max(planned, min(retry_after_s or 0.0, LONGEST_RETRY_AFTER_S))
