"""Two heads together, among honest clients that are odd to both."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.extraction.agreement import at_once, both, together
from detectors.extraction.tails import Heard

ODD = 0.03


def honest(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n, 2) p-values: the oddest clients are odd to both heads, which are independent among them and among others."""
    odd = rng.random(n) < ODD
    return np.where(odd[:, None], rng.uniform(0.0, ODD, (n, 2)), rng.uniform(ODD, 1.0, (n, 2)))


def test_clients_that_are_odd_to_both_heads_are_as_rare_as_they_say() -> None:
    log_p = np.log(honest(400_000, np.random.default_rng(1)))
    found = np.array([both(a, b, ODD) for a, b in log_p[(log_p < np.log(ODD)).all(axis=1)]])
    for level in (1e-2, 1e-3, 1e-4):
        assert (found <= np.log(level)).sum() <= 1.1 * level * len(log_p) + 3.0 * np.sqrt(level * len(log_p))


def test_a_head_that_sees_nothing_odd_does_not_agree_however_sure_the_other_is() -> None:
    assert both(-9.0, -1.0, ODD) == both(-1.0, -40.0, ODD) == 0.0


def test_two_heads_that_are_sure_are_surer_than_one() -> None:
    assert both(-9.0, -9.0, ODD) < -9.0
    assert both(-20.0, -9.0, ODD) == pytest.approx(both(-9.0, -20.0, ODD))


def test_what_explains_one_head_of_a_newcomer_leaves_no_more_than_how_rare_newcomers_are() -> None:
    far, explained = Heard(-40.0, -6.0, 0.01), Heard(-40.0, -0.5, 0.01)
    assert together(far, explained) == together(explained, explained) == pytest.approx(np.log(0.01))
    assert together(far, far) < np.log(0.01) - 6.0


def test_a_newcomer_that_is_odd_for_one_reason_is_no_rarer_than_the_less_sure_head_says() -> None:
    far, near = Heard(-40.0, -6.0, 0.01), Heard(-40.0, -3.0, 0.01)
    assert at_once(far, near) == pytest.approx(np.log(0.01) - 3.0, abs=1e-6)
    assert at_once(far, near) > together(far, near)
    shown = Heard(-12.0, -12.0, 0.0)
    assert at_once(shown, shown) == together(shown, shown)
