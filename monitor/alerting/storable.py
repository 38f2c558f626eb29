"""What a reading brings from outside, made fit to be stored and shown: no text or number of a client can stop a loop.

PostgreSQL refuses NUL in text, UTF-8 refuses lone surrogates, JSON refuses NaN, and an index refuses long keys.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

LONGEST_ID = 256
LONGEST_TEXT = 2_000
LONGEST_DETAIL_TEXT = 300
MOST_ITEMS = 500
DEEPEST = 6
LARGEST = 1e300


def derived_id(*parts: str | int) -> str:
    """32 hex characters that depend on the parts, their order and their borders, and on nothing else."""
    digest = hashlib.sha256()
    for part in parts:
        data = str(part).encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()[:32]


def storable_text(text: str, longest: int = LONGEST_TEXT) -> str:
    """``text`` without NUL and lone surrogates, cut with an ellipsis."""
    clean = text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


def storable_id(text: str) -> str:
    """An id as ``storable_text``; a longer one keeps its beginning and stays distinct by a hash of the whole."""
    clean = storable_text(text, len(text))
    if clean == text and len(text) <= LONGEST_ID:
        return text
    return f"{clean[: LONGEST_ID - 17]}~{derived_id(text)[:16]}"


def storable_number(value: float) -> float:
    """A finite float64: infinities become ±1e300, NaN becomes 0."""
    number = float(value)
    if math.isnan(number):
        return 0.0
    return max(-LARGEST, min(LARGEST, number))


def storable_detail(detail: Mapping[str, Any], most_items: int = MOST_ITEMS) -> dict[str, Any]:
    """``detail`` as strict JSON of at most ``most_items`` leaves; what is beyond is left out."""
    kept = _kept(detail, _Room(most_items), DEEPEST)
    return kept if isinstance(kept, dict) else {}


class _Room:
    """How many leaves may still be kept."""

    def __init__(self, items: int) -> None:
        self.items = items

    def take(self) -> bool:
        self.items -= 1
        return self.items >= 0


def _kept(value: Any, room: _Room, depth: int) -> Any:
    if isinstance(value, Mapping):
        pairs = islice(value.items(), max(room.items, 0)) if depth else ()
        return {storable_text(str(k), LONGEST_DETAIL_TEXT): _kept(v, room, depth - 1) for k, v in pairs if room.take()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        items = islice(value, max(room.items, 0)) if depth else ()
        return [_kept(item, room, depth - 1) for item in items if room.take()]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < 2**53 else str(value)[:LONGEST_DETAIL_TEXT]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return storable_text(str(value), LONGEST_DETAIL_TEXT)
