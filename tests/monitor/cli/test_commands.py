"""The list of commands is complete, quick and true."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module

import pytest
from typer.main import get_group

from monitor.cli.loading import COMMANDS, LateCommand

ALL = [(command.name,) for command in COMMANDS] + [
    ("reference", "fit"),
    ("reference", "list"),
    ("reference", "show"),
    ("reference", "activate"),
    ("dlq", "list"),
    ("dlq", "retry"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_list_says_what_the_command_says_of_itself(command: LateCommand) -> None:
    assert command.help == inspect.cleandoc(command.load().help or "").split("\n\n")[0]


def test_every_command_there_is_in_a_module_is_in_the_list() -> None:
    modules = {command.module for command in COMMANDS}
    there = {name for module in modules for name in get_group(import_module(f"monitor.cli.{module}").app).commands}
    assert there == {command.name for command in COMMANDS}


@pytest.mark.parametrize("command", [(), *ALL], ids=" ".join)
def test_help_is_data(vedette, command: tuple[str, ...]) -> None:
    shown = vedette(*command, "--help")
    assert f"Usage: {' '.join(['vedette', *command])}" in " ".join(shown.stdout.split())
    assert shown.stderr == ""


def test_the_version_is_printed(vedette) -> None:
    assert vedette("--version").stdout.startswith("vedette ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["refrence"], "Did you mean 'reference'"),
        (["worker", "extra"], "unexpected extra argument"),
        (["backtest", "log"], "Missing option"),
        (["score", "log", "-r", "x", "-o", "y", "--seed", "-1"], "--seed"),
        (["dlq", "retry", "first"], "valid integer"),
        (["reference", "show"], "Missing argument 'ID'"),
        (["demo", "--port", "70000"], "--port"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_wrong_usage_exits_with_2(vedette, arguments: list[str], said: str) -> None:
    shown = vedette(*arguments, exit_code=2)
    assert said in shown.stderr
    assert shown.stdout == ""


def test_listing_commands_imports_no_detector() -> None:
    program = (
        "import sys, monitor.cli; from typer.testing import CliRunner; "
        "assert CliRunner().invoke(monitor.cli.app, ['--help']).exit_code == 0; "
        "print(sorted({'numpy', 'sklearn', 'dash'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "monitor.cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("vedette ")
