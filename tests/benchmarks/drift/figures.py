"""What a cell measured, with the interval or error that belongs to it; prints as one line, travels as JSON fields."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.stats import chi2

from tests.benchmarks.report import Goal


@dataclass
class Section:
    """Figures and goals of one job; sections add up to the report."""

    figures: dict[str, object] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)

    def at_most(self, name: str, value: float, limit: float) -> None:
        self.goals.append(Goal(name, float(value), f"≤ {limit:g}", bool(value <= limit)))

    def at_least(self, name: str, value: float, limit: float) -> None:
        self.goals.append(Goal(name, float(value), f"≥ {limit:g}", bool(value >= limit)))

    def __add__(self, other: Section) -> Section:
        return Section({**self.figures, **other.figures}, [*self.goals, *other.goals])


@dataclass(frozen=True)
class Rate:
    """False alarms over what the budget allows, with the exact two-sided Poisson interval (Garwood 1936).

    ``error``: chance that the interval misses the rate.
    """

    alarms: int
    allowed: float
    panes: int
    error: float = 0.05

    @property
    def ratio(self) -> float:
        return self.alarms / self.allowed

    @property
    def low(self) -> float:
        return float(chi2.ppf(self.error / 2, 2 * self.alarms) / 2 / self.allowed) if self.alarms else 0.0

    @property
    def high(self) -> float:
        return float(chi2.isf(self.error / 2, 2 * self.alarms + 2) / 2 / self.allowed)

    def to_json(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in ("alarms", "allowed", "panes", "ratio", "low", "high")}

    def __str__(self) -> str:
        counts = f"{self.alarms} alarms of {self.allowed:.0f} allowed in {self.panes:,} panes"
        return f"{self.ratio:.2f} ({self.low:.2f} … {self.high:.2f}), {counts}"


@dataclass(frozen=True)
class Lengths:
    """Times to the first alarm, inf where none came within ``horizon``; alarms before the onset are set apart."""

    mean: float
    error: float
    found: float
    runs: int
    early: float = 0.0

    @classmethod
    def of_delays(cls, delays: np.ndarray, horizon: float, early: int = 0) -> Lengths:
        """Mean over the runs that were silent before the onset; what was not found counts as the whole horizon."""
        if not len(delays):
            return cls(float("nan"), float("nan"), float("nan"), early, 1.0)
        capped = np.minimum(delays, horizon)
        error = float(np.std(capped, ddof=1) / np.sqrt(len(capped))) if len(capped) > 1 else float("nan")
        total = len(delays) + early
        return cls(float(capped.mean()), error, float(np.mean(np.isfinite(delays))), total, early / total)

    @classmethod
    def of_runs(cls, lengths: np.ndarray, horizon: float) -> Lengths:
        """Mean run length from censored runs: time watched over alarms, relative error 1 / sqrt(alarms)."""
        alarms = int(np.isfinite(lengths).sum())
        watched = float(np.minimum(lengths, horizon).sum())
        if not alarms:
            return cls(float("inf"), float("nan"), 0.0, len(lengths))
        return cls(watched / alarms, watched / alarms / alarms**0.5, alarms / len(lengths), len(lengths))

    def to_json(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in ("mean", "error", "found", "runs", "early")}

    def __str__(self) -> str:
        early = f", {self.early:.0%} alarmed before the onset" if self.early else ""
        return f"{self.mean:,.4g} ± {self.error:.2g} (found {self.found:.0%} of {self.runs} runs{early})"
