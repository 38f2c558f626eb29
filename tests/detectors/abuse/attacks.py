"""Attackers for the world: each from second ``start`` on, as events of one client."""

from __future__ import annotations

import numpy as np

from detectors.batch import EventBatch
from tests.detectors.abuse.worlds import CLASSES, N_FEATURES, batch


def sponge(client: str, start: float, n: int, share: float, seed: int = 0) -> EventBatch:
    """Ordinary-looking queries, a minute apart, of which a share takes eight times as long."""
    rng = np.random.default_rng(seed)
    latency = 10.0 * np.exp(rng.normal(scale=0.4, size=n)) * np.where(rng.random(n) < share, 8.0, 1.0)
    return batch(start + 60.0 * np.arange(n), client, rng.normal(size=(n, N_FEATURES)), rng, latency=latency)


def flood(client: str, start: float, n: int, seconds: float, seed: int = 0) -> EventBatch:
    """``n`` ordinary queries within some seconds."""
    rng = np.random.default_rng(seed)
    return batch(np.sort(start + rng.uniform(0, seconds, n)), client, rng.normal(size=(n, N_FEATURES)), rng)


def fuzz(client: str, start: float, n: int, share: float, seed: int = 0) -> EventBatch:
    """Queries of which a share holds missing, huge, infinite or liked numbers in some column."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, N_FEATURES))
    tried = np.array([np.nan, 1e9, np.inf, 255.0, -1.0, 0.0])
    for i in np.flatnonzero(rng.random(n) < share):
        values[i, rng.integers(N_FEATURES)] = rng.choice(tried)
    return batch(start + 60.0 * np.arange(n), client, values, rng)


def broken(client: str, start: float, n: int, seed: int = 0) -> EventBatch:
    """An honest client whose release lost one column."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, N_FEATURES))
    values[:, 2] = np.nan
    return batch(start + 60.0 * np.arange(n), client, values, rng)


def sweep(client: str, start: float, n: int, seed: int = 0) -> EventBatch:
    """One feature after the other is moved in steps of its own, all others held."""
    rng = np.random.default_rng(seed)
    values = np.tile(rng.normal(size=N_FEATURES), (n, 1))
    for i in range(n):
        values[i, i // 10 % N_FEATURES] = -2.0 + 0.4 * (i % 10) + 1e-3
    region = np.full(n, "north", dtype=object)
    return batch(start + 60.0 * np.arange(n), client, values, rng, region=region)


def enumerate_classes(client: str, start: float, n: int, seed: int = 0) -> EventBatch:
    """Queries that are answered with every class equally often."""
    rng = np.random.default_rng(seed)
    even = np.arange(1, len(CLASSES) + 1) ** 1.8
    return batch(start + 60.0 * np.arange(n), client, rng.normal(size=(n, N_FEATURES)), rng, tilt=even)
