"""Bins of single columns: where cuts fall, what is unseen, and what the reference says of its own values."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.drift.columns import (
    HEAVY,
    INNER,
    INVALID,
    MISSING,
    N_BINS,
    OTHER,
    UNSEEN,
    CategoryBins,
    Group,
    NumericBins,
    WatchedColumn,
    kept_whole,
)

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def objects(values: object) -> np.ndarray:
    listed = list(values)  # type: ignore[call-overload]
    out = np.empty(len(listed), dtype=object)
    out[:] = listed
    return out


@given(st.lists(FINITE, min_size=1, max_size=60))
def test_the_reference_never_falls_outside_its_own_bins(values: list[float]) -> None:
    reference = np.array(values)
    bins = NumericBins.fit(reference)
    edges = bins.edges
    assert np.isfinite(edges).all()
    assert np.all(edges[1:] > edges[:-1])
    assert bins.n_inner <= INNER
    largest = np.finfo(np.float64).max
    inside = bins.code(reference[np.abs(reference) < largest])
    assert np.all((inside >= 1) & (inside <= bins.n_inner - 2))


@given(st.lists(FINITE, min_size=1, max_size=HEAVY, unique=True))
def test_few_distinct_values_have_a_bin_each(values: list[float]) -> None:
    distinct = np.unique(values)
    distinct = distinct[np.abs(distinct) < np.finfo(np.float64).max]
    bins = NumericBins.fit(np.repeat(distinct, 3))
    if distinct.size:
        assert bins.code(distinct).tolist() == list(range(1, distinct.size + 1))
        assert len(bins.labels()) == distinct.size + 2


def test_values_beyond_the_reference_fall_into_the_outer_bins() -> None:
    bins = NumericBins.fit(np.random.default_rng(0).normal(size=5_000))
    assert bins.code(np.array([-1e300, 1e300, np.nan, np.inf, -np.inf])).tolist() == [
        0,
        bins.n_inner - 1,
        MISSING,
        INVALID,
        INVALID,
    ]
    counts = np.bincount(bins.code(np.random.default_rng(1).normal(size=100_000)), minlength=N_BINS)
    assert counts[[0, bins.n_inner - 1]].sum() < 200
    assert np.all(np.abs(counts[1 : bins.n_inner - 1] / 100_000 - 0.05) < 0.015)


def test_a_constant_column_tells_any_other_value_apart() -> None:
    bins = NumericBins.fit(np.full(100, 3.0))
    assert bins.code(np.array([3.0, 2.999, 3.001])).tolist() == [1, 0, 2]
    assert bins.labels() == ["< 3", "3", "> 3"]


def test_a_column_without_a_finite_value_has_one_bin() -> None:
    bins = NumericBins.fit(np.array([np.nan, np.inf]))
    assert bins.labels() == ["any"]
    assert bins.code(np.array([0.0, np.nan])).tolist() == [0, MISSING]


def test_categories_are_heavy_other_unseen_missing_or_invalid() -> None:
    values = objects([f"v{i:02d}" for i in range(25) for _ in range(30 - i)])
    bins = CategoryBins.fit(values)
    assert bins.heavy == tuple(f"v{i:02d}" for i in range(HEAVY))
    live = objects(["v00", "v19", "v20", "v24", "v25", "", None, np.inf])
    assert bins.code(live).tolist() == [0, 19, OTHER, OTHER, UNSEEN, UNSEEN, MISSING, INVALID]


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=40))
def test_a_value_left_out_is_unseen_exactly_when_no_other_event_has_it(values: list[str]) -> None:
    bins = CategoryBins.fit(objects(values))
    counts = Counter(values)
    for value, code in zip(values, bins.code_left_out(objects(values)), strict=True):
        assert (code == UNSEEN) == (counts[value] == 1)
        assert code in (UNSEEN, bins.heavy.index(value))


@pytest.mark.parametrize(("n", "exponent"), [(500, 1.0), (5_000, 1.0), (20_000, 1.0), (20_000, 0.5)])
def test_the_reference_foretells_the_share_of_unseen_categories(n: int, exponent: float) -> None:
    """10,000 categories, more than are kept: without leaving out, the reference's own share would be far too small."""
    share = np.arange(1, 10_001) ** -exponent
    names, share = objects(f"v{i}" for i in range(10_000)), share / share.sum()
    told, met, naive = [], [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        reference, live = (rng.choice(names, size=size, p=share) for size in (n, 20_000))
        bins = CategoryBins.fit(reference)
        told.append(np.mean(bins.code_left_out(reference) == UNSEEN))
        naive.append(np.mean(bins.code(reference) == UNSEEN))
        met.append(np.mean(bins.code(live) == UNSEEN))
    spread = np.sqrt(0.25 / n / 6) + np.sqrt(0.25 / 20_000 / 6)
    assert np.mean(told) == pytest.approx(np.mean(met), abs=3 * spread)
    assert np.mean(naive) < np.mean(met) - 0.05


def test_what_is_kept_is_bounded_and_never_part_of_equals() -> None:
    counts = {"a": 9, "b": 5, "c": 5, "d": 5, "e": 1}
    ranked = list("abcde")
    assert kept_whole(ranked, counts, 5) == ranked
    assert kept_whole(ranked, counts, 4) == ["a", "b", "c", "d"]
    assert kept_whole(ranked, counts, 3) == ["a"]
    many = CategoryBins.fit(objects(f"v{i}" for i in range(9_000)))
    assert len(many.heavy) + len(many.rare) <= 2_020


@pytest.mark.parametrize(
    "bins",
    [
        NumericBins.fit(np.random.default_rng(0).normal(size=500)),
        NumericBins.fit(np.array([0.0, 1.0, 1.0])),
        NumericBins.fit(np.array([np.finfo(np.float64).max, -np.finfo(np.float64).max])),
        CategoryBins.fit(objects(f"v{min(i, 90)}" for i in range(100))),
    ],
)
def test_a_column_survives_json(bins: NumericBins | CategoryBins) -> None:
    column = WatchedColumn("x", Group.FEATURE, bins)
    again = WatchedColumn.from_json(json.loads(json.dumps(column.to_json(), allow_nan=False)))
    assert (again.key, again.role, again.labels()) == (column.key, column.role, column.labels())
    assert len(column.labels()) == N_BINS
    if isinstance(bins, NumericBins):
        assert isinstance(again.bins, NumericBins)
        assert again.bins.edges.tolist() == bins.edges.tolist()
    else:
        assert again.bins == bins


def test_a_value_left_out_is_heavy_other_or_unseen_as_the_others_alone_would_have_it() -> None:
    """By fitting bins to all the others, for each of 200 events of a long tail; ties at the list's end included."""
    rng = np.random.default_rng(3)
    weight = 1 / np.arange(1, 301)
    values = objects([f"v{i}" for i in rng.choice(300, size=200, p=weight / weight.sum())])
    codes = CategoryBins.fit(values).code_left_out(values)
    for i, code in enumerate(codes):
        (alone,) = CategoryBins.fit(np.delete(values, i)).code(values[i : i + 1])
        assert (code if code >= OTHER else "heavy") == (alone if alone >= OTHER else "heavy"), values[i]
