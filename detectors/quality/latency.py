"""Latency: answers that take longer than the reference's, by location and by tail. Faster is not worth an alarm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from detectors.base import Arrays, Pane, Part
from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.evidence import legendre_scores, overdispersion, rate_bet, tilt_bet
from detectors.quality.watch import Finding, Look, dispersion_blocks
from detectors.sketch import Sketch

_QUANTILES = (*np.arange(0.05, 0.96, 0.05), 0.99)
_BEYOND = (1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Cuts beyond the reference, in multiples of its largest latency."""
_SHIFT = 0.3
_STEPS = (0.3, 0.8)
_TAIL = 0.03
_TAIL_RISES = (0.07, 0.3)
_SAMPLING = 2.5
_FEWEST = 50


@dataclass(frozen=True)
class LatencyWatch:
    """Upward bets on the binned latency."""

    name: ClassVar[str] = "latency"
    pane_cap: ClassVar[float] = 0.7

    edges: FloatArray
    """Bin of a latency: ``searchsorted(edges, latency, side="right")``."""
    counts: IntArray
    """(bins,) of the reference."""
    bets: FloatArray
    """(bets, bins), tempered."""
    weights: FloatArray

    @classmethod
    def fit(cls, batch: EventBatch, pane_s: float) -> Part | None:
        """None where fewer than 50 events log a latency."""
        latency = np.full(0, np.nan) if batch.latency_ms is None else batch.latency_ms
        there = np.isfinite(latency)
        if there.sum() < _FEWEST:
            return None
        values = latency[there]
        edges = np.unique(np.append(np.quantile(values, _QUANTILES), np.nextafter(values.max(), np.inf)))
        edges = np.unique(np.concatenate([edges, max(values.max(), 1e-9) * np.asarray(_BEYOND[1:])]))
        bins = np.searchsorted(edges, values, side="right")
        counts = np.bincount(bins, minlength=len(edges) + 1)
        scores = legendre_scores(_masses(counts))[0][bins]
        pane = np.floor(batch.timestamp[there] / pane_s).astype(np.int64)
        deff = max([1.0, *(overdispersion(scores, blocks) for blocks in dispersion_blocks(pane))])
        return Part({"edges": edges, "counts": counts}, {"deff": deff})

    @classmethod
    def build(cls, part: Part) -> Self:
        edges = np.asarray(part.arrays["edges"], dtype=np.float64)
        counts = np.asarray(part.arrays["counts"], dtype=np.int64)
        deff = float(part.facts["deff"])
        masses = _masses(counts)
        error = _SAMPLING * float(np.sqrt(deff / counts.sum()))
        location = legendre_scores(masses)[0]
        bets = [tilt_bet(masses, location, _SHIFT + error, _SHIFT + error + step) for step in _STEPS]
        tail = np.cumsum(counts[::-1])[::-1] <= 0.015 * counts.sum()
        null = _TAIL + error * 0.1
        bets += [rate_bet(tail.astype(np.float64), null, null + rise) for rise in _TAIL_RISES]
        return cls(edges, counts, np.stack(bets) / deff, np.array([0.3, 0.3, 0.2, 0.2]))

    @property
    def n_causes(self) -> int:
        return 1

    @property
    def owners(self) -> IntArray:
        return np.zeros(len(self.weights), dtype=np.int64)

    def sketch(self, batch: EventBatch, starts: IntArray) -> Sequence[Sketch]:
        n_bins = len(self.edges) + 1
        latency = np.full(len(batch), np.nan) if batch.latency_ms is None else batch.latency_ms
        bins = np.searchsorted(self.edges, latency, side="right")
        there = np.isfinite(latency)
        ends = np.append(starts[1:], len(batch))
        return [
            Sketch({"bins": np.bincount(bins[a:b][there[a:b]], minlength=n_bins)})
            for a, b in zip(starts, ends, strict=True)
        ]

    def look(self, pane: Pane) -> Look | None:
        bins = pane.sketch.totals["bins"]
        if not bins.any():
            return None
        return Look(self.bets @ bins.astype(np.float64), {"window": bins[None, :]})

    def finding(self, cause: int, window: Arrays, notes: Arrays) -> Finding:
        bins = np.asarray(window["window"], dtype=np.int64)[cause]
        (median, p99), (usual, usual_p99) = (
            [self._quantile(counts, q) for q in (0.5, 0.99)] for counts in (bins, self.counts)
        )
        slower = max(median / max(usual, 1e-9), p99 / max(usual_p99, 1e-9)) - 1.0
        return Finding(
            name="answers slow down",
            words=(
                f"half of the answers take more than {median:,.3g} ms ({usual:,.3g} ms usually), "
                f"one in a hundred more than {p99:,.3g} ms ({usual_p99:,.3g} ms)"
            ),
            expected=usual,
            current=median,
            unit="ms, median",
            effect=slower,
            effect_unit="share slower",
            minimum_effect=0.2,
        )

    def _quantile(self, counts: IntArray, q: float) -> float:
        """The latency below which a share ``q`` lies, by line within a bin; the last edge where it lies beyond."""
        total = max(int(counts.sum()), 1)
        at = np.concatenate([[0.0], np.cumsum(counts) / total])
        ends = np.concatenate([[min(0.0, float(self.edges[0]))], self.edges, [self.edges[-1]]])
        slot = min(int(np.searchsorted(at, q, side="left")), len(counts))
        share = (q - at[slot - 1]) / max(at[slot] - at[slot - 1], 1e-12)
        return float(ends[slot - 1] + np.clip(share, 0.0, 1.0) * (ends[slot] - ends[slot - 1]))


def _masses(counts: IntArray) -> FloatArray:
    weights = counts + 0.5
    return np.asarray(weights / weights.sum())
