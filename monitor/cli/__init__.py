"""``vedette``: the command line. Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 130 interrupted.

Data goes to standard output, progress and messages to standard error, so that output can be piped.

``output``, ``options`` and ``loading`` are shared; every other module is a group of commands, imported when one of
them runs: a command that needs no detectors does not wait for them.
"""

from __future__ import annotations

from typing import Annotated

import typer

from monitor.cli.loading import CommandLine
from monitor.telemetry import product_version

__all__ = ["app"]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vedette {product_version()}")
        raise typer.Exit


app = typer.Typer(
    name="vedette",
    cls=CommandLine,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def vedette(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Watches AI models in production: drift, out-of-distribution inputs, model theft."""
