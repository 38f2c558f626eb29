"""Overdispersion is learned where events hang together, and not from chance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from detectors.batch import EventBatch
from detectors.drift.blocks import fit_source
from detectors.drift.columns import N_BINS, Group, NumericBins, WatchedColumn
from detectors.drift.dispersion import Dispersion

PANE_S = 10.0


def events(values: np.ndarray, per_pane: int) -> EventBatch:
    n, p = values.shape
    return EventBatch(
        model="m",
        version="",
        event_id=np.arange(n).astype(str).astype(object),
        timestamp=(np.arange(n) + 0.5) * PANE_S / per_pane,
        numeric_names=tuple(f"x{i}" for i in range(p)),
        numeric=values,
    )


def autoregressive(rng: np.random.Generator, n: int, p: int, phi: float) -> np.ndarray:
    noise = rng.normal(size=(n + 100, p))
    return np.asarray(lfilter([np.sqrt(1 - phi**2)], [1.0, -phi], noise, axis=0)[100:])


def in_time_of(values: np.ndarray, per_pane: int) -> np.ndarray:
    columns = tuple(
        WatchedColumn(f"x{i}", Group.FEATURE, NumericBins.fit(values[:, i])) for i in range(values.shape[1])
    )
    codes = np.stack([column.bins.code(values[:, i]) for i, column in enumerate(columns)], axis=1)
    counts = np.stack([np.bincount(codes[:, i], minlength=N_BINS) for i in range(len(columns))])
    strata = np.zeros(len(values), dtype=np.int64)
    return Dispersion.measure(columns, counts, codes, strata, events(values, per_pane), PANE_S).in_time


@pytest.mark.parametrize("per_pane", [1, 10])
def test_few_columns_of_independent_events_are_tempered(per_pane: int) -> None:
    """One in a hundred at most; three normal standard errors of few blocks let one in thirty through."""
    rng = np.random.default_rng(1)
    tempered = in_time_of(rng.normal(size=(500, 300)), per_pane) > 1.0
    assert tempered.mean() <= 0.01


@pytest.mark.parametrize("phi", [0.5, 0.8])
def test_columns_that_linger_are_tempered_by_what_their_sums_vary_more(phi: float) -> None:
    """(1 + phi) / (1 - phi) for long blocks: 3 and 9."""
    rng = np.random.default_rng(2)
    found = in_time_of(autoregressive(rng, 4_000, 20, phi), 10) / ((1 + phi) / (1 - phi))
    assert np.median(found) == pytest.approx(1.0, abs=0.5)
    assert np.all(found > 0.5)


def test_joint_blocks_of_independent_events_are_hardly_ever_tempered() -> None:
    tempered = 0
    for seed in range(12):
        values = np.random.default_rng([3, seed]).normal(size=(600, 5))
        tempered += sum(
            block.normals[0].in_time > 1.0 for block in fit_source("features", values, events(values, 1), PANE_S, 0)
        )
    assert tempered <= 2


def test_joint_blocks_of_events_that_linger_are_tempered() -> None:
    values = autoregressive(np.random.default_rng(4), 2_000, 5, 0.5)
    blocks = fit_source("features", values, events(values, 10), PANE_S, 0)
    assert all(block.normals[0].in_time > 1.5 for block in blocks)
