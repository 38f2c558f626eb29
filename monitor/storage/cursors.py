"""Cursors: the key of the last row of a page, opaque to those who hand it back."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar

import msgspec

from monitor.queries import InvalidCursor

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MAX_CURSOR_LENGTH = 512

RowId = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Microseconds = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999_999)]
"""Since the epoch, up to the year 9999."""
TextId = Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00]*$")]

Key = TypeVar("Key", bound=tuple[object, ...])


def encode_cursor(key: tuple[object, ...]) -> str:
    """URL-safe text of a key."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).rstrip(b"=").decode("ascii")


def decode_cursor(cursor: str, key_type: type[Key]) -> Key:
    """Inverse of ``encode_cursor``.

    Raises:
        InvalidCursor: the text is not a cursor of this kind of list.
    """
    try:
        text = cursor.encode("ascii")[: _MAX_CURSOR_LENGTH + 1]
        raw = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(raw, type=key_type)
    except (ValueError, msgspec.DecodeError) as error:
        raise InvalidCursor("the cursor is not one that this list gave out; start again without it") from error


def to_microseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND


def from_microseconds(value: int) -> datetime:
    return _EPOCH + value * _MICROSECOND
