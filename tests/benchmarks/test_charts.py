"""The oracles of the delay grid are the textbook's: their run lengths are those of its tables."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.drift.charts import cusum_arl, cusum_path, ewma_arl, ewma_path, one_sided


@pytest.mark.parametrize(("shift", "published"), [(0.0, 465.0), (0.25, 139.0), (0.5, 38.0), (1.0, 10.4), (2.0, 4.01)])
def test_the_cusum_has_the_published_run_length(shift: float, published: float) -> None:
    """Two-sided CUSUM, h = 5, k = 1/2: Montgomery, Statistical Quality Control, table of Lucas (1976)."""
    assert cusum_arl(5.0, 0.5, shift) == pytest.approx(published, rel=0.005)


@pytest.mark.parametrize(("shift", "published"), [(0.0, 500.0), (0.25, 106.0), (0.5, 31.3), (1.0, 10.3), (2.0, 4.4)])
def test_the_ewma_has_the_published_run_length(shift: float, published: float) -> None:
    """EWMA, weight 0.1, limits at 2.814: Lucas and Saccucci (1990), to the digits that they print."""
    assert ewma_arl(2.814, 0.1, shift) == pytest.approx(published, rel=0.01)


def test_run_lengths_do_not_depend_on_the_grid() -> None:
    assert cusum_arl(5.0, 0.5, 0.25, cells=120) == pytest.approx(cusum_arl(5.0, 0.5, 0.25, cells=500), rel=1e-3)
    assert ewma_arl(2.814, 0.1, 0.25, cells=121) == pytest.approx(ewma_arl(2.814, 0.1, 0.25, cells=501), rel=1e-3)


@pytest.mark.parametrize("shift", [0.5, 1.0])
def test_simulated_charts_agree_with_the_chain(shift: float) -> None:
    """What the benchmark runs is the chart whose run length is computed: equal within four standard errors."""
    rng = np.random.default_rng(3)
    cusum, ewma = [], []
    for _ in range(600):
        values = rng.normal(size=600) + shift
        cusum.append(_crossing(cusum_path(values, 0.5), 5.0))
        ewma.append(_crossing(ewma_path(values, 0.1), 2.814))
    for lengths, exact in ((cusum, cusum_arl(5.0, 0.5, shift)), (ewma, ewma_arl(2.814, 0.1, shift))):
        assert abs(np.mean(lengths) - exact) < 4 * np.std(lengths) / np.sqrt(len(lengths))


def test_the_cumulative_sum_is_reset_at_zero() -> None:
    gains = np.array([1.0, -3.0, 2.0, 0.5, -1.0, -9.0, 4.0])
    sums, expected = 0.0, []
    for gain in gains:
        sums = max(0.0, sums + gain)
        expected.append(sums)
    assert one_sided(gains).tolist() == expected


def _crossing(path: np.ndarray, line: float) -> int:
    above = np.flatnonzero(path >= line)
    assert above.size, "the stream is long enough to be found"
    return int(above[0]) + 1
