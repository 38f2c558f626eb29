"""How hard a model would have found queries that nobody sent."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.extraction.imitation import Imitation


@pytest.fixture(scope="module")
def asked() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, 2) queries, the answers of a linear model, and how hard they were."""
    rng = np.random.default_rng(0)
    white = rng.standard_normal((2_000, 2))
    score = 3.0 * white[:, 0]
    sure = np.abs(1.0 / (1.0 + np.exp(-score)) * 2.0 - 1.0)
    return white, (score > 0).astype(np.int64), np.log1p(-sure + 1e-6)


def test_queries_moved_to_the_boundary_are_harder_and_those_moved_away_easier(
    asked: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    white, label, hardness = asked
    imitation = Imitation.fit(white, label, hardness, np.arange(len(white)) % 2, 0)
    assert imitation is not None
    index = np.arange(500)
    as_sent = imitation.hardness(index, white[index])
    assert np.corrcoef(as_sent, hardness[index])[0, 1] > 0.9
    assert np.median(as_sent) == pytest.approx(np.median(hardness), abs=0.1)
    towards, away = (imitation.hardness(index, white[index] * factor) for factor in (0.2, 3.0))
    assert towards.mean() > as_sent.mean() + 0.3 > away.mean() + 0.6


def test_one_class_or_few_rows_cannot_be_imitated(asked: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    white, label, hardness = asked
    half = np.arange(len(white)) % 2
    assert Imitation.fit(white, np.zeros_like(label), hardness, half, 0) is None
    assert Imitation.fit(white[:100], label[:100], hardness[:100], half[:100], 0) is None
