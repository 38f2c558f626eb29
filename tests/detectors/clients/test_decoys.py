"""Made-up devices and made-up queries of something like images, and what tells the two apart."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.batch import EventBatch
from detectors.clients.decoys import Stock, decoys, disguised
from detectors.clients.likeness import Likeness
from detectors.clients.space import Space
from detectors.clients.vectors import VectorMap
from detectors.schema import infer_schema

PIXELS = 64


def images(n: int, background: int, seed: int) -> tuple[VectorMap, np.ndarray, np.ndarray]:
    """Smooth spots on a dark background of so many of 64 pixels: their map, (n, p) vectors and (n,) classes."""
    rng = np.random.default_rng(seed)
    label = rng.integers(2, size=n)
    place = np.arange(PIXELS - background)
    centre = rng.uniform(0.0, 0.4, n) + 0.6 * label
    spot = np.exp(-0.5 * ((place - centre[:, None] * len(place)) / (0.15 * len(place))) ** 2)
    pixels = np.concatenate([np.zeros((n, background)), spot], axis=1) + 0.06 * rng.standard_normal((n, PIXELS))
    batch = EventBatch(
        "m", "1", np.array([str(i) for i in range(n)], dtype=object), np.arange(n, dtype=np.float64), embedding=pixels
    )
    found = VectorMap.fit("embedding", batch, infer_schema(batch))
    assert found is not None
    return found, found.vectors(batch)[0], label


def brightest(background: int) -> float:
    """The brightest that made-up devices make a dark corner on average, in units of the log."""
    source, vectors, label = images(400, background, 1)
    rng = np.random.default_rng(2)
    stock = Stock.of(source, vectors, label, rng)
    seen = disguised(stock, np.repeat(stock.rows[:1], 4_000, axis=0), rng, group=10)
    return float((seen[:, 0] * source.scale[0] + source.centre[0]).reshape(-1, 10).mean(axis=1).max())


@pytest.mark.parametrize("background", [20, 56])
def test_made_up_devices_brighten_the_background_however_much_of_it_there_is(background: int) -> None:
    assert 0.1 < brightest(background) < 0.6


def test_made_up_queries_look_made_up_and_ordinary_ones_through_an_unknown_device_do_not() -> None:
    source, vectors, label = images(2_000, 32, 3)
    space = Space.fit(vectors, label, 2, 0)
    likeness = Likeness.fit(source, space, vectors[:1_500], label[:1_500], 5)
    stock = Stock.of(source, vectors[1_500:], label[1_500:], np.random.default_rng(6))
    bright = stock.loosened(vectors[1_500:]) + 0.1 / np.append(source.scale, np.inf)
    made_up = np.concatenate(decoys(stock, 900, np.random.default_rng(7)))
    usual, brighter, foreign = (
        np.median(likeness.scores(*space.whitened(rows))) for rows in (vectors[1_500:], stock.squashed(bright), made_up)
    )
    assert foreign > 0.0 > max(usual, brighter)
