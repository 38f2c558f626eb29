"""One event as a record states it, before it becomes a row of columns.

``Event`` is what every decoder fills, whatever the wire format; msgspec reads the native format straight into it, so
its annotations are the fast half of validation. ``monitor.formats.examination`` is the slow half.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

MAX_NAME_CHARS = 256
"""Identities and names end up in database keys, which must not grow with what a client sends."""

Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME_CHARS)]
Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
Numbers = list[float | None]
FeatureValue = float | str | bool | None
Category = float | str | bool


class Event(msgspec.Struct, gc=False):
    """Fields of the native event, absent ones None; what is not one of them is ignored."""

    model: Name | None = None
    version: Name | Whole | None = None
    event_id: Name | Whole | None = None
    client_id: Name | Whole | None = None
    timestamp: float | str | None = None
    features: dict[Name, FeatureValue] | Numbers | None = None
    embedding: Numbers | None = None
    logits: Numbers | None = None
    probabilities: dict[Name, float | None] | Numbers | None = None
    prediction: Category | None = None
    label: Category | None = None
    latency_ms: float | None = None
    segments: dict[Name, Name | Whole | bool | None] | None = None
    sampling_rate: Share | None = None

    def monitorable(self) -> bool:
        """Whether there is anything a detector could look at; an empty object or array is nothing."""
        return bool(
            self.features
            or self.prediction is not None
            or self.embedding
            or self.label is not None
            or self.probabilities
            or self.logits
        )


def text_of(value: str | float) -> str:
    """An identity or category as text: ``12``, not ``12.0``; ``true``, not ``True``.

    >>> text_of(12.0), text_of(True), text_of("a")
    ('12', 'true', 'a')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)
