"""Housekeeping: old readings and panes go, and panes are rolled up as they age. Bounded at every call."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from monitor.config import JudgeSettings
from monitor.storage.engine import transaction
from monitor.storage.judging import judged_models
from monitor.storage.retention import prune, prune_dead_letters, roll_up
from monitor.storage.strange_events import erase_values, prune_strange_events
from monitor.storage.waiting_labels import prune_waiting_labels

_EVERY = timedelta(minutes=1)
_DAY_S = 86_400
_WAITING_LABELS_PER_CALL = 50_000
_ROLL_UPS = ((2 * _DAY_S, 600), (30 * _DAY_S, _DAY_S))
"""(age, width) in seconds: panes older than ``age`` are merged into panes of ``width``."""


class Housekeeper:
    """Does a little every minute; several of them do no harm."""

    def __init__(self, engine: sa.Engine, settings: JudgeSettings) -> None:
        self._engine = engine
        self._settings = settings
        self._due: datetime | None = None

    def step(self, now: datetime) -> int:
        """Rows removed or merged by this call; 0 when it is not time yet.

        Event time ages against each model's own last judged pane, so that a replayed log is not swept away.
        """
        if self._due is not None and now < self._due:
            return 0
        self._due = now + _EVERY
        changed = 0
        dead_before = now - timedelta(days=self._settings.keep_dead_letters_days)
        with transaction(self._engine) as connection:
            changed += prune_dead_letters(connection, dead_before)
            changed += erase_values(connection, now)
            changed += prune_waiting_labels(connection, now, _WAITING_LABELS_PER_CALL)
            for model, version, judged_until in judged_models(connection):
                changed += prune(
                    connection,
                    model,
                    version,
                    readings_before=judged_until - self._settings.keep_readings_days * _DAY_S,
                    panes_before=judged_until - self._settings.keep_panes_days * _DAY_S,
                )
                readings_before = judged_until - self._settings.keep_readings_days * _DAY_S
                changed += prune_strange_events(connection, model, version, readings_before)
                for age, width in _ROLL_UPS:
                    changed += roll_up(connection, model, version, older_than=judged_until - age, width_s=width)
        return changed
