"""The self-test refuses a reference that drifts within itself, and no other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.base import Kind
from detectors.batch import EventBatch
from detectors.reference import Reference
from detectors.selftest import fit_tested_reference
from detectors.suite import DETECTORS

TESTED = tuple(detector for detector in DETECTORS if detector.kind in (Kind.DRIFT, Kind.QUALITY))
"""Those that judge one half by the other; what else a reference holds has no say."""


def events(seed: int, n: int = 6_000, days: float = 2.0) -> EventBatch:
    rng = np.random.default_rng(seed)
    return EventBatch(
        model="m",
        version="",
        event_id=np.arange(n).astype(str).astype(object),
        timestamp=np.sort(rng.uniform(0, days * 86_400, n)),
        numeric_names=("x0", "x1", "x2"),
        numeric=rng.normal(size=(n, 3)),
    )


@pytest.mark.slow
def test_ordinary_events_pass() -> None:
    for seed in range(4):
        reference = fit_tested_reference(events(seed), "", seed=0, detectors=TESTED)
        assert reference.doubts == ()
        assert reference.untested == ""


def test_an_old_incident_is_found_and_named() -> None:
    batch = events(1)
    numeric = batch.numeric.copy()
    numeric[4_500:5_500, 1] += 1.0
    reference = fit_tested_reference(replace(batch, numeric=numeric), "", seed=0, detectors=TESTED)
    assert "x1 rose" in reference.doubts[0]
    assert "since 1970-01-02" in reference.doubts[0]
    assert Reference.from_bytes(reference.to_bytes()).doubts == reference.doubts


def test_a_counter_that_the_reference_leaves_out_is_no_doubt_of_its_half() -> None:
    """A hundred and fifty events alone do not show that a number counts on; all three hundred do."""
    batch = events(4, n=300)
    numeric = batch.numeric.copy()
    numeric[:, 2] = np.arange(300)
    reference = fit_tested_reference(replace(batch, numeric=numeric), "", seed=0)
    assert "x2" in reference.schema.left_out
    assert (reference.doubts, reference.untested) == ((), "")


def test_a_daily_season_is_no_doubt() -> None:
    batch = events(2, n=12_000, days=6.0)
    numeric = batch.numeric.copy()
    numeric[:, 0] += np.sin(2 * np.pi * batch.timestamp / 86_400)
    assert fit_tested_reference(replace(batch, numeric=numeric), "", seed=0, detectors=TESTED).doubts == ()


def test_a_season_that_no_half_shows_is_said_to_be_untested() -> None:
    batch = events(3, n=12_000, days=3.0)
    numeric = batch.numeric.copy()
    numeric[:, 0] += np.sin(2 * np.pi * batch.timestamp / 86_400)
    reference = fit_tested_reference(replace(batch, numeric=numeric), "", seed=0, detectors=TESTED)
    assert reference.doubts == ()
    assert "fewer than four of its seasons" in reference.untested


def test_few_events_are_not_tested() -> None:
    assert "too few" in fit_tested_reference(events(4, n=80), "", seed=0).untested
