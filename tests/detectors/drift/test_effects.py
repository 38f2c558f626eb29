"""Effect sizes against values computed another way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from detectors.drift.effects import (
    jensen_shannon_distance,
    listed_by_e_bh,
    population_stability_index,
    share_moved,
    wasserstein_sd,
)

BEFORE = np.array([0.1, 0.4, 0.3, 0.2])
AFTER = np.array([0.2, 0.2, 0.3, 0.3])


def test_the_jensen_shannon_distance_agrees_with_scipy() -> None:
    assert jensen_shannon_distance(BEFORE, AFTER) == pytest.approx(jensenshannon(BEFORE, AFTER, base=2))
    assert jensen_shannon_distance(BEFORE, BEFORE) == 0.0
    assert jensen_shannon_distance(np.array([1.0 - 1e-12, 1e-12]), np.array([1e-12, 1.0 - 1e-12])) == pytest.approx(1.0)


def test_the_population_stability_index_of_a_known_pair() -> None:
    assert population_stability_index(BEFORE, AFTER) == pytest.approx(
        0.1 * np.log(2) - 0.2 * np.log(0.5) + 0.1 * np.log(1.5)
    )


def test_the_share_moved_is_total_variation_for_many_events() -> None:
    assert share_moved(BEFORE, AFTER, 10**9) == pytest.approx(0.2, abs=1e-3)
    assert share_moved(BEFORE, BEFORE, 100) == 0.0


def test_a_move_by_one_sd_is_a_wasserstein_distance_of_about_one() -> None:
    edges = np.linspace(-3, 3, 61)
    middles = np.concatenate([edges[:1], (edges[:-1] + edges[1:]) / 2, edges[-1:]])
    density = np.exp(-0.5 * middles**2)
    moved = np.exp(-0.5 * (middles - 0.5) ** 2)
    assert wasserstein_sd(density / density.sum(), moved / moved.sum(), edges) == pytest.approx(0.5, abs=0.03)


def test_e_bh_lists_what_its_rule_says() -> None:
    """m = 4 at 10 %: the k largest are listed while the k-th is at least 40 / k."""
    assert listed_by_e_bh(np.log([50.0, 1.0, 21.0, 0.5]), 0.1) == [0, 2]
    assert listed_by_e_bh(np.log([39.0, 1.0, 1.0, 0.5]), 0.1) == []
    assert listed_by_e_bh(np.log([15.0, 14.0, 13.5, 0.5]), 0.1) == [0, 1, 2]
