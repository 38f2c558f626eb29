"""Commands that make and check an installation."""

from __future__ import annotations

import typer

from monitor.checks import check_installation
from monitor.cli.options import ConfigOption, JsonOption, settings_of
from monitor.cli.output import print_json, print_table, say
from monitor.storage.engine import create_engine
from monitor.storage.schema import migrate

app = typer.Typer()


@app.command("migrate")
def migrate_database(config: ConfigOption = None) -> None:
    """Create or upgrade the database schema."""
    engine = create_engine(settings_of(config).database.url, "migrate")
    try:
        migrate(engine)
    finally:
        engine.dispose()
    say("The database schema is up to date.")


@app.command()
def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check settings, versions and connections."""
    findings = check_installation(settings_of(config))
    if as_json:
        print_json([finding.to_json() for finding in findings])
    else:
        print_table(("what", "result", "message"), [(f.what, "ok" if f.ok else "failed", f.message) for f in findings])
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
