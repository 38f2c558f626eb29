"""The distance of whole panes: the reference's own panes and later ones fall into the same bins."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.drift.columns import N_BINS
from detectors.drift.variation import counted, distance, fit_variation, reference_masses, variation_column


@pytest.mark.parametrize(("n_columns", "per_pane"), [(1, 10), (1, 50), (8, 20)])
def test_later_panes_fall_into_the_bins_as_the_references_own_did(n_columns: int, per_pane: int) -> None:
    """With one column and ten events there are some ten distances, each told from itself by one pane in 2,000."""
    rng = np.random.default_rng(1)
    n_panes, share = 2_000, np.full(20, 0.05)
    drawn = rng.multinomial(per_pane, share, size=(2 * n_panes, n_columns))
    panes = np.concatenate([drawn, np.zeros((*drawn.shape[:2], N_BINS - 20), dtype=np.int64)], axis=2)
    own, later = panes[:n_panes], panes[n_panes:]
    codes = np.stack(
        [np.concatenate([np.repeat(np.arange(N_BINS), pane[c]) for pane in own]) for c in range(n_columns)], axis=1
    ).astype(np.uint8)
    counts = own.sum(axis=0)[None]
    found = fit_variation(codes, np.repeat(np.arange(n_panes), per_pane), np.zeros(n_panes, dtype=np.int64), counts)
    assert found is not None
    column = variation_column(found[0])
    masses = reference_masses(counts)[0]
    reference = counted(column, found[0]) / n_panes
    now = counted(column, np.array([distance(pane, masses) for pane in later])) / n_panes
    error = np.sqrt(2 * np.maximum(reference, 2 / n_panes) / n_panes)
    assert np.all(np.abs(now - reference) <= 4.5 * error)
    assert np.count_nonzero(reference) >= 5, "bins are left to tell panes apart"
