"""``reference hash-training`` and ``reference fit --training-hashes``, and seeds that a deployment keeps to itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from detectors.base import Level
from detectors.privacy.detector import KEY
from detectors.reference import Reference
from monitor.formats.native import NativeDecoder
from monitor.secret import DeploymentSecret
from monitor.sources.base import Partition, Record
from monitor.storage.engine import create_engine, reading
from monitor.storage.references import list_references, reference_data
from monitor.suites import SuiteBook
from monitor.training import training_key, unlocked
from tests.monitor import streams

pytestmark = pytest.mark.slow

SECRET, OTHER = "s" * 40, "t" * 40


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of training rows in the columns of the log, with an id and a label besides."""
    events = [json.loads(line) for line in streams.events(400, seed=9)]
    names = sorted(events[0]["features"])
    lines = [",".join([*names, "row_id", "label"])]
    lines += [",".join([*(str(e["features"][n]) for n in names), str(i), "yes"]) for i, e in enumerate(events)]
    path = tmp_path / "training.csv"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def hashes(vedette, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VEDETTE_SECRET", SECRET)
    path = tmp_path / "training.hashes"
    command = ("reference", "hash-training", table, "-m", streams.MODEL, "-o", path, "--leave-out", "row_id", "--json")
    facts = json.loads(vedette(*command).stdout)
    assert facts["rows"] == 400
    assert facts["distinct"] > 390
    assert "row_id" not in facts["columns"]
    return path


def stored(database: str) -> Reference:
    engine = create_engine(database, "test")
    with reading(engine) as connection:
        [row] = list_references(connection)
        data = reference_data(connection, row.id)
    engine.dispose()
    return Reference.from_bytes(data)


def test_a_reference_knows_training_rows_by_hash_and_the_key_is_not_stored(
    vedette, logs: Path, database: str, hashes: Path
) -> None:
    fit = ("reference", "fit", logs / "ordinary.ndjson.gz", "-m", streams.MODEL, "--training-hashes", hashes, "--json")
    assert "privacy" in json.loads(vedette(*fit).stdout)["detectors"]
    reference = stored(database)
    assert KEY not in reference.parts["privacy"].arrays
    assert training_key(DeploymentSecret(SECRET), streams.MODEL) not in reference.to_bytes()
    opened = unlocked(reference, DeploymentSecret(SECRET)).parts["privacy"]
    assert bytes(opened.arrays[KEY]) == training_key(DeploymentSecret(SECRET), streams.MODEL)
    assert KEY not in unlocked(reference, DeploymentSecret(OTHER)).parts["privacy"].arrays
    assert KEY not in unlocked(reference, None).parts["privacy"].arrays


def test_probing_is_found_in_a_backtest_that_has_the_secret(
    vedette, logs: Path, hashes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, probed = tmp_path / "scorer.reference", tmp_path / "probed.ndjson"
    log = logs / "ordinary.ndjson.gz"
    vedette("reference", "fit", log, "-m", streams.MODEL, "--training-hashes", hashes, "-o", saved)
    ordinary = [json.loads(line) for line in streams.events(2_000, seed=3, first=5_000)]
    known = [json.loads(line)["features"] for line in streams.events(400, seed=9)]
    for i in range(300, 2_000, 10):
        ordinary[i] |= {"client_id": "prober", "features": known[i // 10]}
    probed.write_text("\n".join(map(json.dumps, ordinary)))
    backtest = ("backtest", probed, "-r", saved, "-m", streams.MODEL, "-o", tmp_path / "alerts")
    vedette(*backtest)
    alerts = [json.loads(line) for line in (tmp_path / "alerts").read_text().splitlines()]
    found = [a for a in alerts if a["kind"] == "privacy"]
    assert [a["subject"]["id"] for a in found if a["transition"] == "opened"] == ["prober"]
    monkeypatch.delenv("VEDETTE_SECRET")
    vedette(*backtest)
    assert '"privacy"' not in (tmp_path / "alerts").read_text()


def test_columns_that_queries_lack_are_named(vedette, logs: Path, database: str, table: Path, hashes: Path) -> None:
    whole = hashes.with_name("whole.hashes")
    vedette("reference", "hash-training", table, "-m", streams.MODEL, "-o", whole)
    fit = ("reference", "fit", logs / "ordinary.ndjson.gz", "-m", streams.MODEL, "--training-hashes", whole)
    shown = vedette(*fit, exit_code=1).stderr
    assert "lacks: row_id" in shown
    assert "--leave-out" in shown


def test_hashes_of_another_secret_model_or_kind_are_refused(
    vedette, logs: Path, database: str, table: Path, hashes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = logs / "ordinary.ndjson.gz"
    assert "holds training rows of model 'scorer', not of 'other'" in (
        vedette("reference", "fit", log, "-m", "other", "--training-hashes", hashes, exit_code=1).stderr
    )
    assert "not a file of training hashes" in (
        vedette("reference", "fit", log, "-m", streams.MODEL, "--training-hashes", table, exit_code=1).stderr
    )
    monkeypatch.setenv("VEDETTE_SECRET", OTHER)
    shown = vedette("reference", "fit", log, "-m", streams.MODEL, "--training-hashes", hashes, exit_code=1).stderr
    assert "hashed under another secret" in shown
    assert OTHER not in shown
    assert SECRET not in shown


def test_each_deployment_draws_directions_of_its_own_and_keeps_to_them(
    vedette, logs: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ids(*more: object) -> str:
        command = ("reference", "fit", logs / "ordinary.ndjson.gz", "-m", streams.MODEL, "--json", "--no-activate")
        return str(json.loads(vedette(*command, *more).stdout)["id"])

    beside_database = ids()
    secret_file = Path(database.removeprefix("sqlite:///") + ".secret")
    assert secret_file.is_file()
    assert ids() == beside_database
    monkeypatch.setenv("VEDETTE_SECRET", SECRET)
    configured = ids()
    assert len({beside_database, configured, ids("--seed", 0)}) == 3
    assert ids() == configured


def test_scores_without_a_secret_are_the_same_everywhere_and_with_one_keep_to_it(
    vedette, logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scores(*more: object) -> bytes:
        vedette("score", logs / "ordinary.ndjson.gz", "-r", logs / "ordinary.ndjson.gz", "-o", tmp_path / "out", *more)
        return (tmp_path / "out").read_bytes()

    assert scores() == scores("--seed", 0)
    monkeypatch.setenv("VEDETTE_SECRET", SECRET)
    assert scores("--seed", 0) != scores()


def test_a_process_without_the_secret_looks_nothing_up_and_says_so(
    vedette, logs: Path, database: str, hashes: Path
) -> None:
    fit = ("reference", "fit", logs / "ordinary.ndjson.gz", "-m", streams.MODEL, "--training-hashes", hashes)
    vedette(*fit)
    engine = create_engine(database, "test")
    try:
        suite = SuiteBook(engine, 1.0, secret=None).active(streams.MODEL, "")
        assert suite is not None
        detector = next(d for d in suite.detectors if d.name == "privacy")
        records = [Record(Partition("memory", "log", 0), i, line) for i, line in enumerate(streams.events(200, seed=4))]
        [batch] = NativeDecoder(1 << 20).decode(records).batches
        for memory in suite.memories():
            batch = memory.annotate(batch)
        pane = suite.sketch(batch)[0]
        part = suite.pane_of(detector, pane.pane_start, pane.n_events, pane.sketch)
        (reading_,) = detector.judge({}, part).readings
    finally:
        engine.dispose()
    assert reading_.level is Level.WARMING
    assert "secret" in reading_.reason
    assert np.isfinite(reading_.log_evidence)
