"""What the API may change; ``monitor/storage/commands.py`` does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from monitor.queries import AlertRow


class EventIntake(Protocol):
    """Where posted events go: a topic of Kafka, or the queue in the database."""

    def append(self, values: Sequence[bytes]) -> None:
        """Return once all are kept; each value is one native event.

        Raises:
            TransientError: not known to be kept; the sender tries again.
        """
        ...


class Commands(Protocol):
    """Raises (all methods):
    TransientError: the database or broker is away for now; nothing is promised to have happened.
    """

    def acknowledge(self, alert_id: str, by: str, note: str) -> AlertRow:
        """A person takes the alert on.

        Raises:
            NotFound: no alert has this id.
            Conflict: it is resolved, or acknowledged already.
        """
        ...

    def resolve(self, alert_id: str, by: str, note: str) -> AlertRow:
        """A person closes the alert.

        Raises:
            NotFound: no alert has this id.
            Conflict: it is resolved already.
        """
        ...

    def mark(self, alert_id: str, verdict: Literal["false_alarm", "real"] | None, by: str, note: str) -> AlertRow:
        """A person says what the alert was, whatever its state; None takes it back.

        Raises:
            NotFound: no alert has this id.
            Conflict: that is what it is marked already.
        """
        ...

    def dismiss(self, alert_id: str, by: str, note: str) -> AlertRow:
        """A person calls the alert a false alarm and is done with it: marked, and resolved where it was not.

        Raises:
            NotFound: no alert has this id.
            Conflict: it is resolved and marked a false alarm already.
        """
        ...

    def ingest(self, values: Sequence[bytes]) -> None:
        """Keep native events, one a value, in this order; returns once they are kept."""
        ...
