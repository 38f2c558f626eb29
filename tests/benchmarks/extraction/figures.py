"""Shares with their interval, and the section of a report that a job makes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from scipy.stats import beta

from tests.benchmarks.drift.figures import Section

__all__ = ["Section", "Share", "pooled"]


@dataclass(frozen=True)
class Share:
    """k of n, with the upper and lower ends of the exact one-sided 95 % interval (Clopper and Pearson 1934)."""

    k: int
    n: int

    @classmethod
    def of(cls, hits: Iterable[bool]) -> Share:
        hits = list(hits)
        return cls(sum(map(bool, hits)), len(hits))

    @property
    def value(self) -> float:
        return self.k / self.n if self.n else float("nan")

    @property
    def high(self) -> float:
        return 1.0 if self.k >= self.n else float(beta.ppf(0.95, self.k + 1, self.n - self.k))

    @property
    def low(self) -> float:
        return 0.0 if not self.k else float(beta.ppf(0.05, self.k, self.n - self.k + 1))

    def __add__(self, other: Share) -> Share:
        return Share(self.k + other.k, self.n + other.n)

    def to_json(self) -> dict[str, float]:
        return {"k": self.k, "n": self.n, "value": self.value, "low": self.low, "high": self.high}

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.k} of {self.n}, {self.low:.2g} … {self.high:.2g})"


def pooled(shares: Iterable[Share]) -> Share:
    """All of them together."""
    return sum(shares, Share(0, 0))
