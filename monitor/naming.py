"""Naming: what of a strange event is written down, as the privacy settings have it.

By default its id, its client and how far its columns are from the reference, in spreads: no value of its own. Values
are kept where the settings give them a time to live, the blamed columns first and never more than 8 kB.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from detectors.base import StrangeEvent
from detectors.batch import EventBatch
from detectors.suite import PaneSketch
from monitor.alerting.storable import storable_detail
from monitor.storage.strange_events import NamedEvent

MOST_VALUE_BYTES = 8_192
_LONGEST_VALUE = 200


def named(batch: EventBatch, found: PaneSketch, value_hours: float, now: datetime) -> Iterator[NamedEvent]:
    """The events of one pane that may be named, the strangest first; their values for ``value_hours``, 0: not kept."""
    kept = value_hours > 0
    for event in found.strange:
        at = event.position
        yield NamedEvent(
            model=batch.model,
            version=batch.version,
            pane_start=found.pane_start,
            event_time=float(batch.timestamp[at]),
            event_id=event.event_id,
            client_id="" if batch.client_id is None else str(batch.client_id[at]),
            score=event.score,
            p_value=event.p_value,
            facts=storable_detail(_facts(event)),
            values=_values(batch, event) if kept else None,
            values_until=now + timedelta(hours=value_hours) if kept else None,
        )


def _facts(event: StrangeEvent) -> dict[str, Any]:
    return {
        "p_from": "tail model" if event.modelled else "ranks",
        "because": event.because,
        "columns": [{"name": name, "z": z, "words": words} for name, z, words in event.columns],
        "missing": list(event.missing),
    }


def _values(batch: EventBatch, event: StrangeEvent) -> dict[str, Any]:
    """Features of one event by name, the blamed ones first, as many as fit."""
    blamed = [name.partition(": ")[0] for name, _, _ in event.columns]
    names = [name for name in dict.fromkeys([*blamed, *batch.feature_names]) if name in batch.feature_names]
    position = {name: j for j, name in enumerate(batch.numeric_names)}
    values: dict[str, Any] = {}
    left = MOST_VALUE_BYTES
    for name in names:
        raw = batch.numeric[event.position, position[name]] if name in position else batch.mixed[name][event.position]
        value = _plain(raw)
        left -= len(json.dumps([name, value]).encode())
        if left < 0:
            break
        values[name] = value
    return storable_detail(values)


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value[:_LONGEST_VALUE]
    number = float(value)  # type: ignore[arg-type]  # what a batch holds besides
    return number if math.isfinite(number) else None if math.isnan(number) else str(number)
