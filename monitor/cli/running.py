"""Commands that run until they are told to stop: the three loops and the web server, together or apart."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import structlog
import typer

from monitor.app import LOOPS, Vedette
from monitor.cli.options import ConfigOption, settings_of
from monitor.cli.output import say
from monitor.errors import TransientError
from monitor.running import Service, stopping_on_signals
from monitor.storage.schema import check_schema, migrate

app = typer.Typer()
log = structlog.get_logger(__name__)


@app.command()
def up(config: ConfigOption = None) -> None:
    """Run everything in one process: worker, judge, deliver and web."""
    with_web(config, "up", LOOPS)


@app.command()
def worker(config: ConfigOption = None) -> None:
    """Run loop 1: read records, sketch events, commit."""
    loop_alone(config, "worker")


@app.command()
def judge(config: ConfigOption = None) -> None:
    """Run loop 2: judge panes, keep alerts."""
    loop_alone(config, "judge")


@app.command()
def deliver(config: ConfigOption = None) -> None:
    """Run loop 3: send what is owed to webhooks and Slack."""
    loop_alone(config, "deliver")


@app.command()
def web(config: ConfigOption = None) -> None:
    """Serve the dashboard and the API."""
    with_web(config, "web", ())


def loop_alone(config: Path | None, name: str) -> None:
    vedette = Vedette(settings_of(config), name)
    service = Service(vedette.loop_specs([name]))
    with closing(vedette), stopping_on_signals(service):
        run_until_told(service)


def with_web(config: Path | None, role: str, loops: Sequence[str]) -> None:
    vedette = Vedette(settings_of(config), role)
    service = Service(vedette.loop_specs(loops))
    with closing(vedette), stopping_on_signals(service):
        prepare_database(vedette)
        server = vedette.serve_web(service.probes())
        say(f"Dashboard: {server.url}   events: POST {server.url}/api/v1/events")
        try:
            run_until_told(service)
        finally:
            server.stop()


def prepare_database(vedette: Vedette) -> None:
    """The embedded database is brought up to date; PostgreSQL, which others use too, only looked at.

    Raises:
        PermanentError: its schema is missing, or of another version. One that is away is asked again later.
    """
    if vedette.engine.dialect.name == "sqlite":
        migrate(vedette.engine)
        return
    try:
        check_schema(vedette.engine)
    except TransientError as error:
        log.warning(f"web: {error}")


def run_until_told(service: Service) -> None:
    """Run the loops until a signal; SIGINT counts as interrupted, SIGTERM as done."""
    try:
        service.start()
        received = service.wait()
    finally:
        service.stop()
    if received == signal.SIGINT:
        raise KeyboardInterrupt
