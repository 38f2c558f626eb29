"""Details are read as far as they make sense, and never raise."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plotly.utils import PlotlyJSONEncoder

from dashboard.components import evidence
from dashboard.detail import Detail, Interval, read_detail
from dashboard.theme import Scheme
from detectors.abuse import words as abuse_words
from detectors.abuse.layout import WIDTH
from detectors.abuse.words import Facts as AbuseFacts
from detectors.privacy import words as privacy_words
from detectors.privacy.words import Facts as PrivacyFacts

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
    "exposure",
    "exposures",
    "coverage",
    "tempo",
    "actions",
    "agreement",
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
    assert theft.exposure is not None
    assert (theft.exposure.usual, theft.exposure.agreement, theft.exposure.ceiling) == (0.41, 0.84, 0.97)
    assert "94 regions" in theft.coverage
    assert [(item.client, item.peers) for item in theft.tempo] == [(0.61, 0.09), (0.3, None)]
    assert [item.id for item in theft.actions] == ["AML.M0004"]
    assert (len(theft.techniques), len(theft.benign_explanations)) == (3, 3)


def test_a_walk_along_the_answers_has_a_picture_of_its_steps_and_words_for_its_moves(fakes):
    walk = read_detail(fakes.EVASION)
    assert [item.title for item in walk.comparisons] == [fakes.EVASION["histograms"][0]["title"]]
    assert walk.coordinates[1].peers is None
    shown = json.dumps(
        [part.to_plotly_json() for part in (*evidence.pictures(walk, "light"), *evidence.context(walk))],
        cls=PlotlyJSONEncoder,
    )
    for words in ("Follows falling confidence", "(55 of 60)", "Direction of each step", "AML.T0043.001", "robustness"):
        assert words in shown, words


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


def abuse_facts() -> AbuseFacts:
    rng = np.random.default_rng(0)
    return AbuseFacts(
        evidence=np.array([2.0, 9.0, -np.inf, 1.0, 0.5, 12.0]),
        share=np.array([0.4, 0.3, 0.0, 0.6, 0.1]),
        n=np.full(5, 80.0),
        expected=np.full(5, 0.05),
        sums=rng.integers(1, 9, WIDTH).astype(np.float64),
        today=np.array([50.0, 400.0, 9_000.0]),
        usual=np.array([0.5, 20.0, 90.0]),
        widths=np.array([10.0, 3_600.0, 86_400.0]),
        window=2,
        hours=24,
        rise=np.zeros(3),
        alone=False,
    )


@pytest.mark.parametrize("head", range(6))
def test_what_abuse_writes_is_shown(head: int) -> None:
    facts = abuse_facts()
    detail = read_detail(abuse_words.detail(head, facts, "40 clients in the reference"))
    assert detail.family == abuse_words.misuse_of(head).value
    assert detail.heads[0].title == "volume"
    assert len(detail.heads) == 5
    shown = str(evidence.pictures(detail, Scheme.LIGHT)) + str(evidence.context(detail))
    for words in ("What speaks against an honest client", "active in 24 of 24 hours", "9,000 events in its day so far"):
        assert words in shown
    assert all(item.id in shown for item in detail.techniques)
    assert all(item[1:] in shown for item in detail.benign_explanations)


def test_what_privacy_writes_is_shown() -> None:
    records = np.zeros(16)
    records[3] = 40.0
    facts = PrivacyFacts(np.array([9.0, 1.0]), np.array([0.4, 0.1]), np.full(2, 80.0), np.full(2, 0.01), records, False)
    detail = read_detail(privacy_words.detail(facts, "40 clients in the reference, 1,000 training rows"))
    shown = str(evidence.pictures(detail, Scheme.LIGHT)) + str(evidence.context(detail))
    for words in ("100 % of its hits are around one record", "Training rows", "AML.T0024.000", "ML04:2023"):
        assert words in shown
