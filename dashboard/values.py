"""Values out of JSON that nobody vouches for: of the type that is asked for, or nothing; never an error."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def items(value: object, limit: int = 50) -> Sequence[Any]:
    return value[:limit] if isinstance(value, (list, tuple)) else ()


def mappings(value: object) -> Iterator[Mapping[str, Any]]:
    return (item for item in items(value) if isinstance(item, Mapping))


def text(value: object) -> str:
    return "" if value is None else str(value)


def figure(value: object) -> float | str | None:
    return value if isinstance(value, str) else number(value)


def number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def fraction(value: object) -> float | None:
    found = number(value)
    return found if found is not None and 0 <= found <= 1 else None


def count(value: object) -> int | None:
    found = whole(value)
    return found if found is not None and found >= 0 else None


def whole(value: object) -> int | None:
    found = number(value)
    return None if found is None else int(found)
