"""Walks are told step by step: chains, flips, where a step went and what the last try had brought."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.batch import EventBatch
from detectors.clients.grain import Grain
from detectors.clients.rings import ClientRings, RingCode
from detectors.clients.stamps import Stamps
from detectors.clients.vectors import VectorMap
from detectors.clients.walks import CHAIN, FLIP, GAP, TRIED, TURN, WENT_ON, Tried, confidence

WIDTH = 4


def ring_code() -> RingCode:
    """Queries of four numbers as they are; nearer than 1 is a step, nearer than 0.01 the same query."""
    plain = VectorMap(
        "features", tuple("abcd"), np.zeros(WIDTH), np.ones(WIDTH), np.zeros(WIDTH, dtype=bool), (), Grain.none(WIDTH)
    )
    projection = np.zeros((WIDTH + 1, 16))
    projection[:WIDTH, :WIDTH] = np.eye(WIDTH)
    near, apart, walk = np.full((3, 3), 0.5), np.full((3, 4), 0.7), np.ones(3)
    return RingCode(plain, projection, ("no", "yes"), 0.01, near, apart, walk, Stamps.none())


def queries(rows: list[list[float]], sure: list[float], client: str = "c") -> EventBatch:
    """One client's queries; the class is "yes" where ``sure``, its log odds, is positive."""
    n = len(rows)
    odds = np.array(sure)
    yes = 1.0 / (1.0 + np.exp(-odds))
    return EventBatch(
        model="m",
        version="",
        event_id=np.arange(n).astype(str).astype(object),
        timestamp=np.arange(n, dtype=np.float64),
        client_id=np.full(n, client, dtype=object),
        numeric_names=tuple("abcd"),
        numeric=np.array([row + [0.0] * (WIDTH - len(row)) for row in rows], dtype=np.float64),
        probabilities=np.stack([1 - yes, yes], axis=1),
        classes=("no", "yes"),
        prediction=np.where(odds > 0, "yes", "no").astype(object),
    )


def told(batch: EventBatch, capacity: int = 256) -> dict[str, list[float]]:
    annotations = ClientRings(ring_code(), capacity).annotate(batch).annotations
    return {name: values.tolist() for name, values in annotations.items()}


def test_a_chain_counts_its_queries_and_a_far_query_begins_another():
    walk = told(queries([[0], [0.4], [0.8], [2.5], [1.2], [2.9]], [2, 1.5, 1, 2, 0.5, 2.2]))
    assert walk[CHAIN] == [0, 2, 3, 0, 4, 2]
    assert walk[GAP][1:3] == pytest.approx([0.4, 0.4], abs=1e-3)


def test_a_flip_is_a_class_that_differs_from_that_of_the_nearest_recent_query():
    walk = told(queries([[0], [0.4], [0.5], [0.1]], [2, 1, -1, 2]))
    assert np.isnan(walk[FLIP][0])
    assert walk[FLIP][1:] == [0, 1, 0]


def test_a_search_goes_on_from_what_it_liked_and_back_from_the_rest():
    walk = told(queries([[0], [0.4], [0.4, 0.4], [0.4, 0, 0.4]], [3, 2, 2.5, 1]))
    assert np.isnan(walk[WENT_ON][:2]).all()
    assert walk[WENT_ON][2:] == [1, 0]
    assert walk[TRIED][2:] == [Tried.FELL, Tried.ROSE]


def test_a_try_that_changed_the_class_is_told_as_such_and_a_level_one_too():
    walk = told(queries([[0], [0.4], [0.4, 0.4], [0.8, 0.4]], [1, 1, -1, 1]))
    assert walk[TRIED][2:] == [Tried.LEVEL, Tried.FLIPPED]


def test_the_turn_is_one_straight_on_and_minus_one_straight_back():
    walk = told(queries([[0], [0.4], [0.7], [0.55]], [3, 2, 1, 2]))
    assert walk[TURN][2:] == pytest.approx([1.0, -1.0], abs=1e-3)


def test_repeats_are_no_steps_but_a_changed_answer_to_the_same_query_is():
    walk = told(queries([[0], [0], [0.005], [0.005]], [3, 3, 3, -3]))
    assert walk[CHAIN] == [0, 0, 0, 0]
    walk = told(queries([[0], [0.005], [0.008]], [3, -3, 3.0]))
    assert walk[CHAIN] == [0, 2, 3]
    assert walk[FLIP][1:] == [1, 1]


def test_the_very_same_query_is_a_repeat_even_where_the_model_is_fickle():
    assert told(queries([[0], [0], [0]], [3, -3, 3]))[CHAIN] == [0, 0, 0]


def test_clients_walk_apart():
    mixed = queries([[0], [0.4], [0.8]], [3, 2, 1])
    mixed = replace(mixed, client_id=np.array(["a", "b", "a"], dtype=object))
    assert told(mixed)[CHAIN] == [0, 0, 2]


def test_without_scores_or_classes_nothing_is_said_of_answers():
    batch = queries([[0], [0.4], [0.8], [0.4, 0.4]], [3, 2, -1, 2])
    labels = told(replace(batch, probabilities=None, classes=()))
    assert labels[FLIP][1:3] == [0, 1]
    assert labels[TRIED][2:] == [Tried.LEVEL, Tried.FLIPPED]
    blind = told(replace(batch, probabilities=None, classes=(), prediction=None))
    assert np.isnan(blind[FLIP]).all()
    assert np.isnan(blind[TRIED]).all()
    assert blind[CHAIN] == labels[CHAIN]


@pytest.mark.parametrize("capacity", [3, 20, 256])
def test_it_does_not_matter_where_a_walk_is_cut(capacity):
    rng = np.random.default_rng(capacity)
    rows = np.cumsum(rng.normal(0, 0.2, (400, WIDTH)), axis=0)
    rows[rng.random(400) < 0.2] = rows[0]
    again = rng.random(400) < 0.1
    rows[1:][again[1:]] = rows[:-1][again[1:]]
    batch = queries(rows.tolist(), rng.normal(0, 2, 400).tolist())
    whole = told(batch, capacity)
    memory = ClientRings(ring_code(), capacity)
    cuts = np.sort(rng.choice(400, 30, replace=False))
    parts = [memory.annotate(batch.take(piece)) for piece in np.split(np.arange(400), cuts)]
    for name, values in whole.items():
        np.testing.assert_array_equal(np.concatenate([part.annotations[name] for part in parts]), values)


def test_a_chain_longer_than_its_counter_stays_at_the_end_of_it():
    circle = [[float(np.cos(a)), float(np.sin(a))] for a in 0.021 * np.arange(299)]
    walk = told(queries(circle, [1.0] * 299))
    assert walk[CHAIN][250:] == [251, 252, 253, 254] + [255] * 45


def test_equal_codes_have_one_fingerprint_and_others_another():
    code = ring_code()
    again = RingCode.load(code.to_arrays(), code.map.to_facts(), code.labels)
    assert again.fingerprint == code.fingerprint
    assert replace(code, same=0.02).fingerprint != code.fingerprint
    assert replace(code, labels=("yes", "no")).fingerprint != code.fingerprint


def test_confidence_is_the_log_odds_of_the_largest_score():
    batch = queries([[0]] * 3, [2.0, -3.0, 80.0])
    np.testing.assert_allclose(confidence(batch), [2.0, 3.0, 29.934], atol=1e-2)
    logits = replace(batch, probabilities=None, logits=np.array([[0.0, 2.0], [3.0, 0.0], [1.0, np.nan]]))
    np.testing.assert_allclose(confidence(logits)[:2], [2.0, 3.0], atol=1e-9)
    assert np.isnan(confidence(replace(batch, probabilities=None))).all()
