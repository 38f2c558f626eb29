"""How made up queries look by networks that each half of the clients learned for the other half."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.batch import EventBatch
from detectors.clients.decoys import Stock, decoys
from detectors.clients.space import Space
from detectors.clients.vectors import VectorMap
from detectors.extraction.crossed import Crossed
from detectors.extraction.fitting import halves_of
from detectors.extraction.ranks import DEPTH, Ranking, quantile_table, surprisal
from detectors.schema import infer_schema

WIDTH = 12


def rows(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, WIDTH) correlated values of two classes, and the classes."""
    rng = np.random.default_rng(seed)
    label = rng.integers(2, size=n)
    hidden = rng.standard_normal((n, 3))
    mixing = np.random.default_rng(0).standard_normal((3, WIDTH))
    return hidden @ mixing + 2.0 * label[:, None] * (np.arange(WIDTH) % 2) + 0.3 * rng.standard_normal(
        (n, WIDTH)
    ), label


def batch_of(values: np.ndarray, clients: np.ndarray) -> EventBatch:
    n = len(values)
    return EventBatch(
        "m",
        "1",
        np.array([str(i) for i in range(n)], dtype=object),
        np.arange(n, dtype=np.float64),
        client_id=clients.astype(object),
        embedding=values,
    )


@pytest.fixture(scope="module")
def learned() -> tuple[VectorMap, Space, Crossed, np.ndarray]:
    """What 3,000 rows taught, and their -ln p."""
    values, label = rows(3_000, 1)
    batch = batch_of(values, np.arange(3_000) % 30)
    source = VectorMap.fit("embedding", batch, infer_schema(batch))
    assert source is not None
    vectors, seen, _ = source.vectors(batch)
    space = Space.fit(vectors, label, 2, 0)
    half = np.arange(3_000) % 30 % 2
    crossed, nats = Crossed.fit(source, space, np.stack([vectors, vectors]), label, 2, seen, half, 3)
    return source, space, crossed, nats


def told(learned: tuple[VectorMap, Space, Crossed, np.ndarray], values: np.ndarray, label: np.ndarray) -> np.ndarray:
    source, space, crossed, _ = learned
    vectors, _, _ = source.vectors(batch_of(values, np.zeros(len(values))))
    return crossed.nats(*space.whitened(vectors), label)


def test_new_ordinary_queries_are_no_rarer_than_those_of_the_reference(
    learned: tuple[VectorMap, Space, Crossed, np.ndarray],
) -> None:
    _, _, _, reference = learned
    fresh = told(learned, *rows(4_000, 2))
    for rarer in (0.2, 0.05, 0.01):
        among = np.mean(reference[0] >= -np.log(rarer))
        assert among == pytest.approx(rarer, rel=0.2)
        assert np.mean(fresh >= -np.log(rarer)) <= 1.3 * rarer


def test_made_up_queries_are_rare_to_both_halves(learned: tuple[VectorMap, Space, Crossed, np.ndarray]) -> None:
    source, space, crossed, _ = learned
    values, label = rows(1_000, 4)
    vectors, _, _ = source.vectors(batch_of(values, np.zeros(len(values))))
    rng = np.random.default_rng(5)
    made_up = np.concatenate(decoys(Stock.of(source, vectors, label, rng), 600, rng))
    labels = rng.integers(2, size=len(made_up))
    assert np.mean(crossed.nats(*space.whitened(made_up), labels) >= -np.log(0.01)) > 0.4


def test_what_is_stored_says_the_same(learned: tuple[VectorMap, Space, Crossed, np.ndarray]) -> None:
    _, space, crossed, _ = learned
    loaded = Crossed.load(crossed.to_arrays())
    white, left = np.random.default_rng(6).standard_normal((50, space.basis.shape[1])), np.ones(50)
    label = np.arange(50) % 3
    assert np.array_equal(loaded.nats(white, left, label), crossed.nats(white, left, label))


def test_each_half_shows_every_sort_of_client() -> None:
    clients = np.repeat(np.arange(40), 50)
    scores = np.random.default_rng(7).standard_normal((2_000, 3))
    testers = np.isin(clients, [3, 8, 21, 33])
    scores[testers & (np.arange(2_000) % 5 == 0)] += 30.0
    batch = batch_of(scores, clients)
    half = halves_of(batch, scores, np.zeros(2_000, dtype=np.int64), 1, np.zeros(2_000, dtype=np.int64))
    of_client = half[::50]
    assert np.array_equal(half, np.repeat(of_client, 50)), "a client is in one half"
    assert sorted(of_client[[3, 8, 21, 33]].tolist()) == [0, 0, 1, 1]
    assert of_client.sum() == 20


def test_a_ranking_knows_its_classes_and_keeps_what_is_unknown() -> None:
    rng = np.random.default_rng(8)
    label = np.repeat([0, 1], 2_000)
    raw = rng.standard_normal(4_000) * np.array([1.0, 10.0])[label]
    ranking = Ranking.fit(raw, label, 2)
    said = ranking.nats(np.array([4.0, 4.0, np.nan]), np.array([0, 1, 0]))
    assert said[0] > 6.0 > 2.0 > said[1]
    assert np.isnan(said[2])


def test_the_table_of_depths_leaves_nats_as_they_are() -> None:
    nats = np.array([0.5, 3.0, 6.9, 40.0])
    assert surprisal(nats, DEPTH) == pytest.approx(nats)
    table = quantile_table(np.random.default_rng(9).exponential(size=200_000))
    assert surprisal(np.array([1.0, 4.0, 6.0]), table) == pytest.approx([1.0, 4.0, 6.0], abs=0.1)
