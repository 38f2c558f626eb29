"""Latency: how slow an answer is for a query of its size and predicted class, by quantiles of the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.clients.labels import common_labels, positions, predicted

QUANTILES: Final = (0.5, 0.95, 0.99)
_FEWEST: Final = 50
_FEWEST_IN_STRATUM: Final = 200
_MOST_LABELS: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class LatencyGrid:
    """Quantiles (labels + 1, sizes, 3) of the latency of comparable queries, in milliseconds.

    ``edges`` cut the size of a query: characters of its texts plus how many numbers it holds.
    """

    labels: tuple[str, ...]
    edges: FloatArray
    cuts: FloatArray

    @classmethod
    def fit(cls, batch: EventBatch) -> Self | None:
        """None where fewer than 50 events log a latency; a stratum with fewer than 200 is joined to wider ones."""
        if batch.latency_ms is None or np.isfinite(batch.latency_ms).sum() < _FEWEST:
            return None
        timed = np.isfinite(batch.latency_ms)
        latency, batch = batch.latency_ms[timed], batch.take(timed)
        labels = common_labels(batch, _FEWEST_IN_STRATUM)[:_MOST_LABELS]
        label, size = positions(predicted(batch), labels), query_sizes(batch)
        edges = np.unique(np.quantile(size, [1 / 3, 2 / 3]))
        edges = edges[edges > size.min()]
        slot = np.searchsorted(edges, size, side="right")
        cuts = np.empty((len(labels) + 1, len(edges) + 1, len(QUANTILES)))
        for c in range(len(labels) + 1):
            for s in range(len(edges) + 1):
                choices = ((label == c) & (slot == s), label == c, slot == s)
                chosen = next((m for m in choices if m.sum() >= _FEWEST_IN_STRATUM), np.ones(len(latency), bool))
                cuts[c, s] = np.quantile(latency[chosen], QUANTILES)
        return cls(labels, edges, cuts)

    def compare(self, batch: EventBatch) -> tuple[IntArray, FloatArray]:
        """(n, 3) whether an event has a latency and lies beyond .95 and .99; (n, 2) ms beyond usual, and all ms."""
        flags, spent = np.zeros((len(batch), 3), dtype=np.int64), np.zeros((len(batch), 2))
        if batch.latency_ms is None:
            return flags, spent
        timed = np.isfinite(batch.latency_ms)
        slot = np.searchsorted(self.edges, query_sizes(batch), side="right")
        usual, slow, very_slow = self.cuts[positions(predicted(batch), self.labels), slot].T
        latency = np.where(timed, np.clip(batch.latency_ms, 0.0, 1e7), 0.0)
        flags[:, 0] = timed
        flags[:, 1] = timed & (latency > slow)
        flags[:, 2] = timed & (latency > very_slow)
        spent[:, 0] = np.where(timed, np.maximum(latency - usual, 0.0), 0.0)
        spent[:, 1] = latency
        return flags, spent

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        return {"edges": self.edges, "cuts": self.cuts}

    @classmethod
    def load(cls, arrays: Mapping[str, NDArray[Any]], labels: tuple[str, ...]) -> Self:
        return cls(labels, arrays["edges"].astype(np.float64), arrays["cuts"].astype(np.float64))


def query_sizes(batch: EventBatch) -> FloatArray:
    """(n,) characters of all texts, plus how many other values an event holds."""
    sizes = np.isfinite(batch.numeric).sum(axis=1).astype(np.float64) if batch.numeric_names else np.zeros(len(batch))
    for column in batch.mixed.values():
        sizes += [len(v) if isinstance(v, str) else v is not None for v in column.tolist()]
    return sizes
