"""``vedette migrate`` and ``vedette check``."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

AWAY = "postgresql://user:hunter2@127.0.0.1:1/x"


def findings(shown) -> dict[str, tuple[bool, str]]:
    return {found["what"]: (found["ok"], found["message"]) for found in json.loads(shown.stdout)}


def test_a_fresh_database_is_made_ready(vedette, tmp_path: Path) -> None:
    assert findings(vedette("check", "--json", exit_code=1))["schema"] == (
        False,
        "the database has no tables yet: run `vedette migrate`",
    )
    assert vedette("migrate").stderr == "The database schema is up to date.\n"
    vedette("migrate")
    found = findings(vedette("check", "--json"))
    assert list(found) == ["versions", "settings", "secret", "database", "schema", "web", "destinations", "kafka"]
    assert all(ok for ok, _ in found.values())
    assert (tmp_path / "vedette.sqlite3").is_file()


def test_findings_are_a_table_for_people(vedette, database: str) -> None:
    table = [line.split(maxsplit=2) for line in vedette("check").stdout.splitlines()]
    assert table[0] == ["what", "result", "message"]
    assert ["schema", "ok", "up to date"] in table


def test_a_schema_of_another_version_is_named(vedette, database: str, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "vedette.sqlite3") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    assert "newer version (revision 9999)" in vedette("migrate", exit_code=1).stderr
    assert "newer version" in findings(vedette("check", "--json", exit_code=1))["schema"][1]


@pytest.mark.parametrize("command", [("migrate",), ("reference", "list"), ("dlq", "list")], ids=" ".join)
def test_a_database_that_is_away_is_one_line(vedette, command: tuple[str, ...]) -> None:
    shown = vedette(*command, exit_code=1, env={"VEDETTE_DATABASE__URL": AWAY})
    assert shown.stderr.startswith("Error: PostgreSQL database x at 127.0.0.1 is away or busy (")
    assert shown.stderr.count("\n") == 1
    assert "hunter2" not in shown.output


def test_everything_that_is_wrong_is_found_at_once(vedette, tmp_path: Path) -> None:
    (tmp_path / "vedette.toml").write_text(
        f"""
[database]
url = "{AWAY}"
[web]
host = "0.0.0.0"
[[destinations]]
type = "webhook"
name = "hook"
url = "http://hooks.example/hunter2"
secret = "whsec_hunter2"
[[destinations]]
type = "slack"
name = "chat"
url = "hunter2"
""",
        encoding="utf-8",
    )
    shown = vedette("check", "--json", exit_code=1)
    found = findings(shown)
    assert [what for what, (ok, _) in found.items() if not ok] == ["database", "web", "destinations"]
    assert "VEDETTE_WEB__TOKEN" in found["web"][1]
    assert "destinations.hook.secret" in found["destinations"][1]
    assert "destinations.chat.url" in found["destinations"][1]
    assert "hunter2" not in shown.output


@pytest.mark.parametrize(
    ("path", "said"),
    [("/proc/nowhere/x.sqlite3", "cannot make the folder"), ("/", "cannot be opened"), ("noise", "cannot be read")],
)
def test_a_file_that_is_no_database_is_named(vedette, tmp_path: Path, path: str, said: str) -> None:
    (tmp_path / "noise").write_bytes(b"noise " * 1_000)
    url = f"sqlite:///{path}"
    shown = vedette("migrate", exit_code=2 if "folder" in said else 1, env={"VEDETTE_DATABASE__URL": url})
    assert said in shown.stderr
    assert not findings(vedette("check", "--json", exit_code=1, env={"VEDETTE_DATABASE__URL": url}))["database"][0]


@pytest.mark.slow
def test_a_broker_that_is_away_is_found(vedette, database: str) -> None:
    shown = vedette("check", "--json", exit_code=1, env={"VEDETTE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    assert findings(shown)["kafka"] == (False, "Kafka at 127.0.0.1:1 did not answer while connecting")
    assert "ECONNREFUSED" in shown.stderr
    assert len(shown.stderr.splitlines()) < 10
