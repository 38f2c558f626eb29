"""Commands that run on: what stops them at once, what they wait out, and how they end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

AWAY = {"VEDETTE_DATABASE__URL": "postgresql://user:hunter2@127.0.0.1:1/x"}
NO_BROKER = {"VEDETTE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}


@pytest.mark.parametrize("command", ["worker", "judge", "deliver"])
def test_without_tables_the_next_step_is_named(vedette, command: str) -> None:
    assert vedette(command, exit_code=1).stderr.endswith(
        "Error: the database has no tables yet: run `vedette migrate`\n"
    )


@pytest.mark.parametrize("command", ["web", "up"])
def test_a_port_that_is_taken_is_named(vedette, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        shown = vedette(command, exit_code=1, env={"VEDETTE_WEB__PORT": str(port)})
    assert f"127.0.0.1:{port} is taken by another program" in shown.stderr


@pytest.mark.parametrize("command", ["web", "up"])
def test_a_dashboard_for_strangers_wants_a_token(vedette, command: str) -> None:
    shown = vedette(command, exit_code=2, env={"VEDETTE_WEB__HOST": "0.0.0.0"})
    assert "0.0.0.0 lets others in" in shown.stderr
    assert "VEDETTE_WEB__TOKEN" in shown.stderr


def test_a_destination_that_cannot_be_used_stops_its_loop(vedette, database: str) -> None:
    hook = '[{"type": "webhook", "name": "hook", "url": "http://hooks.example/hunter2"}]'
    shown = vedette("deliver", exit_code=2, env={"VEDETTE_DESTINATIONS": hook})
    assert "destinations.hook.url: must start with https://; set allow_http" in shown.stderr
    assert "hunter2" not in shown.output


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a command whose output goes to ``output.log``; what still runs at the end is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: object, **environment: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "monitor.cli", *map(str, arguments)]
        root = str(Path(__file__).resolve().parents[3])
        with (tmp_path / "output.log").open("wb") as log:
            env = {**os.environ, "VEDETTE_WEB__PORT": "0", "PYTHONPATH": root, **environment}
            started.append(subprocess.Popen(command, cwd=tmp_path, env=env, stdout=log, stderr=log))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(timeout=30)


def wait_for(process: subprocess.Popen[bytes], path: Path, pattern: str, timeout_s: float = 60.0) -> str:
    """The log, once it holds ``pattern``."""
    deadline = time.monotonic() + timeout_s
    while True:
        text = path.read_text(encoding="utf-8")
        if re.search(pattern, text, re.DOTALL):
            return text
        assert process.poll() is None, f"ended with {process.returncode}: {text}"
        assert time.monotonic() < deadline, f"no {pattern!r} in {text}"
        time.sleep(0.05)


ENDS = [(signal.SIGTERM, 0), (signal.SIGINT, 130)]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "exit_code"), ENDS, ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize(
    ("command", "environment", "said"),
    [
        ("worker", AWAY, r"worker: PostgreSQL database x at 127\.0\.0\.1 is away.*trying again.*trying again"),
        ("judge", AWAY, r"judge: PostgreSQL .* is away .*; trying again"),
        ("deliver", AWAY, r"deliver: PostgreSQL .* is away .*; trying again"),
        ("web", AWAY, r"PostgreSQL .* is away .*Dashboard: http://127\.0\.0\.1:\d+"),
        ("up", NO_BROKER, r"Dashboard: http.*worker: Kafka at 127\.0\.0\.1:1 did not answer .*; trying again"),
    ],
    ids=["worker", "judge", "deliver", "web", "up"],
)
def test_what_is_away_is_waited_for_and_signals_are_obeyed(
    start, tmp_path: Path, command: str, environment: dict[str, str], said: str, number: int, exit_code: int
) -> None:
    process = start(command, **environment)
    wait_for(process, tmp_path / "output.log", said)
    process.send_signal(number)
    asked = time.monotonic()
    assert process.wait(timeout=30) == exit_code
    assert time.monotonic() - asked < 12
    text = (tmp_path / "output.log").read_text(encoding="utf-8")
    assert "Traceback" not in text
    assert "hunter2" not in text
    assert "\x1b[" not in text


@pytest.mark.slow
def test_an_interrupted_command_leaves_no_file(start, tmp_path: Path, logs: Path, reference: Path) -> None:
    ordinary = logs / "ordinary.ndjson.gz"
    process = start("score", *[ordinary] * 300, "-r", reference, "-o", tmp_path / "scores.jsonl")
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".scores.jsonl.*.partial")):
        assert process.poll() is None, (tmp_path / "output.log").read_text(encoding="utf-8")
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert "Traceback" not in (tmp_path / "output.log").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.glob("*scores*")] == []


@pytest.mark.slow
def test_a_log_is_replayed_into_a_running_system(start, vedette, tmp_path: Path, logs: Path) -> None:
    process = start("up", VEDETTE_WEB__TOKEN="hunter2")
    text = wait_for(process, tmp_path / "output.log", r"Dashboard: (\S+)")
    url = re.search(r"Dashboard: (\S+)", text)[1]
    replay = ("replay", logs / "other.ndjson", "--url", url)
    assert "wants another token" in vedette(*replay, exit_code=1).stderr
    shown = vedette(*replay, env={"VEDETTE_WEB__TOKEN": "hunter2"})
    assert shown.stderr == "100 events accepted, 0 rejected.\n"
    process.terminate()
    assert process.wait(timeout=30) == 0
