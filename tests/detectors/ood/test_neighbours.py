"""Products whose bits do not depend on where a row lies."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.ood.neighbours import BLOCK, product


@pytest.mark.parametrize(("width", "columns"), [(64, 64), (65, 2_000), (30, 30), (13, 7), (3, 1)])
def test_a_rows_product_has_the_same_bits_wherever_the_row_lies(width: int, columns: int) -> None:
    rng = np.random.default_rng(width)
    rows = rng.normal(size=(BLOCK, width)).astype(np.float32)
    matrix = rng.normal(size=(width, columns)).astype(np.float32)
    whole = product(rows, matrix)
    assert np.allclose(whole, rows @ matrix, rtol=1e-4, atol=1e-4)
    for shift in (1, 3, 8, 50):
        assert np.array_equal(product(np.roll(rows, shift, axis=0), matrix), np.roll(whole, shift, axis=0))
