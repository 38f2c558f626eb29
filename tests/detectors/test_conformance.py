"""Every detector of the suite keeps the promises of ``detectors/checks.py``."""

from __future__ import annotations

import numpy as np
import pytest

from detectors import checks
from detectors.base import Detector, Part
from detectors.batch import EventBatch
from detectors.budget import DEFAULT_SHARES, AlarmBudget
from detectors.extraction.detector import ExtractionDetector
from detectors.privacy.hashes import N_QUERY_CELLS, N_RECORD_CELLS, QUERY_CELL, RECORD_CELL, TRAINING_HIT
from detectors.schema import infer_schema
from detectors.suite import DETECTORS

PER_PANE = 60
PANE_S = 10.0
SEED = 3
KINDS = [pytest.param(kind, marks=pytest.mark.slow if kind is ExtractionDetector else ()) for kind in DETECTORS]
"""Extraction alone takes as long to fit as all others together."""


def events(n: int, seed: int, strange_from: int | None = None) -> EventBatch:
    """Two classes of five features from forty clients; from ``strange_from`` on one client sends noise."""
    rng = np.random.default_rng(seed)
    wins = rng.random(n) < 0.4
    numeric = rng.normal(size=(n, 5)) + wins[:, None]
    client = np.array([f"c{c}" for c in rng.integers(0, 40, size=n)], dtype=object)
    if strange_from is not None:
        numeric[strange_from:] = rng.normal(scale=9.0, size=(n - strange_from, 5))
        client[strange_from:] = "c7"
    probability = np.clip(np.where(wins, 0.8, 0.2) + rng.normal(scale=0.05, size=n), 0.01, 0.99)
    return EventBatch(
        model="m",
        version="",
        event_id=np.arange(n).astype(str).astype(object),
        timestamp=np.arange(n) * 10.0 / PER_PANE,
        client_id=client,
        numeric_names=tuple(f"x{i}" for i in range(5)),
        numeric=numeric,
        mixed={"colour": rng.choice(np.array(["red", "blue"], dtype=object), size=n)},
        probabilities=np.stack([1 - probability, probability], axis=1),
        classes=("no", "yes"),
        prediction=np.where(probability > 0.5, "yes", "no").astype(object),
        label=np.where(rng.random(n) < probability, "yes", "no").astype(object),
        annotations=training_hits(n, seed, strange_from),
    )


def training_hits(n: int, seed: int, strange_from: int | None) -> dict[str, np.ndarray]:
    """What looking events up among training rows would say: few hits, and many from ``strange_from`` on."""
    rng = np.random.default_rng([seed, 1])
    hit = rng.choice([0.0, 1.0, 2.0], p=[0.97, 0.02, 0.01], size=n)
    if strange_from is not None:
        hit[strange_from:] = 2.0
    cell, record = rng.integers(0, N_QUERY_CELLS, size=n), rng.integers(0, N_RECORD_CELLS, size=n)
    return {TRAINING_HIT: hit, QUERY_CELL: cell.astype(np.float64), RECORD_CELL: record.astype(np.float64)}


@pytest.fixture(scope="module")
def reference() -> EventBatch:
    return events(4_000, seed=1)


@pytest.fixture(scope="module", params=KINDS, ids=lambda detector: detector.name)
def kind(request: pytest.FixtureRequest) -> type[Detector]:
    return request.param


@pytest.fixture(scope="module")
def part(kind: type[Detector], reference: EventBatch) -> Part:
    part = kind.fit(reference, infer_schema(reference), PANE_S, SEED)
    assert isinstance(part, Part)
    return part


@pytest.fixture(scope="module")
def detector(kind: type[Detector], part: Part, reference: EventBatch) -> Detector:
    return kind.build(part, infer_schema(reference), AlarmBudget(1.0, PANE_S))


def test_sketches_add_up_wherever_they_are_cut(detector: Detector) -> None:
    checks.check_sketches_add_up(detector, events(300, seed=2), [[0, 150], [0, 1, 2, 299], list(range(0, 300, 37))])


def test_sketches_survive_storage(detector: Detector) -> None:
    checks.check_sketch_survives_storage(detector, events(200, seed=3))


def test_judging_is_pure(detector: Detector) -> None:
    checks.check_judging_is_pure(detector, events(1_200, seed=4, strange_from=700), PER_PANE)


def test_readings_are_whole(detector: Detector) -> None:
    checks.check_readings_are_whole(detector, events(1_800, seed=5, strange_from=600), PER_PANE)


def test_state_is_plain(detector: Detector) -> None:
    checks.check_state_is_plain(detector, events(400, seed=6))


def test_fitting_is_deterministic(part: Part, kind: type[Detector], reference: EventBatch) -> None:
    checks.check_fit_is_deterministic(part, kind, reference, infer_schema(reference), PANE_S, SEED)


def test_every_detector_has_a_share_of_the_budget() -> None:
    assert {detector.name for detector in DETECTORS} <= set(DEFAULT_SHARES)
    assert sum(DEFAULT_SHARES.values()) == pytest.approx(1.0)
