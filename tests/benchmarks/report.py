"""What a benchmark reports: figures, and goals that hold or do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure that was promised: its value, the promise in words, and whether it holds."""

    name: str
    value: float
    goal: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What one benchmark measured."""

    name: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    goals: Sequence[Goal] = ()

    def to_json(self) -> dict[str, Any]:
        """The shape that ``--json`` prints."""
        return {
            "name": self.name,
            "figures": {name: _plain(value) for name, value in self.figures.items()},
            "goals": [
                {"name": g.name, "value": _plain(g.value), "goal": g.goal, "holds": bool(g.holds)} for g in self.goals
            ],
        }

    def to_text(self) -> str:
        """One figure a line, then one goal a line."""
        rows = [f"{name:<78} {_shown(value)}" for name, value in self.figures.items()]
        rows += [f"{'holds ' if g.holds else 'MISSED'}  {g.name}: {_shown(g.value)} ({g.goal})" for g in self.goals]
        return "\n".join([f"benchmark {self.name}", *rows])


def _plain(value: Any) -> Any:
    if hasattr(value, "to_json"):
        return value.to_json()
    return value.item() if hasattr(value, "item") else value


def _shown(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
