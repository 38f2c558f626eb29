"""``vedette reference``: learn what normal looks like, and choose which of it to judge with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from detectors.reference import Reference, reference_id
from detectors.schema import Schema
from monitor.backtest import store_reference
from monitor.cli.extras import HeadOption, LinkOption, OwnScoreOption, TrainingOption, extras_of
from monitor.cli.options import (
    ConfigOption,
    JsonOption,
    LogsArgument,
    ModelOption,
    SecretSeedOption,
    database_of,
    settings_of,
)
from monitor.cli.output import (
    check_output,
    fail,
    new_file,
    print_json,
    print_line,
    print_table,
    progress_bar,
    say,
    warn,
    warn_of_rejected,
)
from monitor.history import ReadCounts
from monitor.learning import Fit, learn_reference
from monitor.secret import DeploymentSecret, deployment_secret, seed_of
from monitor.storage.engine import reading, transaction
from monitor.storage.references import StoredReference, activate_reference, list_references
from monitor.training import fit_with_training, hash_training, training_hashes

app = typer.Typer()
commands = typer.Typer(help="What normal looks like, for each model.", no_args_is_help=True)
app.add_typer(commands, name="reference")

KNOWN_SEEDS = (
    "VEDETTE_SECRET is not set, so random features and hash keys are those that anybody with this code knows; set it "
    "to 32 random characters or more, the same for every process"
)
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id from `vedette reference list`.")]


@commands.command()
def fit(
    files: LogsArgument,
    model: ModelOption,
    version: Annotated[
        str | None, typer.Option(help="Take only this version, and serve only it; default: all versions.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the reference to a file instead of the database.")
    ] = None,
    pane_s: Annotated[
        int | None, typer.Option(min=1, help="Pane width in seconds; default: from the event rate.")
    ] = None,
    activate: Annotated[bool, typer.Option(help="Judge with it from now on.")] = True,
    keep_doubtful: Annotated[
        bool, typer.Option("--keep-doubtful", help="Keep a reference that drifts within itself.")
    ] = False,
    head: HeadOption = None,
    training: TrainingOption = None,
    hashes: Annotated[
        Path | None,
        typer.Option("--training-hashes", help="Hashes of the training rows, made by `reference hash-training`."),
    ] = None,
    own_score: OwnScoreOption = None,
    link: LinkOption = None,
    seed: SecretSeedOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn what normal looks like from a log of ordinary events."""
    counts = ReadCounts()
    settings = settings_of(config)
    extras = extras_of(head, training, own_score, () if output else settings.scores, link)

    def learned(secret: DeploymentSecret | None) -> Reference:
        chosen = seed_of(secret, model) if seed is None else seed
        around = _knowing(hashes, model, secret)
        with progress_bar("Reading") as advance:
            found, how = learn_reference(
                files,
                model,
                version,
                chosen,
                extras,
                tested=True,
                pane_s=pane_s,
                progress=advance,
                counts=counts,
                around=around,
            )
        for remark in how.remarks:
            warn("Training rows:", remark)
        return found

    if output:
        check_output(output, files)
        reference = learned(deployment_secret(settings, create=False))
        _refuse_doubtful(reference, keep_doubtful)
        identity = _write(reference, output)
    else:
        with database_of(settings, "reference") as engine:
            secret = deployment_secret(settings, create=True)
            if secret is None and seed is None:
                warn("No secret:", KNOWN_SEEDS)
            reference = learned(secret)
            _refuse_doubtful(reference, keep_doubtful)
            identity = store_reference(engine, reference, datetime.now(UTC), activate=activate)
    _print_facts(reference.summary() | {"id": identity}, as_json)
    warn_of_rejected("Rejected rows:", counts.rejected)


@commands.command("hash-training")
def hash_training_rows(
    files: LogsArgument,
    model: ModelOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the hashes go.")],
    leave_out: Annotated[
        list[str] | None, typer.Option("--leave-out", help="A column that queries do not have; may be repeated.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hash the rows that a model was trained on, so that membership probing can be told; no row is kept."""
    check_output(output, files)
    secret = deployment_secret(settings_of(config), create=True)
    if secret is None:
        fail("hashing training rows needs a secret: set VEDETTE_SECRET to 32 characters or more, the same everywhere")
    counts = ReadCounts()
    with progress_bar("Hashing") as advance:
        hashes = hash_training(files, model, secret, leave_out or (), advance, counts)
    with new_file(output) as file:
        file.write(hashes.to_bytes())
    facts = {
        "model": model,
        "rows": hashes.n_rows,
        "distinct": len(hashes.exact),
        "columns": list(hashes.code.columns),
        "near_hits": bool(hashes.near),
    }
    if as_json:
        print_json(facts)
    else:
        say(f"{hashes.n_rows:,} training rows of {model!r} ({len(hashes.exact):,} distinct) hashed in {output}")
    warn_of_rejected("Rejected rows:", counts.rejected)


@commands.command("list")
def list_all(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """All references by model and version, newest first."""
    rows = _stored(config)
    if as_json:
        print_json([_listed(row) for row in rows])
        return
    print_table(
        ("id", "model", "version", "active", "events", "pane", "created"),
        [
            (
                r.id,
                r.model,
                r.version or "(any)",
                "yes" if r.active else "",
                f"{r.n_events:,}",
                f"{r.pane_s} s",
                f"{r.created_at:%Y-%m-%d %H:%M}",
            )
            for r in rows
        ],
    )


@commands.command()
def show(identity: IdArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """The facts of one reference."""
    found = [row for row in _stored(config) if row.id == identity]
    if not found:
        fail(f"there is no reference {identity!r}: `vedette reference list` shows which there are")
    _print_facts({**found[0].summary, **_listed(found[0])}, as_json)


@commands.command()
def activate(identity: IdArgument, config: ConfigOption = None) -> None:
    """Judge with this reference from now on."""
    with database_of(settings_of(config), "reference") as engine, transaction(engine) as connection:
        activate_reference(connection, identity)
    say(f"Reference {identity} is active.")


def _stored(config: Path | None) -> list[StoredReference]:
    with database_of(settings_of(config), "reference") as engine, reading(engine) as connection:
        return list(list_references(connection))


def _refuse_doubtful(reference: Reference, keep: bool) -> None:
    """A reference that drifts within itself is not kept unless the user insists."""
    if reference.doubts and not keep:
        told = "\n".join(f"  {doubt}" for doubt in reference.doubts)
        fail(
            "these events are no picture of normal: judged by their earlier half, their later half raises alarms.\n"
            f"{told}\n"
            "Leave out the odd part or take a longer log; --keep-doubtful keeps the reference all the same"
        )


def _knowing(hashes: Path | None, model: str, secret: DeploymentSecret | None) -> Callable[[Fit], Fit]:
    """What makes a fit know the training rows, where hashes of them are given."""
    if hashes is None:
        return lambda fit: fit
    known = training_hashes(hashes, model, secret)
    assert secret is not None
    return partial(fit_with_training, known, secret)


def _write(reference: Reference, output: Path) -> str:
    data = reference.to_bytes()
    with new_file(output) as file:
        file.write(data)
    return reference_id(data)


def _listed(row: StoredReference) -> dict[str, Any]:
    return {
        "id": row.id,
        "model": row.model,
        "version": row.version,
        "active": row.active,
        "n_events": row.n_events,
        "pane_s": row.pane_s,
        "created_at": row.created_at.isoformat(),
    }


def _print_facts(facts: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    version = f", version {facts['version']!r}" if facts["version"] else ""
    print_line(f"Reference {facts['id']} of {facts['model']!r}{version}")
    print_line(f"  {facts['n_events']:,} events of {facts['n_clients']:,} clients, panes of {facts['pane_s']} s")
    print_line(f"  Watched: {', '.join(facts['detectors']) or 'nothing'}")
    for name, reason in facts["unfit"].items():
        print_line(f"  Not watched: {name}: {reason}")
    for doubt in facts.get("doubts", ()):
        print_line(f"  Doubtful: {doubt}")
    if facts.get("untested"):
        print_line(f"  Not tested by itself: {facts['untested']}")
    for name, reason in Schema.from_json(facts["schema"]).left_out.items():
        print_line(f"  Left out: {name}: {reason}")
    if "active" in facts:
        print_line("  Active" if facts["active"] else "  Not active")
