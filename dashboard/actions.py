"""What people may do to an alert from a page."""

from __future__ import annotations

from typing import Literal, Protocol


class AlertActions(Protocol):
    """Writes that the dashboard asks for; each is one transaction of its own.

    Raises:
        TransientError: the database is away; nothing was written.
        Refused: there is no such alert, or its state does not allow it.
    """

    def acknowledge(self, alert_id: str, by: str, note: str) -> object: ...

    def resolve(self, alert_id: str, by: str, note: str) -> object: ...

    def mark(self, alert_id: str, verdict: Literal["false_alarm", "real"] | None, by: str, note: str) -> object:
        """Say what the alert was; None takes it back."""
        ...

    def dismiss(self, alert_id: str, by: str, note: str) -> object:
        """Call the alert a false alarm, and resolve it where it is not."""
        ...
