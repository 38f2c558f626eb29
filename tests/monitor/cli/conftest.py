"""The command line in this process, on logs of its own and with nothing in the environment."""

from __future__ import annotations

import gzip
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner, Result

from monitor.cli import app
from tests.monitor import streams

Vedette = Callable[..., Result]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable and no ./vedette.toml of the machine reaches a test."""
    for name in [name for name in os.environ if name.startswith("VEDETTE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@contextmanager
def logging_kept() -> Iterator[None]:
    """The logging set-up of the tests comes back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers, root.level = handlers, level
        structlog.reset_defaults()


def run(*arguments: object, exit_code: int = 0, env: dict[str, str] | None = None) -> Result:
    """Run a command; its exit code is asserted, a defect is raised."""
    with logging_kept():
        result = CliRunner().invoke(app, [str(a) for a in arguments], env=env, catch_exceptions=False)
    assert result.exit_code == exit_code, f"{result.exit_code}: {result.stdout}\n{result.stderr}"
    assert "Traceback" not in result.output
    return result


@pytest.fixture(scope="session")
def vedette() -> Vedette:
    return run


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an ordinary log, one whose 4,000 events drift from e7000 on, one of another model, an empty one."""
    folder = tmp_path_factory.mktemp("logs")
    ordinary = streams.events(2_000, seed=1)
    drifting = streams.events(4_000, seed=2, drift_from=2_000, first=5_000)
    (folder / "ordinary.ndjson.gz").write_bytes(gzip.compress(b"\n".join(ordinary)))
    (folder / "drifting.ndjson.gz").write_bytes(gzip.compress(b"\n".join(drifting)))
    renamed = [json.dumps(json.loads(line) | {"model": "other"}).encode() for line in ordinary[:100]]
    (folder / "other.ndjson").write_bytes(b"\n".join(renamed))
    (folder / "empty.ndjson").write_bytes(b"")
    return folder


@pytest.fixture(scope="session")
def reference(logs: Path) -> Path:
    """A saved reference of the ordinary log."""
    path = logs / "scorer.reference"
    run("reference", "fit", logs / "ordinary.ndjson.gz", "-m", streams.MODEL, "-o", path)
    return path


@pytest.fixture
def database(_migrated_sqlite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of a migrated SQLite database, set in the environment."""
    shutil.copyfile(_migrated_sqlite, tmp_path / "vedette.sqlite3")
    url = f"sqlite:///{tmp_path / 'vedette.sqlite3'}"
    monkeypatch.setenv("VEDETTE_DATABASE__URL", url)
    return url
