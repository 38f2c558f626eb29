"""What a client's worst look is worth as a p-value."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.extraction.tails import LEAST_UNSHOWN, UNKNOWN, Tail


@pytest.mark.parametrize(("n", "weight"), [(40, 1 / 41), (99, 0.01), (300, LEAST_UNSHOWN), (5_000, LEAST_UNSHOWN)])
def test_new_sorts_of_clients_arrive_however_many_a_reference_shows(n: int, weight: float) -> None:
    rng = np.random.default_rng(n)
    tail = Tail.fit(rng.lognormal(size=n), rng.lognormal(2.0, size=200))
    assert tail.weight == pytest.approx(weight)
    assert tail.log_p(30.0) > np.log(weight) + tail.unshown.log_p(30.0) - 0.1


def test_where_few_are_known_nothing_is_said() -> None:
    assert Tail.fit([1.0, 2.0]) is UNKNOWN
