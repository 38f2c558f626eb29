"""Steps of one size are told from noise, devices, scenarios and coarse grids."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from detectors.clients.stamps import FEWEST, PARTS, WATCHED, Stamps, stamped
from detectors.clients.vectors import VectorMap, view_maps
from detectors.schema import infer_schema

STEP = 51


def told(rows: np.ndarray, weights: np.ndarray | None = None) -> NDArray[np.float64]:
    """Of the odd rows, each beside the even one before it, all sent in this order."""
    numbers = np.rint(rows).astype(np.int16)
    nearest = np.maximum(np.arange(len(rows)) - 1, 0)
    return stamped(numbers, nearest, np.ones((1, rows.shape[1])) if weights is None else weights, 160)[1::2]


def pairs(rng: np.random.Generator, moves: np.ndarray) -> np.ndarray:
    """Queries of a client, each followed by the same one with a move."""
    first = rng.normal(0.0, PARTS, moves.shape)
    return np.stack([first, first + moves], axis=1).reshape(-1, moves.shape[1])


def signs(rng: np.random.Generator, n: int, width: int = WATCHED) -> np.ndarray:
    return rng.choice([-1.0, 1.0], (n, width))


@pytest.mark.parametrize("width", [FEWEST, WATCHED])
def test_signed_steps_are_stamped(width: int):
    rng = np.random.default_rng(1)
    assert told(pairs(rng, STEP * signs(rng, 200, width))).mean() > 0.8


def test_steps_may_be_of_one_size_in_units_of_the_log():
    rng = np.random.default_rng(8)
    unit = rng.uniform(0.5, 3.0, WATCHED)
    rows = pairs(rng, 3 * STEP * signs(rng, 200) / unit)
    watched = Stamps(tuple(map(str, range(WATCHED))), np.zeros(WATCHED), unit)
    assert told(rows).sum() == 0
    assert told(rows, watched.weights).mean() > 0.9
    assert Stamps(watched.names, watched.centre, np.ones(WATCHED)).weights.tolist() == [[1.0] * WATCHED]


def test_a_column_in_four_may_stay_or_be_cut_off():
    rng = np.random.default_rng(2)
    moves = STEP * signs(rng, 200)
    moves[:, :3] *= rng.choice([0.0, 0.4, 1.0], (200, 3))
    assert told(pairs(rng, moves)).mean() > 0.95


@pytest.mark.parametrize(
    "honest",
    [
        lambda rng, n: rng.normal(0.0, STEP, (n, WATCHED)),
        lambda rng, n: np.full((n, WATCHED), STEP),
        lambda rng, n: STEP * (np.arange(WATCHED) < 3) * signs(rng, n),
        lambda rng, n: np.zeros((n, WATCHED)),
        lambda rng, n: 5.0 * signs(rng, n),
    ],
    ids=["noise", "brighter", "a scenario of three columns", "repeat", "last digit"],
)
def test_what_honest_people_change_is_not(honest):
    rng = np.random.default_rng(3)
    assert told(pairs(rng, honest(rng, 500))).sum() == 0


def test_a_sensor_with_few_bits_counts_in_steps():
    rng = np.random.default_rng(4)
    first = STEP * np.rint(rng.normal(0.0, 3.0, (300, WATCHED)))
    rows = np.stack([first, first + STEP * signs(rng, 300)], axis=1).reshape(-1, WATCHED)
    assert told(rows)[2:].sum() == 0


def test_nothing_is_said_where_too_little_is_watched():
    rng = np.random.default_rng(5)
    assert np.isnan(told(pairs(rng, STEP * signs(rng, 20, FEWEST - 1)))).all()


def test_columns_of_few_values_are_not_watched_and_an_embedding_is_not(kit):
    batch = kit("crowd")(1, 10, 20)
    source = view_maps(batch, infer_schema(batch))[-1]
    flat = batch.numeric.copy()
    flat[:, ::2] = flat[:, ::2] > 0
    watched = Stamps.fit(source, replace(batch, numeric=flat), np.random.default_rng(6))
    assert set(watched.names) <= set(source.numeric[1::2])
    assert len(watched.names) == min(WATCHED, len(source.numeric[1::2]))
    hidden = VectorMap("embedding", source.numeric, source.centre, source.scale, source.flagged, (), source.grain)
    assert Stamps.fit(hidden, batch, np.random.default_rng(6)).names == ()


def test_a_stamp_map_comes_back_as_it_was(kit):
    batch = kit("crowd")(1, 10, 20)
    source = view_maps(batch, infer_schema(batch))[-1]
    watched = Stamps.fit(source, batch, np.random.default_rng(7))
    again = Stamps.load(watched.to_arrays())
    assert again.names == watched.names
    np.testing.assert_array_equal(again.numbers(batch), watched.numbers(batch))
    assert Stamps.load(Stamps.none().to_arrays()).numbers(batch).shape == (len(batch), 0)
