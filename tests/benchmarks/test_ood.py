"""The peers of the benchmark are what their papers say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import skew
from sklearn.preprocessing import StandardScaler

from tests.benchmarks.ood import Task, _ecod, _plain


def test_ecod_is_the_largest_of_three_sums_of_log_tails() -> None:
    """Counted row by row, as the paper writes it, over reference and the row itself."""
    rng = np.random.default_rng(0)
    reference = np.c_[rng.normal(size=60), rng.lognormal(size=60), -rng.lognormal(size=60)]
    live = np.r_[rng.normal(size=(5, 3)), [[9.0, -9.0, 9.0]]]
    task = Task("t", _plain(reference), _plain(live[:3]), _plain(live[3:]))
    scaler = StandardScaler().fit(reference)
    known, rows = scaler.transform(reference), scaler.transform(live)
    expected = []
    for row in rows:
        left = [-np.log((1 + sum(known[:, j] <= row[j])) / 61) for j in range(3)]
        right = [-np.log((1 + sum(known[:, j] >= row[j])) / 61) for j in range(3)]
        auto = [left[j] if skew(known[:, j]) < 0 else right[j] for j in range(3)]
        expected.append(max(sum(left), sum(right), sum(auto)))
    assert _ecod(task, 0) == pytest.approx(expected)
