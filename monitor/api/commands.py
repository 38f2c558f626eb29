"""What the API may change; ``monitor/storage/commands.py`` does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

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

    def ingest(self, values: Sequence[bytes]) -> None:
        """Keep native events, one a value, in this order; returns once they are kept."""
        ...
