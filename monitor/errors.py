"""Errors of the service: three kinds, because there are three things to do about one, and answers to a person.

VedetteError
├── InvalidRecord      quarantine the record, go on        (dead letters)
├── TransientError     try again, visibly                  (broker away, database away, receiver busy)
│   └── Fenced         drop the partition: another worker owns it now
├── PermanentError     stop and say what to change         (wrong settings, wrong schema version)
│   └── SettingsError
└── Refused            tell whoever asked
    ├── NotFound       there is no such thing
    └── Conflict       its state does not allow it
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum


class DeadLetterReason(StrEnum):
    """Why a record, or one event of it, was set aside; closed set, used as a metric label."""

    UNDECODABLE = "undecodable"
    OVERSIZED = "oversized"
    WRONG_TYPE = "wrong_type"
    MISSING_FIELD = "missing_field"
    NOTHING_TO_MONITOR = "nothing_to_monitor"
    BAD_TIMESTAMP = "bad_timestamp"
    UNKNOWN_FORMAT = "unknown_format"


class VedetteError(Exception):
    """Base of everything the service raises on purpose."""


class InvalidRecord(VedetteError):
    """A record or event that can never be read, however often it is tried."""

    def __init__(self, reason: DeadLetterReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class TransientError(VedetteError):
    """Something that is away for now; the message names it and says what is done meanwhile."""


class Fenced(TransientError):
    """Another worker has claimed the partition since; what this one held of it is void."""


class PermanentError(VedetteError):
    """Something only a person can change; the message says what."""


class SettingsError(PermanentError):
    """Wrong settings, every fault listed."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class Refused(VedetteError):
    """A request of a person that cannot be met; the message says why, and nothing was changed."""


class NotFound(Refused):
    """There is nothing of that id."""


class Conflict(Refused):
    """What it is asked of is in a state that does not allow it."""
