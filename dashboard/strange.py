"""What a detail says of strange events: which they are, who sends them, and what they have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dashboard import values


@dataclass(frozen=True, slots=True)
class StrangeEvent:
    """One event that an alert names; ``modelled``: its p-value lies beyond what held-out events can say."""

    event_id: str
    client: str
    score: float | None
    p_value: float | None
    modelled: bool
    because: str
    columns: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Share:
    """Something that a share of the strange events, or of all, has in common."""

    words: str
    n: int
    share: float | None


@dataclass(frozen=True, slots=True)
class StrangeClient:
    client: str
    n: int
    n_strange: int


def senders(value: object, who: str) -> tuple[StrangeClient, ...]:
    return tuple(
        StrangeClient(
            values.text(item.get(who)), values.whole(item.get("n")) or 0, values.whole(item.get("n_strange")) or 0
        )
        for item in values.mappings(value)
    )


def shares(value: object, words: str, n: str) -> tuple[Share, ...]:
    return tuple(
        Share(values.text(item.get(words)), values.whole(item.get(n)) or 0, values.fraction(item.get("share")))
        for item in values.mappings(value)
    )


def event(item: Mapping[str, Any]) -> StrangeEvent:
    return StrangeEvent(
        event_id=values.text(item.get("event_id")),
        client=values.text(item.get("client_id")),
        score=values.number(item.get("score")),
        p_value=values.number(item.get("p_value")),
        modelled=item.get("p_from") == "tail model",
        because=values.text(item.get("because")),
        columns=tuple(
            (values.text(part.get("name")), values.text(part.get("words")))
            for part in values.mappings(item.get("columns"))
        ),
    )
