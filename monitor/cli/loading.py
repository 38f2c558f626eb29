"""Commands that are imported when they are used, and what is the same for all of them.

Detectors and dashboard take seconds to import; the list of commands, the schema and the connections need neither. So
the list is a table of names and modules, and a command's module is imported when the command is called.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Sequence
from typing import Any

import typer
from threadpoolctl import threadpool_limits
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from monitor.cli.output import readable_errors
from monitor.telemetry import configure_logging

_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def keep_to_one_core() -> None:
    """Matrix products of the libraries imported so far use one thread, unless the environment says otherwise.

    Vedette scales by processes. Threads of one product that wait for each other spin, and on a busy machine scoring is
    five times slower with two of them than with one.
    """
    if not any(name in os.environ for name in _THREADS):
        threadpool_limits(limits=1)


class LateCommand(TyperCommand):
    """Stands in lists for the command ``name`` of ``module.app``, and hands over to it when called."""

    def __init__(self, name: str, module: str, help: str) -> None:
        super().__init__(name, help=help)
        self.module = module

    def load(self) -> TyperCommand | TyperGroup:
        """The command itself."""
        module = importlib.import_module(f"monitor.cli.{self.module}")
        keep_to_one_core()
        loaded = get_group(module.app).commands[self.name or ""]
        assert isinstance(loaded, TyperCommand | TyperGroup)
        return loaded

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> typer.Context:
        return self.load().make_context(info_name, args, parent, **extra)  # type: ignore[return-value]


COMMANDS: Sequence[LateCommand] = (
    LateCommand(
        "demo",
        "demo",
        "See it work: a real model, honest clients, then drift, foreign inputs and a thief. No services needed.",
    ),
    LateCommand("up", "running", "Run everything in one process: worker, judge, deliver and web."),
    LateCommand("worker", "running", "Run loop 1: read records, sketch events, commit."),
    LateCommand("judge", "running", "Run loop 2: judge panes, keep alerts."),
    LateCommand("deliver", "running", "Run loop 3: send what is owed to webhooks and Slack."),
    LateCommand("web", "running", "Serve the dashboard and the API."),
    LateCommand("migrate", "installation", "Create or upgrade the database schema."),
    LateCommand("check", "installation", "Check settings, versions and connections."),
    LateCommand("reference", "references", "What normal looks like, for each model."),
    LateCommand("backtest", "past", "Say what would have been raised: the production path over a log of the past."),
    LateCommand("score", "past", "Score every event of a log: how far out of the reference's distribution it is."),
    LateCommand("replay", "past", "Feed a log into a running system through its API."),
    LateCommand("dlq", "dead_letters", "Records that could not be read."),
)


class CommandLine(TyperGroup):
    """All commands; known errors become a message and an exit code, and log lines go to standard error."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        for command in COMMANDS:
            self.add_command(command)

    def invoke(self, ctx: Any) -> Any:
        configure_logging("console", logging.WARNING)
        with readable_errors():
            return super().invoke(ctx)
