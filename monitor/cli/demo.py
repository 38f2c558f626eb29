"""``vedette demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from monitor.cli.options import JsonOption, SeedOption
from monitor.cli.output import err, print_json
from monitor.demo.run import DATABASE_FILE, DemoOptions, run_demo
from monitor.errors import PermanentError

app = typer.Typer()


@app.command()
def demo(
    headless: Annotated[bool, typer.Option(help="No dashboard and no prompt.")] = False,
    as_json: JsonOption = False,
    seed: SeedOption = 7,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port of the dashboard; 0 takes a free one.")] = 8050,
    keep: Annotated[Path | None, typer.Option(file_okay=False, help="Folder to keep the demo's database in.")] = None,
) -> None:
    """See it work: a real model, honest clients, then drift, foreign inputs and a thief. No services needed."""
    if keep is not None:
        _make(keep)
    summary = run_demo(DemoOptions(headless=headless, quiet=as_json, seed=seed, port=port, folder=keep), err)
    if as_json:
        print_json(summary.to_json())
    if not summary.as_promised:
        raise typer.Exit(1)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / DATABASE_FILE
        if kept.exists():
            raise PermanentError(
                f"{kept}: kept by an earlier demo; see it with VEDETTE_DATABASE__URL=sqlite:///{kept.absolute()} "
                "vedette web, or choose another --keep"
            )
    except OSError as error:
        raise PermanentError(f"{folder}: {error.strerror}; choose another --keep") from error
