"""Wrong settings: exit code 2, every fault, no secret; the same for each command that reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

WRONG = """
alarm_budget = "1/fortnight"
[database]
url = "postgresql://user:hunter2@db:port/x"
[worker]
flush_interval_s = 100
[web]
prot = 8080
token = ["hunter2"]
[[destinations]]
type = "slak"
name = "chat"
url = "https://hooks.example/hunter2"
"""
FAULTS = [
    "alarm_budget: alarm budget '1/fortnight': write a positive number per hour, day, week or month, e.g. 1/week",
    "database.url: must name host, port and database as in postgresql://HOST:5432/NAME, and special characters of user "
    "name and password as %40 for @, %2F for /, %3A for :",
    "worker.flush_interval_s: must be a number above 0, up to 60",
    "web.token: must be text, not empty",
    "web.prot: there is no such setting; did you mean web.port?",
    "destinations[0].type: must be one of slack, webhook",
]
COMMANDS = [
    ("up",),
    ("worker",),
    ("judge",),
    ("deliver",),
    ("web",),
    ("migrate",),
    ("check",),
    ("reference", "list"),
    ("reference", "show", "x"),
    ("reference", "activate", "x"),
    ("reference", "fit", "log", "-m", "scorer"),
    ("dlq", "list"),
    ("dlq", "retry", "1"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_fault_is_listed(vedette, tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "wrong.toml").write_text(WRONG, encoding="utf-8")
    shown = vedette(*command, "--config", "wrong.toml", exit_code=2)
    assert shown.stdout == ""
    assert shown.stderr == "Wrong settings:\n" + "".join(f"  - {fault}\n" for fault in FAULTS)


def test_the_file_in_the_folder_is_read_unless_another_is_named(vedette, tmp_path: Path) -> None:
    (tmp_path / "vedette.toml").write_text("here = 1", encoding="utf-8")
    (tmp_path / "other.toml").write_text("there = 1", encoding="utf-8")
    assert "here: there is no such setting" in vedette("check", exit_code=2).stderr
    assert "there: there is no such" in vedette("check", exit_code=2, env={"VEDETTE_CONFIG": "other.toml"}).stderr
    named = vedette("check", "-c", "vedette.toml", exit_code=2, env={"VEDETTE_CONFIG": "other.toml"})
    assert "here: there is no such setting" in named.stderr


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:///", "database.url: SQLite needs a file"),
        ("sqlite:///x.db?mode=ro", "database.url: SQLite takes no parameters"),
        ("postgresql://user:hunter2@127.0.0.1:1/x?sslmod=require", 'invalid connection option "sslmod"'),
    ],
)
def test_what_the_database_refuses_is_a_fault_of_the_settings(vedette, url: str, said: str) -> None:
    shown = vedette("migrate", exit_code=2, env={"VEDETTE_DATABASE__URL": url})
    assert said in shown.stderr
    assert "hunter2" not in shown.output
