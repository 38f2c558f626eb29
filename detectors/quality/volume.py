"""Volume: events a pane, against what the hour of the reference had.

The count of a pane is negative binomial around the expected volume, with the overdispersion of the reference's own
panes. Bets pay beyond the tolerance only: below half or above double what is expected, and where the reference is too
short to know the hours of the day, below a third or above threefold. Levels that last over
several panes temper them, by the root of their overdispersion, since most of what lasts stays inside the tolerance
(measured in ``tests/detectors/quality``). Panes without any event are not volume but silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from detectors.base import Arrays, Pane, Part
from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.evidence import overdispersion
from detectors.quality.profile import Profile, slot_width
from detectors.quality.watch import Finding, Look, dispersion_blocks, even, slice_sums
from detectors.sketch import Sketch, from_fixed, to_fixed

MINIMUM_PANES = 8
_TOLERANCE_KNOWN = 2.0
_TOLERANCE_FLAT = 3.0
_FALLS = (0.5, 0.15)
_RISES = (1.5, 3.0)
_SAMPLING = 2.5
_LARGEST_SIZE = 1e6


def negative_binomial_bet(n: FloatArray | float, size: float, null: FloatArray | float, ratio: float) -> FloatArray:
    """Log likelihood ratio of a count with mean ``null * ratio`` against mean ``null``.

    The distribution is negative binomial of ``size`` r (variance m + m²/r). Its mean ratio is at most one for every
    mean on the null's side: at or above ``null`` for ``ratio < 1``, at or below it for ``ratio > 1``.
    """
    null = np.asarray(null)
    return np.asarray(n * np.log(ratio) - (n + size) * np.log((size + null * ratio) / (size + null)))


@dataclass(frozen=True)
class VolumeWatch:
    """Bets on the number of events in panes that hold any."""

    name: ClassVar[str] = "volume"
    pane_cap: ClassVar[float] = 0.45

    profile: Profile
    size: float
    deff: float
    low: float
    """Share of the expected volume that is tolerated below it, and ``high`` above it."""
    high: float

    @classmethod
    def fit(cls, batch: EventBatch, pane_s: float) -> Part | None:
        """None when the reference has fewer than eight whole panes with events."""
        pane = np.floor(batch.timestamp / pane_s).astype(np.int64)
        weight = inverse_rate(batch)
        numbers, index = np.unique(pane, return_inverse=True)
        n = np.bincount(index).astype(np.float64)
        scaled = np.bincount(index, weights=weight)
        if len(numbers) >= MINIMUM_PANES + 2:
            numbers, n, scaled = numbers[1:-1], n[1:-1], scaled[1:-1]
        if len(numbers) < MINIMUM_PANES:
            return None
        slot_s = slot_width(pane_s)
        slots, at = np.unique(np.floor(numbers * pane_s / slot_s).astype(np.int64), return_inverse=True)
        profile = Profile.fit(
            slots,
            np.asarray(np.bincount(at, weights=scaled), dtype=np.float64),
            np.asarray(np.bincount(at) * pane_s, dtype=np.float64),
            slot_s,
            float(numbers[-1] - numbers[0] + 1) * pane_s,
        )
        starts = np.asarray(numbers * pane_s, dtype=np.float64)
        mean = np.maximum(profile.expected(starts, starts + pane_s) * n / scaled, 1e-9)
        extra = max(float(np.sum((n - mean) ** 2 - mean) / np.sum(mean**2)), 1.0 / _LARGEST_SIZE)
        surprise = (n - mean) / np.sqrt(mean + extra * mean**2)
        deff = max([1.0, *(overdispersion(surprise, blocks) for blocks in dispersion_blocks(numbers))])
        error = _SAMPLING * float(np.sqrt(deff * (extra + 1.0 / mean.mean()) / len(numbers)))
        facts = {"slot_s": slot_s, "size": 1.0 / extra, "deff": deff, "error": error}
        return Part({"rates": profile.rates}, facts)

    @classmethod
    def build(cls, part: Part) -> Self:
        profile = Profile(np.asarray(part.arrays["rates"], dtype=np.float64), float(part.facts["slot_s"]))
        known = _TOLERANCE_FLAT if profile.is_flat else _TOLERANCE_KNOWN
        beyond = known * (1.0 + float(part.facts["error"]))
        return cls(profile, float(part.facts["size"]), float(part.facts["deff"]), 1.0 / beyond, beyond)

    @property
    def n_causes(self) -> int:
        return 1

    @property
    def owners(self) -> IntArray:
        return np.zeros(len(_FALLS) + len(_RISES), dtype=np.int64)

    @property
    def weights(self) -> FloatArray:
        return even(len(_FALLS) + len(_RISES))

    def sketch(self, batch: EventBatch, starts: IntArray) -> Sequence[Sketch]:
        each = np.stack([np.full(len(batch), to_fixed(np.ones(1))[0]), to_fixed(inverse_rate(batch))], axis=1)
        return [Sketch({"events": row}) for row in slice_sums(each, starts)]

    def look(self, pane: Pane) -> Look | None:
        n, scaled = (float(value) for value in from_fixed(pane.sketch.totals["events"]))
        if n == 0:
            return None
        expected = float(self.profile.expected(pane.start, pane.start + pane.width_s))
        mean = max(expected * n / scaled, 1e-9)
        bets = [negative_binomial_bet(n, self.size, self.low * mean, ratio) for ratio in _FALLS]
        bets += [negative_binomial_bet(n, self.size, self.high * mean, ratio) for ratio in _RISES]
        window = np.array([[scaled, expected, 1.0]])
        return Look(np.array(bets, dtype=np.float64) / np.sqrt(self.deff), {"window": window})

    def finding(self, cause: int, window: Arrays, notes: Arrays) -> Finding:
        scaled, expected, panes = (float(value) for value in np.asarray(window["window"])[cause])
        panes = max(panes, 1.0)
        current, usual = scaled / panes, expected / panes
        change = current / max(usual, 1e-9) - 1.0
        falls = change < 0
        share = f"{100 * current / max(usual, 1e-9):.0f} % of what is usual"
        return Finding(
            name="traffic fell" if falls else "traffic rose",
            words=f"volume {'fell' if falls else 'rose'} to {current:,.4g} events a pane, {share} ({usual:,.4g})",
            expected=usual,
            current=current,
            unit="events a pane",
            effect=change,
            effect_unit="share of the usual volume",
            minimum_effect=0.5,
        )


def inverse_rate(batch: EventBatch) -> FloatArray:
    """(n,) how many events of traffic each logged event stands for; at least 1."""
    if batch.sampling_rate is None:
        return np.ones(len(batch))
    rate = np.asarray(np.nan_to_num(batch.sampling_rate, nan=1.0))
    return np.asarray(1.0 / np.clip(np.where(rate > 0, rate, 1.0), 1e-6, 1.0))
