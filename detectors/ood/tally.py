"""Tally: bins of p-values, the bets on their rates, and whose events are strange.

Each bet is on the share of events with ``p <= alpha``. Its null is not ``alpha`` but a *tolerated* rate: mild covariate
drift doubles or trebles the share of small p-values and is another detector's business, and a calibration on finitely
many events is itself uncertain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.batch import FloatArray, IntArray
from detectors.evidence import overdispersion, rate_bet

EDGES: FloatArray = np.array([0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.25, 0.5])
"""Upper edges of the bins of p-values but the last, which ends at 1."""
LABELS = (*(f"≤ {edge:.4f}".rstrip("0") for edge in EDGES), "≤ 1")
EXPECTED: FloatArray = np.diff(np.concatenate([[0.0], EDGES, [1.0]]))
N_BINS = len(EXPECTED)

ALPHAS = (0.001, 0.01, 0.05)
TOLERATED = (0.008, 0.03, 0.10)
RANGES = (4, 7, 9)
"""How many leading bins hold the p-values up to each alpha."""
STRANGE = 1
"""Position in ``ALPHAS`` of what people are told is strange: p <= 0.01."""
STEPS = (0.02, 0.05, 0.12, 0.3, 0.6, 0.9)
RARE = 7.0
"""Of n held-out events the largest score is exceeded by more than 7/n of all later events once in a thousand times."""
MAX_KEYS = 50
FALSE_DISCOVERIES = 0.1
"""Of the events of a pane that are called strange one by one, at most this share is expected to be ordinary."""


def bin_of(p_value: FloatArray) -> IntArray:
    """(n,) bin of each p-value; a p-value at an edge belongs below it."""
    return np.asarray(np.searchsorted(EDGES, p_value, side="left"))


def discoveries(ranks: IntArray) -> int:
    """How many of a pane's events are strange at a false discovery rate of ``FALSE_DISCOVERIES``.

    Benjamini and Hochberg's procedure on conformal p-values, each rounded up to the edge of its bin, which only makes
    it more cautious: valid for p-values against one calibration set (Bates, Candès, Lei, Romano, Sesia 2023).

    Args:
        ranks: (bins,) events by bin of ``OodScores.rank_p_value``.
    """
    at_most = np.cumsum(ranks)
    upper = np.append(EDGES, 1.0)
    called = at_most[upper * at_most[-1] <= FALSE_DISCOVERIES * at_most]
    return int(called.max()) if called.size else 0


@dataclass(frozen=True, slots=True, eq=False)
class Bets:
    """Bets on the rates of small p-values.

    Attributes:
        alpha: (b,) position in ``ALPHAS`` of each bet.
        log_ratios: (b, bins) log likelihood ratio that an event in each bin earns, tempered by the dispersion.
        weights: (b,) summing to one.
    """

    alpha: IntArray
    log_ratios: FloatArray
    weights: FloatArray

    @classmethod
    def design(cls, n_held_out: int, dispersion: FloatArray) -> Bets:
        """Bets for a calibration on ``n_held_out`` events whose indicators are overdispersed by ``dispersion``."""
        alphas, ratios = [], []
        for i, (alpha, tolerated) in enumerate(zip(ALPHAS, TOLERATED, strict=True)):
            error = 3.0 * np.sqrt(dispersion[i] * alpha / n_held_out)
            null = min(max(tolerated, alpha + error, RARE / n_held_out), 0.5)
            inside = (np.arange(N_BINS) < RANGES[i]).astype(np.float64)
            for step in STEPS:
                alphas.append(i)
                ratios.append(rate_bet(inside, null, null + step * (1.0 - null)) / dispersion[i])
        return cls(np.array(alphas), np.array(ratios), np.full(len(alphas), 1.0 / len(alphas)))


def dispersion_of(p_value: FloatArray, pane: IntArray, client: NDArray[np.int64] | None) -> FloatArray:
    """(alphas,) how much more the shares of small p-values vary over panes and clients than chance has it; ≥ 1."""
    blocks = [pane, pane // 8]
    if client is not None:
        blocks.append(pane * (int(client.max()) + 1) + client)
    groups = [block.astype(np.float64) for block in blocks]
    return np.array([max(overdispersion(_indicator(p_value, alpha), group) for group in groups) for alpha in ALPHAS])


def _indicator(p_value: FloatArray, alpha: float) -> FloatArray:
    return (p_value <= alpha).astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Senders:
    """Clients, or segments, with the most strange events: names (k,), counts (k, 3) of events, p ≤ .01, p ≤ .001."""

    names: NDArray[np.str_]
    counts: IntArray

    @classmethod
    def none(cls) -> Senders:
        return cls(np.empty(0, dtype="<U1"), np.empty((0, 3), dtype=np.int64))

    def plus(self, keyed: Mapping[str, IntArray]) -> Senders:
        """With a pane's counts added, cut to the ``MAX_KEYS`` with the most strange events."""
        sums = dict(zip(self.names.tolist(), self.counts, strict=True))
        for name, counts in keyed.items():
            sums[name] = sums[name] + counts if name in sums else counts
        top = sorted(sums, key=lambda name: (-int(sums[name][1]), -int(sums[name][0]), name))[:MAX_KEYS]
        if not top:
            return Senders.none()
        return Senders(np.array(top), np.stack([sums[name] for name in top]).astype(np.int64))
