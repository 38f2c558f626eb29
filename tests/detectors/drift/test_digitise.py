"""The hot loop gives the very bins of a binary search, however rows are cut and columns are mixed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from detectors.drift.columns import (
    INVALID,
    MISSING,
    N_BINS,
    CategoryBins,
    Group,
    NumericBins,
    WatchedColumn,
)
from detectors.drift.digitise import Digitiser, count_groups, count_slices

FLOATS = npst.arrays(np.float64, st.integers(0, 40), elements=st.floats(width=64, allow_subnormal=True))
EDGES = st.lists(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=True), max_size=21, unique=True)


def numeric(name: str, edges: object) -> WatchedColumn:
    return WatchedColumn(name, Group.FEATURE, NumericBins(np.sort(np.array(edges, dtype=np.float64))))


def searched(edges: np.ndarray, values: np.ndarray) -> list[int]:
    codes = np.searchsorted(edges, values, side="right")
    return np.where(np.isnan(values), MISSING, np.where(np.isinf(values), INVALID, codes)).tolist()


@given(st.lists(EDGES, min_size=1, max_size=20), FLOATS, st.data())
@settings(max_examples=200)
def test_bins_are_those_of_a_binary_search(edges: list[list[float]], values: np.ndarray, data: st.DataObject) -> None:
    pool = [edge for column in edges for edge in column]
    if pool and len(values):
        ties = data.draw(st.lists(st.sampled_from(pool), max_size=10))
        with np.errstate(over="ignore"):
            near = [np.nextafter(tie, side) for tie in ties for side in (-np.inf, np.inf)]
        values = np.concatenate([values, ties, near])
    columns = [numeric(f"x{i}", column) for i, column in enumerate(edges)]
    codes = Digitiser.build(columns).codes({column.key: values for column in columns}, len(values))
    for i, column in enumerate(columns):
        assert codes[:, i].tolist() == searched(column.bins.edges, values)
        assert codes[:, i].tolist() == column.bins.code(values).tolist()


def mixed_columns(rng: np.random.Generator, n: int) -> tuple[Digitiser, dict, int]:
    columns, values = [], {}
    for i in range(40):
        if i % 7 == 3:
            column = WatchedColumn(f"c{i}", Group.FEATURE, CategoryBins(("a", "b"), frozenset({"c"})))
            values[column.key] = rng.choice(np.array(["a", "b", "c", "d", None], dtype=object), size=n)
        else:
            column = numeric(f"x{i}", rng.normal(size=i % 22))
            values[column.key] = np.where(rng.random(n) < 0.02, np.nan, rng.standard_cauchy(size=n))
        columns.append(column)
    return Digitiser.build(columns), values, n


def test_bins_do_not_depend_on_how_rows_are_cut() -> None:
    digitiser, values, n = mixed_columns(np.random.default_rng(0), 5_000)
    whole = digitiser.codes(values, n)
    assert (whole.shape, whole.dtype) == ((n, 40), np.uint8)
    for i, column in enumerate(digitiser.columns):
        assert np.array_equal(whole[:, i], column.bins.code(values[column.key]))
    cuts = [0, 1, 2, 2_047, 2_048, 2_049, 4_999, n]
    parts = [digitiser.codes({key: column[a:b] for key, column in values.items()}, b - a) for a, b in pairwise(cuts)]
    assert np.array_equal(np.concatenate(parts), whole)


def test_slices_are_counted_apart_and_add_up() -> None:
    rng = np.random.default_rng(1)
    digitiser, values, n = mixed_columns(rng, 9_000)
    codes, mask = digitiser.codes(values, n), rng.random(n) < 0.7
    starts = np.array([0, 0, 10, 11, 8_000])
    counts = count_slices(codes, starts, mask)
    for count, a, b in zip(counts, starts, [*starts[1:], n], strict=True):
        rows = codes[a:b][mask[a:b]]
        expected = [np.bincount(rows[:, c], minlength=N_BINS) for c in range(40)]
        assert (count.dtype, count.tolist()) == (np.int64, np.stack(expected).tolist())
    assert np.array_equal(sum(counts), count_slices(codes, np.array([0]), mask)[0])
    assert np.array_equal(sum(count_slices(codes, starts)), count_slices(codes, np.array([0]), np.ones(n, bool))[0])


def test_groups_are_counted_from_the_same_codes() -> None:
    rng = np.random.default_rng(2)
    digitiser, values, n = mixed_columns(rng, 3_000)
    codes, group = digitiser.codes(values, n), rng.integers(-1, 4, size=n)
    counts = count_groups(codes, group, 6)
    assert counts.shape == (6, 40, N_BINS)
    for g in range(6):
        assert np.array_equal(counts[g], count_slices(codes, np.array([0]), group == g)[0])
    assert count_groups(codes, group, 0).shape == (0, 40, N_BINS)


def test_no_rows_and_no_columns_count_to_nothing() -> None:
    digitiser, values, _ = mixed_columns(np.random.default_rng(3), 0)
    assert count_slices(digitiser.codes(values, 0), np.array([0]))[0].sum() == 0
    empty = Digitiser.build([]).codes({}, 7)
    assert empty.shape == (7, 0)
    assert count_slices(empty, np.array([0, 3]))[1].shape == (0, N_BINS)
