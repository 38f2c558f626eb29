"""Dispersion: how much more ordinary traffic varies over time and between clients than independent events would.

Bursts, sessions and heavy clients make a hundred events say less than a hundred independent ones. Each column's
*overdispersion* is learned from the reference, within its seasons, and divides the counts of every pane, so that
evidence grows no faster than the traffic's own information.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.stats import chi2

from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.drift.bets import smoothed
from detectors.drift.columns import INNER, N_BINS, CodeArray, NumericBins, WatchedColumn
from detectors.evidence import legendre_scores, overdispersion

_FEWEST_BLOCKS = 8
_CLEAR = 1e-3
"""Chance of an estimate as large as this among independent events, below which it counts."""
_WIDER = 4.0
_FEWEST_TO_EXTRAPOLATE = 16
_HEAVIEST = 4


@dataclass(frozen=True, slots=True, eq=False)
class Dispersion:
    """(columns,) overdispersion ≥ 1: of panes in time, and of the reference as a sample of clients."""

    in_time: FloatArray
    between: FloatArray

    @classmethod
    def measure(
        cls,
        columns: Sequence[WatchedColumn],
        counts: IntArray,
        codes: CodeArray,
        strata: IntArray,
        events: EventBatch,
        pane_s: float,
    ) -> Self:
        """From the reference.

        Args:
            counts: (columns, N_BINS); codes: (n, columns); strata: (n,) season stratum of each event.
        """
        blocks = time_blocks(events.timestamp, pane_s)
        clients = None
        if events.client_id is not None:
            clients = np.unique(events.client_id.astype(str), return_inverse=True)[1].astype(np.float64)
        in_time, between = np.ones(len(columns)), np.ones(len(columns))
        for c, column in enumerate(columns):
            scores = [_within(score, strata) for score in column_scores(column, counts[c], codes[:, c])]
            in_time[c] = max((_in_time(score, blocks) for score in scores), default=1.0)
            if clients is not None and scores:
                between[c] = np.mean([overdispersion(score, clients) for score in scores])
        return cls(in_time, between)


def column_scores(column: WatchedColumn, counts: IntArray, codes: CodeArray) -> list[FloatArray]:
    """(n,) scores that a column may move along, of variance about one: location and spread, or its heaviest values."""
    if isinstance(column.bins, NumericBins):
        n_inner = column.bins.n_inner
        padded = [np.concatenate([s, np.zeros(N_BINS - n_inner)]) for s in legendre_scores(smoothed(counts[:n_inner]))]
        return [scores[codes] for scores in padded]
    heavy = np.argsort(-counts[:INNER], kind="stable")[:_HEAVIEST]
    found = []
    for k in heavy:
        share = counts[k] / max(counts.sum(), 1)
        if 0 < share < 1:
            found.append(((codes == k) - share) / np.sqrt(share * (1 - share)))
    return found


def time_blocks(timestamp: FloatArray, pane_s: float) -> list[FloatArray]:
    """(n,) block labels at widths of 1, 4, 16, … panes, while at least eight blocks remain."""
    blocks = []
    width = pane_s
    while True:
        labels = np.floor(timestamp / width)
        if np.unique(labels).size < _FEWEST_BLOCKS:
            break
        blocks.append(labels)
        width *= _WIDER
    return blocks or [np.floor(np.arange(len(timestamp)) / max(len(timestamp) // 20, 1))]


def _within(score: FloatArray, strata: IntArray) -> FloatArray:
    """The score less its stratum's mean: what seasons explain is no dispersion."""
    sizes = np.bincount(strata)
    means = np.bincount(strata, weights=score) / np.maximum(sizes, 1)
    return np.asarray(score - means[strata])


def _in_time(score: FloatArray, blocks: Sequence[FloatArray]) -> float:
    """The largest clear overdispersion over all block widths, carried on to blocks without end.

    What is correlated over a while is cut at the edges of blocks, which hides a part that shrinks as one over their
    width; two widths tell how much.
    """
    found = [_clear_overdispersion(score, labels) for labels in blocks]
    largest = max(found)
    for narrow, wide, labels in zip(found, found[1:], blocks[1:], strict=False):
        if narrow > 1.0 and wide > narrow and np.unique(labels).size >= _FEWEST_TO_EXTRAPOLATE:
            largest = max(largest, wide + (wide - narrow) / (_WIDER - 1.0))
    return largest


def _clear_overdispersion(score: FloatArray, labels: FloatArray) -> float:
    found, freedom = overdispersion(score, labels), max(np.unique(labels).size - 1, 1)
    return found if found > float(chi2.isf(_CLEAR, freedom)) / freedom else 1.0
