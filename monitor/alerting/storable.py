"""What a reading brings from outside, made fit to be stored and shown: no text or number of a client can stop a loop.

PostgreSQL refuses NUL in text, UTF-8 refuses lone surrogates, JSON refuses NaN, and an index refuses long keys.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

LONGEST_ID = 256
LONGEST_TEXT = 2_000
LONGEST_DETAIL_TEXT = 300
MOST_ITEMS = 2_000
LONGEST_LIST = 200
DEEPEST = 6
LARGEST = 1e300
TRUNCATED = "truncated"
"""The key in a detail that says, with true, that something was left out."""

_READ_AHEAD = 10
_BINS = frozenset({"labels", "p_bins", "reference", "current", "client", "peers", "histograms"})
"""Lists under these keys are histograms, side by side."""


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
    """``detail`` as strict JSON of at most ``most_items`` keys and list items.

    Every list is cut to the same length, so lists side by side stay so. Beyond ``most_items`` whole parts are left
    out as ``reduced_detail`` does. Whatever is left out, ``"truncated": true`` is added and not counted.
    """
    room = _Room(most_items * _READ_AHEAD)
    whole: dict[str, Any] = {}
    for key, value in islice(detail.items(), LONGEST_LIST):
        part = _kept(value, room, DEEPEST - 1)
        if room.items > 0:
            whole[storable_text(str(key), LONGEST_DETAIL_TEXT)] = part
    if room.cut or len(whole) < len(detail):
        whole[TRUNCATED] = True
    return reduced_detail(whole, lambda kept: _n_items(kept) - (kept.get(TRUNCATED) is True) <= most_items)


def reduced_detail(detail: Mapping[str, Any], fits: Callable[[Mapping[str, Any]], bool]) -> dict[str, Any]:
    """``detail`` itself if it ``fits``, else without its histograms, else also without its largest parts.

    What is left is whole; ``"truncated": true`` says that there was more.
    """
    kept = dict(detail)
    if fits(kept):
        return kept
    kept = {**_without_bins(kept), TRUNCATED: True}
    parts = sorted((key for key in kept if key != TRUNCATED), key=lambda key: len(json.dumps(kept[key])))
    while parts and not fits(kept):
        del kept[parts.pop()]
    return kept


class _Room:
    """How many items may still be kept, and whether anything was left out."""

    def __init__(self, items: int) -> None:
        self.items = items
        self.cut = False

    def length_of(self, items: Sequence[Any] | Mapping[Any, Any], depth: int) -> int:
        """How many of ``items`` to keep; they are taken from the room."""
        length = min(len(items), LONGEST_LIST, max(self.items, 0)) if depth else 0
        self.cut = self.cut or length < len(items)
        self.items -= length
        return length


def _kept(value: Any, room: _Room, depth: int) -> Any:
    if isinstance(value, Mapping):
        pairs = islice(value.items(), room.length_of(value, depth))
        return {storable_text(str(key), LONGEST_DETAIL_TEXT): _kept(inner, room, depth - 1) for key, inner in pairs}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_kept(item, room, depth - 1) for item in islice(value, room.length_of(value, depth))]
    return _scalar(value)


def _without_bins(value: Any) -> Any:
    if isinstance(value, Mapping):
        shown = {key: inner for key, inner in value.items() if not (key in _BINS and isinstance(inner, list))}
        return {key: _without_bins(inner) for key, inner in shown.items()}
    return [_without_bins(item) for item in value] if isinstance(value, list) else value


def _n_items(value: Any) -> int:
    if isinstance(value, Mapping):
        return len(value) + sum(map(_n_items, value.values()))
    return len(value) + sum(map(_n_items, value)) if isinstance(value, list) else 0


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < 2**53 else str(value)[:LONGEST_DETAIL_TEXT]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return storable_text(str(value), LONGEST_DETAIL_TEXT)
