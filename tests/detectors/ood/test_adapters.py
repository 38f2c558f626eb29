"""Detectors of other libraries as own scores: the right sign, missing as missing, and never taught by being asked."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from river.anomaly import HalfSpaceTrees
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from detectors.base import Part
from detectors.batch import EventBatch
from detectors.ood.adapters import Strange, from_decision_function, from_river, rows_of
from detectors.ood.inputs import OWN
from detectors.ood.scorer import Basis, OodScorer
from detectors.schema import infer_schema

COLUMNS = ("x", "y", "z")


class PyodStyleKnn:
    """The shape of a PyOD detector: fitted in place, ``decision_function`` high for outliers."""

    def fit(self, rows: np.ndarray) -> PyodStyleKnn:
        self._neighbours = NearestNeighbors(n_neighbors=5).fit(rows)
        return self

    def decision_function(self, rows: np.ndarray) -> np.ndarray:
        return self._neighbours.kneighbors(rows)[0].max(axis=1)


def events(n: int, seed: int, shift: float = 0.0) -> EventBatch:
    rng = np.random.default_rng(seed)
    ids = np.array([f"e{i}" for i in range(n)], dtype=object)
    rows = rng.normal(size=(n, 3)) + shift
    return EventBatch("m", "", ids, np.arange(n, dtype=float), numeric_names=("z", "x", "y"), numeric=rows)


def rows(batch: EventBatch) -> np.ndarray:
    return batch.numeric[:, [1, 2, 0]]


@pytest.mark.parametrize(
    ("model", "strange"),
    [(PyodStyleKnn(), Strange.HIGH), (IsolationForest(random_state=0, n_estimators=50), Strange.LOW)],
    ids=["PyOD", "scikit-learn"],
)
def test_the_strange_end_comes_out_high(model, strange) -> None:
    score = from_decision_function(model.fit(rows(events(500, 1))), COLUMNS, strange)
    assert score(events(100, 2, shift=5.0)).mean() > score(events(100, 3)).mean() + 0.1


def test_columns_are_found_by_name_and_gaps_are_missing() -> None:
    model = PyodStyleKnn().fit(rows(events(300, 1)))
    batch = events(20, 2)
    batch.numeric[3, 0] = np.nan
    batch.numeric[4, 1] = np.inf
    got = from_decision_function(model, COLUMNS, Strange.HIGH)(batch)
    assert np.flatnonzero(np.isnan(got)).tolist() == [3, 4]
    keep = ~np.isnan(got)
    assert got[keep] == pytest.approx(model.decision_function(rows(batch)[keep]))


def test_a_river_detector_is_asked_and_not_taught() -> None:
    trees = HalfSpaceTrees(n_trees=10, window_size=100, limits=dict.fromkeys(COLUMNS, (-6.0, 6.0)), seed=1)
    for row in rows_of(events(400, 1), COLUMNS):
        trees.learn_one(row)
    before = pickle.dumps(trees)
    score = from_river(trees, COLUMNS)
    normal, strange = score(events(200, 2)), score(events(200, 3, shift=4.0))
    assert roc_auc_score(np.r_[np.zeros(200), np.ones(200)], np.r_[normal, strange]) > 0.95
    assert pickle.dumps(trees) == before
    assert np.array_equal(score(events(200, 2)), normal)


def test_river_gets_what_is_there() -> None:
    batch = EventBatch(
        "m",
        "",
        np.array(["a", "b"], dtype=object),
        np.zeros(2),
        numeric_names=("x",),
        numeric=np.array([[1.0], [np.nan]]),
        mixed={"kind": np.array(["red", None], dtype=object)},
    )
    assert rows_of(batch, ("x", "kind", "absent")) == [{"x": 1.0, "kind": "red"}, {}]
    trees = HalfSpaceTrees(seed=1, limits={"x": (0, 1)})
    assert np.isnan(from_river(trees, ("x",))(batch)).tolist() == [False, True]


def scored(batch: EventBatch, values: np.ndarray) -> EventBatch:
    return batch.annotate(**{OWN + "mine": values})


def test_an_own_score_is_calibrated_and_heard() -> None:
    """A score that alone knows the strange ones: events that look ordinary otherwise."""
    rng = np.random.default_rng(0)
    reference = scored(events(1_500, 1), rng.lognormal(size=1_500) * 1e6)
    part = OodScorer.fit(reference, infer_schema(reference), 0)
    assert isinstance(part, Part)
    scorer = OodScorer.build(part)
    assert scorer.component_names[-1] == "own.mine"
    normal = scorer.score(scored(events(2_000, 2), rng.lognormal(size=2_000) * 1e6))
    strange = scorer.score(scored(events(200, 3), np.full(200, 1e9)))
    assert np.median(strange.p_value) < 0.002
    assert abs(np.mean(normal.p_value <= 0.05) - 0.05) < 0.02
    assert set(normal.basis) == {Basis.ALL}


def test_an_own_score_that_is_missing_live_is_said_to_be_and_the_rest_still_speaks() -> None:
    rng = np.random.default_rng(0)
    reference = scored(events(1_500, 1), rng.normal(size=1_500))
    part = OodScorer.fit(reference, infer_schema(reference), 0)
    assert isinstance(part, Part)
    scorer = OodScorer.build(part)
    without = scorer.score(events(2_000, 2))
    assert set(without.basis) == {Basis.SOME}
    assert without.missing["own"].all()
    assert not without.missing["features"].any()
    assert abs(np.mean(without.p_value <= 0.05) - 0.05) < 0.02
    half = np.where(np.arange(2_000) % 2, np.nan, 0.0)
    assert scorer.score(scored(events(2_000, 2), half)).missing["own"].sum() == 1_000
