"""Arguments and options that several commands have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer

from monitor.config import Settings, load_settings
from monitor.storage.engine import create_engine
from monitor.storage.schema import check_schema
from monitor.telemetry import configure_logging

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="TOML settings file; default $VEDETTE_CONFIG, else ./vedette.toml if there."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
LogsArgument = Annotated[
    list[Path], typer.Argument(help="Logs: NDJSON, CSV or Parquet, gzip allowed; read in the order given.")
]
ModelOption = Annotated[str, typer.Option("--model", "-m", help="Name of the model, as its events carry it.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of everything random in fitting.")]
SecretSeedOption = Annotated[
    int | None,
    typer.Option(min=0, help="Seed of everything random in fitting; default: from the deployment's secret, else 0."),
]


def settings_of(config: Path | None) -> Settings:
    """The settings, with log lines from here on in the form they ask for.

    Raises:
        SettingsError: something is wrong with them; lists every fault.
    """
    settings = load_settings(config)
    configure_logging(settings.log_format)
    return settings


@contextmanager
def database_of(settings: Settings, role: str) -> Iterator[sa.Engine]:
    """The database of the settings, for one command.

    Raises:
        PermanentError: its schema is missing, or of another version.
        TransientError: it is away.
    """
    engine = create_engine(settings.database.url, role)
    try:
        check_schema(engine)
        yield engine
    finally:
        engine.dispose()
