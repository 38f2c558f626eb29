"""Details are read as far as they make sense, and never raise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dashboard.components import evidence
from dashboard.detail import Detail, read_detail
from dashboard.theme import Scheme

KEYS = (
    "columns",
    "n_events",
    "share_strange",
    "p_bins",
    "reference",
    "current",
    "clients",
    "strangest",
    "heads",
    "coordinates",
    "classes",
    "histograms",
    "techniques",
    "benign_explanations",
    "family",
)
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from((*KEYS, "labels", "name")), inner),
    max_leaves=12,
)


def test_an_empty_detail_is_empty():
    assert read_detail({}) == Detail()


def test_each_detector_s_detail_is_read_whole(fakes):
    drift, ood, theft = (read_detail(raw) for raw in (fakes.DRIFT, fakes.OOD, fakes.EXTRACTION))
    assert [column.name for column in drift.columns] == ["income", "plan", "probabilities[approve]", "region"]
    assert drift.columns[0].comparison is not None
    assert ood.comparisons[0].labels[0] == "<0.0005"
    assert (ood.share_strange, ood.clients[0].n_strange) == (0.124, 702)
    assert theft.heads[0].log10_evidence == 8.1
    assert [item.title for item in theft.comparisons] == ["Classes asked for", "Margin between the two best classes"]
    assert (len(theft.techniques), len(theft.benign_explanations)) == (3, 3)


def test_a_picture_whose_lists_differ_in_length_is_left_out():
    detail = read_detail({"columns": [{"name": "a", "labels": ["x", "y"], "reference": [1], "current": [0, 1]}]})
    assert detail.columns[0].comparison is None


def test_long_lists_are_cut():
    assert len(read_detail({"columns": [{"name": str(i)} for i in range(1_000)]}).columns) == 50


@given(st.dictionaries(st.sampled_from(KEYS), json_values))
def test_any_json_makes_a_page(raw):
    detail = read_detail(raw)
    assert isinstance(evidence.pictures(detail, Scheme.LIGHT), list)
    assert isinstance(evidence.context(detail), list)
