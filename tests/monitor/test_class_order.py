"""In which order an event's probabilities are written says nothing: not to sketches, nor to scores."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from detectors.base import Fitter
from detectors.batch import concatenate
from detectors.drift.marginals import MarginalDrift
from detectors.reference import Reference
from detectors.suite import DETECTORS, fit_reference
from monitor.backtest import store_reference
from monitor.config import WorkerSettings
from monitor.formats.native import NativeDecoder
from monitor.scoring import score_logs
from monitor.sources.base import Partition, Record
from monitor.sources.memory import MemorySource
from monitor.storage.engine import create_engine, reading
from monitor.storage.schema import migrate
from monitor.storage.tables import deltas
from monitor.suites import SuiteBook
from monitor.telemetry import Metrics
from monitor.worker import Worker

pytestmark = pytest.mark.slow

LOG = Partition("memory", "log", 0)
NOW = datetime.fromtimestamp(1_700_100_000, UTC)
CLASSES = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu", "hen", "ibis")
Probabilities = dict[str, float]


def as_known(probabilities: Probabilities, _rng: np.random.Generator) -> Probabilities:
    return {name: probabilities[name] for name in sorted(probabilities)}


def turned_round(probabilities: Probabilities, _rng: np.random.Generator) -> Probabilities:
    return {name: probabilities[name] for name in sorted(probabilities, reverse=True)}


def most_likely_first(probabilities: Probabilities, _rng: np.random.Generator) -> Probabilities:
    return dict(sorted(probabilities.items(), key=lambda item: -item[1]))


def shuffled(probabilities: Probabilities, rng: np.random.Generator) -> Probabilities:
    return {name: probabilities[name] for name in rng.permutation(sorted(probabilities)).tolist()}


Layout = Callable[[Probabilities, np.random.Generator], Probabilities]


def events(n: int, seed: int, layout: Layout, n_logged: int, new_in: int | None = None) -> list[bytes]:
    """A classifier that logs its ``n_logged`` most likely classes; every ``new_in``-th event knows one class more."""
    rng, order = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    share = rng.dirichlet(np.linspace(0.3, 2.0, len(CLASSES)), size=n)
    lines = []
    for i, row in enumerate(share):
        top = {CLASSES[j]: round(float(row[j]), 5) for j in np.argsort(-row, kind="stable")[:n_logged]}
        if new_in is not None and i % new_in == 0:
            top["yak"] = 0.01
        event = {"model": "m", "event_id": f"{seed}-{i}", "client_id": f"c{i % 15}", "timestamp": 1_700_000_000 + 2 * i}
        lines.append(json.dumps({**event, "probabilities": layout(top, order)}).encode())
    return lines


def reference_of(layout: Layout, n_logged: int, detectors: Sequence[Fitter] = DETECTORS) -> Reference:
    lines = events(1_200, 1, layout, n_logged)
    batches = [
        batch
        for i in range(0, len(lines), 300)
        for batch in NativeDecoder(1 << 20)
        .decode([Record(LOG, j, line) for j, line in enumerate(lines[i : i + 300])])
        .batches
    ]
    return fit_reference(concatenate(batches), "", seed=0, detectors=detectors)


def sketches(reference: Reference, lines: list[bytes], per_poll: int, folder: Path) -> dict[int, bytes]:
    """Pane → its sketch, as a worker commits it."""
    folder.mkdir()
    engine = create_engine(f"sqlite:///{folder / 'test.sqlite3'}", role="test")
    try:
        migrate(engine)
        store_reference(engine, reference, NOW)
        source = MemorySource(Record(LOG, i, line) for i, line in enumerate(lines))
        source.assign(LOG)
        worker = Worker(
            source=source,
            decoder=NativeDecoder(1 << 20),
            engine=engine,
            suites=SuiteBook(engine, 1.0),
            settings=WorkerSettings(flush_interval_s=60.0, max_records_per_poll=per_poll),
            owner="test",
            metrics=Metrics(),
            clock=lambda: NOW,
        )
        while worker.step(0.0).records:
            pass
        worker.flush()
        with reading(engine) as connection:
            return {row.pane_start: row.sketch for row in connection.execute(sa.select(deltas))}
    finally:
        engine.dispose()


@pytest.mark.parametrize("n_logged", [len(CLASSES), 3], ids=["all classes", "the three most likely"])
def test_sketches_are_the_same_bytes(n_logged: int, tmp_path: Path) -> None:
    reference = reference_of(as_known, n_logged)
    expected = sketches(reference, events(700, 2, as_known, n_logged, new_in=50), 1_000, tmp_path / "plain")
    assert len(expected) > 5
    for layout, per_poll in ((turned_round, 1_000), (most_likely_first, 90), (shuffled, 90)):
        live = events(700, 2, layout, n_logged, new_in=50)
        found = sketches(reference, live, per_poll, tmp_path / layout.__name__)
        assert found == expected, layout.__name__


def test_a_reference_says_the_same_of_each_class_in_whatever_order_its_log_has_them() -> None:
    """Later batches of the log may name their classes in another order than the first."""
    plain = reference_of(as_known, 3, [MarginalDrift])
    for layout in (turned_round, shuffled):
        other = reference_of(layout, 3, [MarginalDrift])
        assert set(other.schema.classes) == set(plain.schema.classes) == set(CLASSES)
        counts = {}
        for name, fitted in (("plain", plain), ("other", other)):
            part = fitted.parts["drift"]
            names = [column["name"] for column in part.facts["columns"]]
            counts[name] = dict(zip(names, part.arrays["counts"][0].tolist(), strict=True))
        assert counts["other"] == counts["plain"]


def test_scores_are_the_same(tmp_path: Path) -> None:
    reference = tmp_path / "reference.ndjson"
    reference.write_bytes(b"\n".join(events(600, 1, as_known, len(CLASSES))))
    scored = {}
    for layout in (as_known, shuffled):
        log, out = tmp_path / f"{layout.__name__}.ndjson", tmp_path / f"{layout.__name__}.jsonl"
        log.write_bytes(b"\n".join(events(300, 2, layout, len(CLASSES))))
        with out.open("wb") as file:
            score_logs([log], reference, "m", 0, file, lambda _records: None)
        scored[layout] = out.read_bytes()
    assert scored[as_known] == scored[shuffled]
