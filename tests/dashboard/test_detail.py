"""Details are read as far as they make sense, and never raise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.components import evidence
from dashboard.detail import Detail, Interval, read_detail
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
    "cohort",
    "segments",
    "pairs",
    "checks",
    "metrics",
    "confusion",
    "e_value_log10",
    "listed",
    "estimated",
    "estimated_low",
    "explains",
    "counts",
    "id",
    "words",
    "unit",
    "expected",
    "strange_columns",
    "strange_segments",
    "inputs_missing",
    "because",
    "n_one_by_one",
    "share",
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


def test_drift_says_by_how_much_and_who(fakes):
    detail = read_detail(fakes.DRIFT)
    income, plan = detail.columns[:2]
    assert (income.js, income.wasserstein_sd, income.e_value_log10, income.listed) == (0.27, 0.86, 8.4, True)
    assert (plan.wasserstein_sd, detail.columns[3].listed) == (None, False)
    assert detail.cohort is not None
    assert (detail.cohort.type, detail.cohort.id, detail.cohort.explains) == ("client", "batch-backfill", 0.83)
    assert (detail.segments[0].name, detail.segments[0].n_events) == ("region=north", 9_871)


def test_quality_and_performance_are_read_whole(fakes):
    checks, performance = read_detail(fakes.QUALITY).checks, read_detail(fakes.PERFORMANCE)
    assert (checks[0].expected, checks[0].current, checks[3].expected) == (0.006, 0.184, "integer")
    accuracy, auc, recall, _ = performance.metrics
    assert accuracy.measured == Interval(0.803, 0.776, 0.828)
    assert (auc.measured, auc.n_labels, recall.estimated) == (None, None, None)
    assert performance.confusion is not None
    assert performance.confusion.counts[1] == (38.0, 52.0, 28.0)


@pytest.mark.parametrize(
    "confusion",
    [
        {"labels": ["a", "b"], "counts": [[1, 2]]},
        {"labels": ["a", "b"], "counts": [[1, 2], [3]]},
        {"labels": ["a"], "counts": [[-1]]},
        {"labels": [], "counts": []},
        [[1, 2], [3, 4]],
    ],
)
def test_a_confusion_that_is_no_square_of_counts_is_left_out(confusion):
    assert read_detail({"confusion": confusion}).confusion is None


def test_limits_lie_around_their_value_and_shares_between_0_and_1():
    metric = read_detail({"metrics": [{"name": "m", "estimated": 0.4, "estimated_low": 0.9}]}).metrics[0]
    assert metric.estimated == Interval(0.4, 0.4, 0.4)
    cohort = read_detail({"cohort": {"id": "a", "explains": 7, "share_of_events": -1}}).cohort
    assert (cohort.explains, cohort.share_of_events) == (None, None)


def test_a_cohort_that_names_nobody_is_left_out():
    assert read_detail({"cohort": {"type": "client", "explains": 0.5}}).cohort is None


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
