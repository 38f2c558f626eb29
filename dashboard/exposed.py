"""What a client has learned of a model, when it asks and what may be done about it, read into values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dashboard.values import count, fraction, number, text


@dataclass(frozen=True, slots=True)
class Exposure:
    """How good a copy a client could have trained: agreements with the model, as shares."""

    agreement: float | None
    usual: float | None
    ceiling: float | None
    words: str


@dataclass(frozen=True, slots=True)
class Exposed:
    """One of the clients that could have trained the best copies."""

    client: str
    n_queries: int | None
    agreement: float | None
    share: float | None


@dataclass(frozen=True, slots=True)
class Habit:
    """One thing about when a client asks, beside all clients where that is known."""

    words: str
    client: float | None
    peers: float | None


@dataclass(frozen=True, slots=True)
class Action:
    """Something that may be done, and the name it has elsewhere."""

    id: str
    name: str
    words: str


def read_exposure(value: object) -> Exposure | None:
    if not isinstance(value, Mapping):
        return None
    agreement, usual, ceiling = (fraction(value.get(name)) for name in ("agreement", "usual", "ceiling"))
    found = Exposure(agreement, usual, ceiling, text(value.get("words")))
    return found if found.words or found.agreement is not None else None


def read_exposed(item: Mapping[str, Any]) -> Exposed:
    agreement, share = fraction(item.get("agreement")), fraction(item.get("share"))
    return Exposed(text(item.get("client")), count(item.get("n_queries")), agreement, share)


def read_words(value: object) -> str:
    """The sentence of a group of facts."""
    return text(value.get("words")) if isinstance(value, Mapping) else ""


def read_habit(item: Mapping[str, Any]) -> Habit:
    return Habit(text(item.get("words")), number(item.get("client")), fraction(item.get("peers")))


def read_action(item: Mapping[str, Any]) -> Action:
    return Action(text(item.get("id")), text(item.get("name")), text(item.get("words")))
