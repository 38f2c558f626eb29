"""Commands over logs of the past: judge them again, score them, feed them to a running system."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from detectors.budget import DEFAULT_TOLERANCE, parse_alarm_budget
from monitor.alerting.public import transition_line
from monitor.backtest import backtest as run_backtest
from monitor.cli.extras import HeadOption, LinkOption, OwnScoreOption, TrainingOption, extras_of
from monitor.cli.options import JsonOption, LogsArgument, ModelOption, SecretSeedOption
from monitor.cli.output import check_output, new_file, print_json, progress_bar, say, warn, warn_of_rejected
from monitor.errors import PermanentError
from monitor.formats.native import NativeDecoder
from monitor.history import MAX_RECORD_BYTES, ReadCounts, no_event_of
from monitor.learning import learn_reference
from monitor.own_scores import OwnScores
from monitor.posting import post_logs
from monitor.scoring import ScoreLines, score_logs
from monitor.secret import environment_secret, seed_of
from monitor.sources.files import FileSource

app = typer.Typer()

ReferenceOption = Annotated[
    Path,
    typer.Option(
        "--reference", "-r", help="A log of ordinary events, or a reference saved by `reference fit --output`."
    ),
]


def _alarms_per_week(text: str) -> float:
    try:
        return parse_alarm_budget(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


@app.command()
def backtest(
    logs: LogsArgument,
    reference: ReferenceOption,
    model: ModelOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where alert transitions go, one JSON a line.")],
    alarm_budget: Annotated[
        float, typer.Option(parser=_alarms_per_week, metavar="BUDGET", help="Expected false alarms, as in 0.5/day.")
    ] = "1/week",  # type: ignore[assignment]  # what the parser is given
    tolerance: Annotated[
        float, typer.Option(min=0.0, max=0.99, help="Share of traffic that may change without being worth an alarm.")
    ] = DEFAULT_TOLERANCE,
    head: HeadOption = None,
    training: TrainingOption = None,
    own_score: OwnScoreOption = None,
    link: LinkOption = None,
    seed: SecretSeedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what would have been raised: the production path over a log of the past."""
    check_output(output, [*logs, reference])
    secret = environment_secret()
    seed = seed_of(secret, model) if seed is None else seed
    learned = ReadCounts()
    extras = extras_of(head, training, own_score, links=link)
    with progress_bar("Learning") as advance:
        fitted, how = learn_reference(
            [reference], model, None, seed, extras, tested=True, progress=advance, counts=learned
        )
    with progress_bar("Judging") as advance:
        source = FileSource(logs, default_model=model)
        decoder = NativeDecoder(MAX_RECORD_BYTES)
        report = run_backtest(source, decoder, fitted, model, alarm_budget, advance, tolerance, secret, extras.own)
    refuse_other_models(model, report.events, report.others)
    with new_file(output) as file:
        for change in report.changes:
            file.write(json.dumps(transition_line(change), allow_nan=False).encode() + b"\n")
    summary = {
        "records": report.records,
        "events": report.events,
        "panes": report.panes,
        "rejected": dict(report.rejected),
        "pane_s": fitted.pane_s,
        "transitions": len(report.changes),
        "alerts": len({change.incident.id for change in report.changes}),
        "not_watched": dict(fitted.unfit),
        "doubts": list(fitted.doubts),
    }
    if as_json:
        print_json(summary)
    else:
        say(
            f"{report.events:,} events in {report.panes:,} panes of {fitted.pane_s} s: "
            f"{summary['alerts']} alerts, {summary['transitions']} transitions in {output}"
        )
    warn_of_rejected("Rejected rows of the reference:", learned.rejected)
    warn_of_gaps(model, report.events, report.rejected)
    warn_of_learning(how.remarks, extras.own)
    for doubt in fitted.doubts:
        warn("Doubtful reference, its later half alarms:", doubt)
    for name, reason in fitted.unfit.items():
        warn("Not watched:", f"{name}: {reason}")


@app.command()
def score(
    logs: LogsArgument,
    reference: ReferenceOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where scores go, one JSON a line and event.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Name of the model; default: the only one in the reference.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say besides what each p-value rests on, and what makes an event strange.")
    ] = False,
    head: HeadOption = None,
    training: TrainingOption = None,
    own_score: OwnScoreOption = None,
    seed: SecretSeedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score every event of a log: how far out of the reference's distribution it is."""
    check_output(output, [*logs, reference])
    if seed is None:
        seed = seed_of(environment_secret(), model or "")
    extras = extras_of(head, training, own_score)
    with progress_bar("Scoring") as advance, new_file(output) as file:
        form = ScoreLines.EXPLAINED if explain else ScoreLines.PLAIN
        report = score_logs(logs, reference, model, seed, file, advance, extras, form)
        refuse_other_models(report.model, report.events, report.others)
    if as_json:
        print_json(
            {
                "model": report.model,
                "events": report.events,
                "rejected": dict(report.rejected),
                "inputs": list(report.inputs),
                "missing": dict(report.missing),
                "p_values": dict(report.p_values),
                "in_reference": report.in_reference,
            }
        )
    else:
        say(f"{report.events:,} events of {report.model!r} scored in {output} by {', '.join(report.inputs)}")
        for remark in report.told():
            say(remark)
    warn_of_gaps(report.model, report.events, report.rejected)
    warn_of_learning(report.remarks, extras.own)
    if report.in_reference:
        warn(
            "Not held out:",
            f"{report.in_reference:,} of these events are in the reference: their p-values look more ordinary than "
            "those of new events.",
        )


@app.command()
def replay(
    logs: LogsArgument,
    url: Annotated[str, typer.Option(help="Address of a running Vedette.")] = "http://127.0.0.1:8050",
    token: Annotated[str | None, typer.Option(envvar="VEDETTE_WEB__TOKEN", help="Its token.")] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="Model of events that name none.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Feed a log into a running system through its API."""
    with progress_bar("Posting") as advance:
        sent = post_logs(logs, url, token, model, advance)
    if as_json:
        print_json({"accepted": sent.accepted, "rejected": dict(sent.rejected)})
    else:
        say(f"{sent.accepted:,} events accepted, {sent.rejected.total():,} rejected.")
    warn_of_rejected("Rejected events:", sent.rejected)


def refuse_other_models(model: str, events: int, others: Mapping[str, int]) -> None:
    """A log without the model is a slip in its name; one without events is only quiet."""
    if others and not events:
        raise PermanentError(f"the log holds {no_event_of(model, others)}")


def warn_of_gaps(model: str, events: int, rejected: Mapping[str, int]) -> None:
    warn_of_rejected("Rejected rows:", rejected)
    if not events:
        warn("Nothing to do:", f"the log holds no event of model {model!r}.")


def warn_of_learning(remarks: Sequence[str], own: OwnScores) -> None:
    for remark in remarks:
        warn("Training rows:", remark)
    for name, n in own.failures.items():
        warn("Own score failed:", f"{name}, on {n:,} batches; their events were scored without it.")
