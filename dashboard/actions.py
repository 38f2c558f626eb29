"""What people may do to an alert from a page."""

from __future__ import annotations

from typing import Protocol


class AlertActions(Protocol):
    """Writes that the dashboard asks for; each is one transaction of its own.

    Raises:
        TransientError: the database is away; nothing was written.
        Refused: there is no such alert, or its state does not allow it.
    """

    def acknowledge(self, alert_id: str, by: str, note: str) -> object: ...

    def resolve(self, alert_id: str, by: str, note: str) -> object: ...
