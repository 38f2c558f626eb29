"""Whatever comes from outside is made fit for both databases, for JSON and for an index."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.alerting.storable import derived_id, storable_detail, storable_id, storable_text

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=400)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(ANY_TEXT, inner, max_size=6),
    max_leaves=40,
)


@given(st.lists(ANY_TEXT, max_size=4), st.lists(ANY_TEXT, max_size=4))
def test_ids_of_different_parts_differ(one: list[str], two: list[str]) -> None:
    assert (derived_id(*one) == derived_id(*two)) == (one == two)
    assert len(derived_id(*one)) == 32


def test_an_id_is_the_same_in_every_process() -> None:
    assert derived_id("alert", "m", 1) == hashlib.sha256(b"5:alert1:m1:1").hexdigest()[:32]


@given(ANY_TEXT, st.integers(2, 50))
def test_text_is_clean_and_cut(text: str, longest: int) -> None:
    clean = storable_text(text, longest)
    assert len(clean) <= longest
    assert "\x00" not in clean
    clean.encode("utf-8")


@given(ANY_TEXT, ANY_TEXT)
def test_long_or_unclean_ids_stay_distinct_and_ordinary_ones_unchanged(one: str, two: str) -> None:
    long_one, long_two = one + "x" * 300, two + "x" * 300
    assert (storable_id(long_one) == storable_id(long_two)) == (one == two)
    assert len(storable_id(long_one)) <= 256
    assert storable_id("acme-7/é") == "acme-7/é"


@pytest.mark.slow
@given(st.dictionaries(ANY_TEXT, ANY_JSON, max_size=6), st.integers(0, 30))
def test_detail_is_strict_json_of_bounded_size(detail: dict[str, object], most: int) -> None:
    kept = storable_detail(detail, most)
    text = json.dumps(kept, allow_nan=False)
    assert "\\u0000" not in text
    text.encode("utf-8")
    assert len(text) <= (most + 1) * 4_000
    assert storable_detail(kept, most) == kept


def test_what_is_left_out_is_said() -> None:
    assert storable_detail({"n": list(range(5_000))}) == {"n": list(range(200)), "truncated": True}
    assert storable_detail({"a": 1, "b": [1, 2, 3]}, 3) == {"a": 1, "truncated": True}
    assert storable_detail({"deep": [[[[[[1]]]]]]}) == {"deep": [[[[[[]]]]]], "truncated": True}


def test_lists_side_by_side_are_cut_alike() -> None:
    column = {"labels": [str(i) for i in range(900)], "reference": [0.5] * 900, "current": [0.25] * 900}
    kept = storable_detail({"columns": [column]})
    assert {name: len(values) for name, values in kept["columns"][0].items()} == dict.fromkeys(column, 200)
    assert kept["truncated"] is True


def test_histograms_go_first_and_whole_then_the_largest_part() -> None:
    column = {"name": "amount", "labels": ["a", "b"], "reference": [0.5, 0.5], "current": [0.1, 0.9]}
    detail = {"n": 7, "columns": [column] * 5, "words": ["x"] * 20}
    assert storable_detail(detail, 78) == detail
    without = {"n": 7, "columns": [{"name": "amount"}] * 5, "words": ["x"] * 20, "truncated": True}
    assert storable_detail(detail, 77) == storable_detail(detail, 33) == without
    assert storable_detail(detail, 30) == {"n": 7, "columns": [{"name": "amount"}] * 5, "truncated": True}
    assert storable_detail(detail, 1) == {"n": 7, "truncated": True}


def test_a_part_far_too_large_takes_no_other_part_with_it() -> None:
    huge = [[[0] * 200] * 200] * 200
    assert storable_detail({"n": 7, "why": ["a", "b"], "huge": huge}) == {"n": 7, "why": ["a", "b"], "truncated": True}


def test_ordinary_detail_is_kept_as_it_is() -> None:
    detail = {"top": [{"column": "amount", "effect": 0.25, "n": 3, "rising": True, "note": None}]}
    assert storable_detail(detail) == detail


def test_arrays_of_numpy_become_lists() -> None:
    detail = {"counts": np.arange(3), "mean": np.float64(0.5), "n": np.int64(7), "flag": np.bool_(True)}
    assert storable_detail(detail) == {"counts": [0, 1, 2], "mean": 0.5, "n": 7, "flag": True}
