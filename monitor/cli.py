"""``vedette``: the command line. Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 130 interrupted.

Data goes to standard output, progress and messages to standard error, so that output can be piped.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from detectors.budget import parse_alarm_budget
from detectors.reference import reference_id
from monitor.alerting.public import transition_line
from monitor.app import LOOPS, Vedette
from monitor.backtest import backtest as run_backtest
from monitor.backtest import store_reference
from monitor.checks import check_installation
from monitor.config import Settings, load_settings
from monitor.demo.run import DemoOptions, run_demo
from monitor.errors import PermanentError, SettingsError, VedetteError
from monitor.formats.native import NativeDecoder
from monitor.history import MAX_RECORD_BYTES, reference_from_file
from monitor.posting import post_logs
from monitor.running import Service, stopping_on_signals
from monitor.scoring import score_logs
from monitor.sources.files import FileSource
from monitor.storage.dead_letters import delete_dead_letters, list_dead_letters, requeue, retriable
from monitor.storage.engine import create_engine, reading, transaction
from monitor.storage.references import activate_reference, list_references
from monitor.storage.schema import check_schema, migrate
from monitor.telemetry import configure_logging

app = typer.Typer(
    name="vedette",
    help="Watches AI models in production: drift, out-of-distribution inputs, model theft.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
reference_app = typer.Typer(help="What normal looks like, for each model.", no_args_is_help=True)
dlq_app = typer.Typer(help="Records that could not be read.", no_args_is_help=True)
app.add_typer(reference_app, name="reference")
app.add_typer(dlq_app, name="dlq")

out = Console()
err = Console(stderr=True)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="TOML settings file; default $VEDETTE_CONFIG, else ./vedette.toml if there."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
ModelOption = Annotated[str, typer.Option("--model", "-m", help="Name of the model, as its events carry it.")]
LogsArgument = Annotated[
    list[Path], typer.Argument(help="Logs: NDJSON, CSV or Parquet, gzip allowed; read in the order given.")
]
ReferenceOption = Annotated[
    Path,
    typer.Option(
        "--reference", "-r", help="A log of ordinary events, or a reference saved by `reference fit --output`."
    ),
]
BudgetOption = Annotated[
    str | None, typer.Option("--alarm-budget", help="Expected false alarms, e.g. 1/week or 0.5/day. [default: 1/week]")
]
SeedOption = Annotated[int, typer.Option(help="Seed of everything random in fitting.")]


@contextmanager
def friendly() -> Iterator[None]:
    """Known errors as one readable message and an exit code; anything else is a defect and shows its traceback."""
    try:
        yield
    except SettingsError as error:
        err.print("[bold red]Wrong settings:[/]")
        for fault in error.faults:
            err.print(f"  • {fault}", markup=False)
        raise typer.Exit(2) from error
    except VedetteError as error:
        fail(str(error))
    except KeyboardInterrupt as error:
        raise typer.Exit(130) from error


def fail(message: str, code: int = 1) -> NoReturn:
    err.print("[bold red]Error:[/] ", end="")
    err.print(message, markup=False, highlight=False)
    raise typer.Exit(code)


def settings_of(config: Path | None, overrides: Mapping[str, Any] | None = None) -> Settings:
    settings = load_settings(config, overrides)
    configure_logging(settings.log_format)
    return settings


def budget_of(text: str | None) -> float:
    try:
        return parse_alarm_budget(text or "1/week")
    except ValueError as error:
        fail(str(error), code=2)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int], None]]:
    """Counts records on standard error; silent where that is not a terminal."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal, transient=True) as bar:
        task: TaskID = bar.add_task(what, total=None)
        counted = 0

        def advance(records: int) -> None:
            nonlocal counted
            counted += records
            bar.update(task, description=f"{what}: {counted:,} records")

        yield advance


# --- running ---------------------------------------------------------------------------------------------------------


@app.command()
def demo(
    headless: Annotated[bool, typer.Option(help="No dashboard and no prompt.")] = False,
    as_json: JsonOption = False,
    seed: SeedOption = 7,
    port: Annotated[int, typer.Option(help="Port of the dashboard; 0 takes a free one.")] = 8050,
    keep: Annotated[Path | None, typer.Option(help="Folder to keep the demo's database in.")] = None,
) -> None:
    """See it work: a real model, honest clients, then drift, foreign inputs and a thief. No services needed."""
    with friendly():
        configure_logging("console", level=30)
        summary = run_demo(DemoOptions(headless=headless, quiet=as_json, seed=seed, port=port, folder=keep), err)
        if as_json:
            print_json(summary.to_json())
        if not summary.as_promised:
            raise typer.Exit(1)


@app.command()
def up(config: ConfigOption = None) -> None:
    """Run everything in one process: worker, judge, deliver and web."""
    run_loops(config, LOOPS, with_web=True)


@app.command()
def worker(config: ConfigOption = None) -> None:
    """Run loop 1: read records, sketch events, commit."""
    run_loops(config, ("worker",))


@app.command()
def judge(config: ConfigOption = None) -> None:
    """Run loop 2: judge panes, keep alerts."""
    run_loops(config, ("judge",))


@app.command()
def deliver(config: ConfigOption = None) -> None:
    """Run loop 3: send what is owed to webhooks and Slack."""
    run_loops(config, ("deliver",))


@app.command()
def web(config: ConfigOption = None) -> None:
    """Serve the dashboard and the API."""
    run_loops(config, (), with_web=True)


def run_loops(config: Path | None, names: Sequence[str], with_web: bool = False) -> None:
    with friendly():
        settings = settings_of(config)
        role = "up" if len(names) > 1 else (names[0] if names else "web")
        vedette = Vedette(settings, role)
        if settings.database.url.startswith("sqlite") and (len(names) > 1 or with_web):
            migrate(vedette.engine)
        service = Service(vedette.loop_specs(names))
        server = vedette.serve_web(service.probes()) if with_web else None
        with stopping_on_signals(service):
            service.start()
            if server is not None:
                err.print(f"Dashboard: [link]{server.url}[/link]   events: POST {server.url}/api/v1/events")
            try:
                service.wait()
            finally:
                service.stop()
                if server is not None:
                    server.stop()
                vedette.close()


@app.command("migrate")
def migrate_database(config: ConfigOption = None) -> None:
    """Create or upgrade the database schema."""
    with friendly():
        settings = settings_of(config)
        engine = create_engine(settings.database.url, "migrate")
        migrate(engine)
        err.print("The database schema is up to date.")


@app.command()
def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check settings, versions and connections."""
    with friendly():
        findings = check_installation(settings_of(config))
        if as_json:
            print_json([finding.to_json() for finding in findings])
        else:
            for finding in findings:
                mark = "[green]ok[/]" if finding.ok else "[bold red]failed[/]"
                out.print(f"{finding.what:<12} {mark}  ", end="")
                out.print(finding.message, markup=False, highlight=False)
        if not all(finding.ok for finding in findings):
            raise typer.Exit(1)


# --- references ------------------------------------------------------------------------------------------------------


@reference_app.command("fit")
def reference_fit(
    files: LogsArgument,
    model: ModelOption,
    version: Annotated[
        str | None, typer.Option(help="Take only this version, and serve only it; default: all versions.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write the reference to a file instead of the database.")] = None,
    pane_s: Annotated[int | None, typer.Option(help="Pane width in seconds; default: from the event rate.")] = None,
    activate: Annotated[bool, typer.Option(help="Judge with it from now on.")] = True,
    seed: SeedOption = 0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn what normal looks like from a log of ordinary events."""
    with friendly():
        settings = None if output else settings_of(config)
        with progress_bar("Reading"):
            reference = reference_from_file(files, model, version, seed, pane_s)
        if output:
            output.write_bytes(reference.to_bytes())
            identity = reference_id(reference.to_bytes())
        else:
            assert settings is not None
            engine = create_engine(settings.database.url, "reference")
            check_schema(engine)
            identity = store_reference(engine, reference, datetime.now(UTC), activate=activate)
        summary = {"id": identity, **reference.summary()}
        if as_json:
            print_json(summary)
            return
        out.print(
            f"Reference {identity} of {model!r}: {reference.n_events:,} events of {reference.n_clients:,} clients,"
        )
        out.print(f"  {len(reference.schema.columns)} columns, panes of {reference.pane_s} s.")
        out.print(f"  Watched: {', '.join(sorted(reference.parts)) or 'nothing'}.")
        for name, reason in reference.unfit.items():
            out.print(f"  Not watched: {name}: {reason}", markup=False)


@reference_app.command("list")
def reference_list(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """All references, newest first."""
    with friendly():
        engine = create_engine(settings_of(config).database.url, "reference")
        with reading(engine) as connection:
            rows = list_references(connection)
        if as_json:
            print_json(
                [
                    {
                        "id": r.id,
                        "model": r.model,
                        "version": r.version,
                        "active": r.active,
                        "n_events": r.n_events,
                        "pane_s": r.pane_s,
                        "created_at": r.created_at.isoformat(),
                    }
                    for r in rows
                ]
            )
            return
        table = Table("id", "model", "version", "active", "events", "pane", "created")
        for r in rows:
            table.add_row(
                r.id,
                r.model,
                r.version or "(any)",
                "yes" if r.active else "",
                f"{r.n_events:,}",
                f"{r.pane_s} s",
                f"{r.created_at:%Y-%m-%d %H:%M}",
            )
        out.print(table)


@reference_app.command("show")
def reference_show(identity: str, config: ConfigOption = None) -> None:
    """The facts of one reference, as JSON."""
    with friendly():
        engine = create_engine(settings_of(config).database.url, "reference")
        with reading(engine) as connection:
            found = [r for r in list_references(connection) if r.id == identity]
        if not found:
            fail(f"no reference {identity!r}; `vedette reference list` shows them")
        print_json({"id": found[0].id, "active": found[0].active, **found[0].summary})


@reference_app.command("activate")
def reference_activate(identity: str, config: ConfigOption = None) -> None:
    """Judge with this reference from now on."""
    with friendly():
        engine = create_engine(settings_of(config).database.url, "reference")
        with transaction(engine) as connection:
            activate_reference(connection, identity)
        err.print(f"Reference {identity} is active.")


# --- the past --------------------------------------------------------------------------------------------------------


@app.command()
def backtest(
    logs: LogsArgument,
    reference: ReferenceOption,
    model: ModelOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where alert transitions go, one JSON a line.")],
    alarm_budget: BudgetOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Say what would have been raised: the production path over a log of the past."""
    with friendly():
        configure_logging("console", level=30)
        budget = budget_of(alarm_budget)
        fitted = reference_from_file([reference], model, None, seed)
        with progress_bar("Judging") as advance:
            report = run_backtest(
                FileSource(logs, default_model=model), NativeDecoder(MAX_RECORD_BYTES), fitted, model, budget, advance
            )
        write_lines(output, (transition_line(change) for change in report.changes))
        summary = {
            "records": report.records,
            "events": report.events,
            "panes": report.panes,
            "rejected": dict(report.rejected),
            "pane_s": fitted.pane_s,
            "transitions": len(report.changes),
            "alerts": len({change.incident.id for change in report.changes}),
            "not_watched": dict(fitted.unfit),
        }
        if as_json:
            print_json(summary)
        else:
            err.print(
                f"{report.events:,} events in {report.panes:,} panes of {fitted.pane_s} s: "
                f"{summary['alerts']} alerts, {summary['transitions']} transitions in {output}"
            )
        warn_of_gaps(model, report.events, report.rejected, fitted.unfit)


@app.command()
def score(
    logs: LogsArgument,
    reference: ReferenceOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where scores go, one JSON a line and event.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Name of the model; default: the only one in the reference.")
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Score every event of a log: how far out of the reference's distribution it is."""
    with friendly():
        configure_logging("console", level=30)
        with progress_bar("Scoring") as advance, output.open("wb") as file:
            report = score_logs(logs, reference, model, seed, file, advance)
        if as_json:
            print_json({"model": report.model, "events": report.events, "rejected": dict(report.rejected)})
        else:
            err.print(f"{report.events:,} events of {report.model!r} scored in {output}")
        warn_of_gaps(report.model, report.events, report.rejected, {})


@app.command()
def replay(
    logs: LogsArgument,
    url: Annotated[str, typer.Option(help="Address of a running Vedette.")] = "http://127.0.0.1:8050",
    token: Annotated[str | None, typer.Option(envvar="VEDETTE_WEB__TOKEN", help="Its token.")] = None,
) -> None:
    """Feed a log into a running system through its API."""
    with friendly(), progress_bar("Posting") as advance:
        sent = post_logs(logs, url, token, advance)
        err.print(f"{sent.accepted:,} events accepted, {sent.rejected:,} rejected.")


# --- dead letters ----------------------------------------------------------------------------------------------------


@dlq_app.command("list")
def dlq_list(
    config: ConfigOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000)] = 50,
    after: Annotated[int, typer.Option(help="Show those after this id.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Records that were set aside, with position and reason."""
    with friendly():
        engine = create_engine(settings_of(config).database.url, "dlq")
        with reading(engine) as connection:
            letters = list_dead_letters(connection, after=after, limit=limit)
        rows = [
            {
                "id": x.id,
                "topic": x.topic,
                "partition": x.partition,
                "offset": x.offset,
                "row": x.row,
                "reason": str(x.reason),
                "message": x.message,
                "value_bytes": x.value_bytes,
                "retriable": x.kept_whole,
            }
            for x in letters
        ]
        if as_json:
            print_json(rows)
            return
        table = Table("id", "position", "reason", "message", "bytes", "retriable")
        for row in rows:
            position = f"{row['topic']}-{row['partition']}-{row['offset']}"
            cells = (str(row["id"]), position, row["reason"], row["message"], f"{row['value_bytes']:,}")
            table.add_row(*[str(cell) for cell in cells], "yes" if row["retriable"] else "no")
        out.print(table)


@dlq_app.command("retry")
def dlq_retry(
    ids: Annotated[list[int], typer.Argument(help="Ids from `vedette dlq list`.")], config: ConfigOption = None
) -> None:
    """Read these records again, as if they had just arrived over HTTP."""
    with friendly():
        settings = settings_of(config)
        engine = create_engine(settings.database.url, "dlq")
        if settings.kafka is None:
            with transaction(engine) as connection:
                again = requeue(connection, ids, datetime.now(UTC))
        else:
            again = produce_again(Vedette(settings, "dlq"), ids)
        err.print(f"{again} of {len(ids)} records queued again; the others were not kept whole.")


def produce_again(vedette: Vedette, ids: Sequence[int]) -> int:
    """Dead letters back onto the topic, then away; a crash in between leaves both, never neither."""
    with transaction(vedette.engine) as connection:
        letters = retriable(connection, ids[:1_000])
        vedette.intake().append([letter.value for letter in letters if letter.value is not None])
        return delete_dead_letters(connection, [letter.id for letter in letters])


# --- output ----------------------------------------------------------------------------------------------------------


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def write_lines(path: Path, lines: Iterator[Mapping[str, Any]]) -> None:
    try:
        with path.open("w", encoding="utf-8") as file:
            for line in lines:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
    except OSError as error:
        raise PermanentError(f"{path}: {error.strerror}; choose another --output") from error


def warn_of_gaps(model: str, events: int, rejected: Mapping[str, int], unfit: Mapping[str, str]) -> None:
    if rejected:
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in rejected.items())
        err.print(f"[yellow]Rejected rows:[/] {reasons}", highlight=False)
    if not events:
        err.print(f"[yellow]No event of model {model!r} in the log.[/]", highlight=False)
    for name, reason in unfit.items():
        err.print(f"[yellow]Not watched:[/] {name}: {reason}", highlight=False)


if __name__ == "__main__":
    app()
