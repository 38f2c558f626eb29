"""What becomes of a reference log that is too large to be kept whole."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.batch import EventBatch
from detectors.quality.volume import VolumeWatch
from monitor import history


def test_a_log_that_is_thinned_keeps_its_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_REFERENCE_EVENTS", 2_000)
    n = 20_000
    batch = EventBatch(
        model="m",
        version="",
        event_id=np.arange(n).astype(str).astype(object),
        timestamp=np.arange(n) / 20.0,
        numeric_names=("x",),
        numeric=np.random.default_rng(1).normal(size=(n, 1)),
    )
    thinned = history._capped(batch)
    assert len(thinned) == 2_000
    part = VolumeWatch.fit(thinned, 10.0)
    assert part is not None
    assert float(VolumeWatch.build(part).profile.expected(0.0, 10.0)) == pytest.approx(200, rel=0.02)
