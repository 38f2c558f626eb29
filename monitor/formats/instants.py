"""Event time: RFC 3339 text or a number since the epoch, whose size tells its unit."""

from __future__ import annotations

from datetime import UTC, datetime

from monitor.errors import DeadLetterReason, InvalidRecord

EARLIEST_S = datetime(1900, 1, 1, tzinfo=UTC).timestamp()
LATEST_S = datetime(2200, 1, 1, tzinfo=UTC).timestamp()
_EXPECTED = "timestamp: expected RFC 3339 text or a number of seconds or milliseconds since 1970"


def epoch_seconds(value: float | str) -> float:
    """Seconds since the epoch, UTC. Text without a zone is UTC; from 1e11 on a number is ms, 1e14 µs, 1e17 ns.

    Raises:
        InvalidRecord: unreadable, or outside the years 1900 to 2199.

    >>> epoch_seconds("2026-01-02T03:04:05Z") == epoch_seconds(1767323045000) == epoch_seconds(1767323045)
    True
    """
    seconds = _from_text(value) if isinstance(value, str) else _from_number(value)
    if EARLIEST_S <= seconds < LATEST_S:
        return seconds
    raise InvalidRecord(DeadLetterReason.BAD_TIMESTAMP, f"{_EXPECTED}, between 1900 and 2200, got {_shown(value)}")


def _from_number(value: float) -> float:
    size = abs(value)
    if size < 1e11:
        return value
    return value / (1e3 if size < 1e14 else 1e6 if size < 1e17 else 1e9)


def _from_text(text: str) -> float:
    try:
        if text[4:5] != "-":
            raise ValueError("no date")
        instant = datetime.fromisoformat(text.replace("z", "Z"))
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise InvalidRecord(DeadLetterReason.BAD_TIMESTAMP, f"{_EXPECTED}, got {_shown(text)}") from None


def _shown(value: float | str) -> str:
    return repr(value[:40]) if isinstance(value, str) else f"{value:g}"
