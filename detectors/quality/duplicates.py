"""Duplicates: events that come twice in a pane, by their id and by everything they log.

Hashes of ids and of rows are counted in buckets, so sketches add up. The hashes are thinned at three levels (all, one
in 16, one in 256; the copies of an event stay together), and the judge takes the first level that leaves the buckets
mostly empty: events that fall into an occupied bucket beyond chance are repeats, however many events there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from detectors.base import Arrays, Pane, Part
from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.budget import AlarmBudget
from detectors.evidence import rate_bet
from detectors.quality.hashing import Hashes, row_hashes, text_hashes
from detectors.quality.volume import inverse_rate
from detectors.quality.watch import Finding, Look, even
from detectors.sketch import Sketch

N_BUCKETS = 512
_LEVELS = (0, 4, 8)
"""Hash bits that are zero at each level."""
_FEW = N_BUCKETS // 2
_RISES = (0.05, 0.25)
_SAMPLING = 2.5
_HIGHEST_SHARE = 0.5
_KEYS = ("ids", "rows")
_TOLERANCE = 0.02


@dataclass(frozen=True)
class DuplicateWatch:
    """Bets on the share of events that repeat another one of the same pane."""

    name: ClassVar[str] = "duplicates"
    pane_cap: ClassVar[float] = 0.7

    shares: FloatArray
    """(2,) of the reference, by id and by row."""
    errors: FloatArray
    deff: FloatArray
    sampling: float
    """Mean sampling rate of the reference's events."""
    tolerance: float

    @classmethod
    def fit(cls, batch: EventBatch, pane_s: float) -> Part:
        """Shares of repeats in the reference's own panes, and how much they cluster."""
        _, pane = np.unique(np.floor(batch.timestamp / pane_s), return_inverse=True)
        per_pane = np.bincount(pane).astype(np.float64)
        shares, deff = [], []
        for hashes in _hashes(batch):
            distinct = np.unique(np.stack([pane.astype(np.uint64), hashes]), axis=1)[0].astype(np.int64)
            repeats = per_pane - np.bincount(distinct, minlength=len(per_pane))
            share = float(repeats.sum() / per_pane.sum())
            shares.append(share)
            deff.append(_dispersion(repeats, per_pane, share))
        weights = inverse_rate(batch)
        return Part(
            {"shares": np.asarray(shares), "deff": np.asarray(deff)},
            {"n": len(batch), "sampling": float(len(batch) / weights.sum())},
        )

    @classmethod
    def build(cls, part: Part, budget: AlarmBudget) -> Self:
        shares = np.asarray(part.arrays["shares"], dtype=np.float64)
        deff = np.asarray(part.arrays["deff"], dtype=np.float64)
        n = max(float(part.facts["n"]), 1.0)
        errors = _SAMPLING * np.sqrt(deff * np.maximum(shares * (1 - shares), 1.0 / n) / n)
        return cls(shares, errors, deff, float(part.facts["sampling"]), max(budget.tolerance, _TOLERANCE))

    @property
    def n_causes(self) -> int:
        return 1

    @property
    def owners(self) -> IntArray:
        return np.zeros(len(_KEYS) * len(_RISES), dtype=np.int64)

    @property
    def weights(self) -> FloatArray:
        return even(len(_KEYS) * len(_RISES))

    def sketch(self, batch: EventBatch, starts: IntArray) -> Sequence[Sketch]:
        ends = np.append(starts[1:], len(batch))
        hashes = dict(zip(_KEYS, _hashes(batch), strict=True))
        sampled = np.rint(1e3 / inverse_rate(batch)).astype(np.int64)
        return [
            Sketch(
                {
                    "sampling": np.array([b - a, sampled[a:b].sum()]),
                    **{key: bucket_counts(values[a:b]) for key, values in hashes.items()},
                }
            )
            for a, b in zip(starts, ends, strict=True)
        ]

    def look(self, pane: Pane) -> Look | None:
        n, sampled = (float(value) for value in pane.sketch.totals["sampling"])
        if n == 0 or sampled / (1e3 * n) > 1.5 * self.sampling:
            return None
        log_ratio, windows = [], []
        for k, key in enumerate(_KEYS):
            events, repeats, chance = repeats_in(pane.sketch.totals[key])
            null = self.shares[k] + self.tolerance + self.errors[k]
            watched = null < _HIGHEST_SHARE and events >= 2
            for rise in _RISES:
                ratio = repeat_bet(events, repeats, chance, null, null + (1 - null) * rise) if watched else 0.0
                log_ratio.append(ratio / self.deff[k])
            windows.append([events, repeats, events * chance] if watched else [0.0, 0.0, 0.0])
        return Look(np.array(log_ratio), {"window": np.array([windows])})

    def finding(self, cause: int, window: Arrays, notes: Arrays) -> Finding:
        events, repeats, by_chance = np.asarray(window["window"], dtype=np.float64)[cause].T
        shares = np.maximum((repeats - by_chance) / np.maximum(events - by_chance, 1.0), 0.0)
        k = int(np.argmax(shares - self.shares))
        usual, now = float(self.shares[k]), float(shares[k])
        what = "carry an id that came before" if _KEYS[k] == "ids" else "repeat another event value for value"
        return Finding(
            name="events come twice",
            words=f"{100 * now:.0f} % of events {what} within the same pane ({100 * usual:.1f} % usually)",
            expected=usual,
            current=now,
            unit="share of events",
            effect=now - usual,
            effect_unit="share of traffic",
            minimum_effect=self.tolerance,
        )


def bucket_counts(hashes: Hashes) -> IntArray:
    """(levels, N_BUCKETS) counts of hashes; a level keeps the hashes that end in so many zero bits."""
    bucket = (hashes >> np.uint64(54)).astype(np.int64) % N_BUCKETS
    low = hashes.astype(np.uint64)
    rows = []
    for bits in _LEVELS:
        kept = (low & np.uint64((1 << bits) - 1)) == 0
        rows.append(np.bincount(bucket[kept], minlength=N_BUCKETS))
    return np.stack(rows)


def repeats_in(counts: IntArray) -> tuple[float, float, float]:
    """Events at the level that suits, how many fell into an occupied bucket, and the share that does by chance."""
    totals = counts.sum(axis=1)
    level = next((i for i, n in enumerate(totals) if n <= _FEW), len(totals) - 1)
    n = float(totals[level])
    occupied = float(np.count_nonzero(counts[level]))
    if n == 0:
        return 0.0, 0.0, 0.0
    expected = N_BUCKETS * -np.expm1(n * np.log1p(-1.0 / N_BUCKETS))
    return n, n - occupied, max(1.0 - expected / n, 0.0)


def repeat_bet(events: float, repeats: float, chance: float, null: float, alternative: float) -> float:
    """Log likelihood ratio of the repeats as a binomial count: rate ``alternative`` against ``null``, chance on top.

    Occupancy varies less than a binomial of its mean, so the mean ratio stays at most one up to the null.
    """
    low, high = (share + (1 - share) * chance for share in (null, alternative))
    inside, outside = rate_bet(np.array([1.0, 0.0]), low, high)
    return float(repeats * inside + (events - repeats) * outside)


def _hashes(batch: EventBatch) -> tuple[Hashes, Hashes]:
    return text_hashes(batch.event_id, len(batch)), row_hashes(batch)


def _dispersion(repeats: FloatArray, events: FloatArray, share: float) -> float:
    """Pearson's chi-square over its degrees of freedom; at least 1."""
    if not 0 < share < 1 or len(events) < 8:
        return 1.0
    return max(1.0, float(np.sum((repeats - share * events) ** 2 / (events * share * (1 - share)))) / (len(events) - 1))
