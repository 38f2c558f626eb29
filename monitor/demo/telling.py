"""What the demo prints while it plays: one bar a stretch, alerts as they open, a summary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Table

from monitor.demo.story import AlertStory, Summary
from monitor.demo.traffic import Phase, Script

WORDS = {
    Phase.REFERENCE: "reference: learning what is normal",
    Phase.HONEST: "honest: 300 ordinary clients",
    Phase.DRIFT: "drift: a firmware update makes images paler",
    Phase.FOREIGN: "foreign: an app release inverts some images",
    Phase.THEFT: "theft: one client steals the model",
}


class Telling:
    """Prints to ``console``; says nothing when ``quiet``."""

    def __init__(self, console: Console, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        columns = (SpinnerColumn(), TextColumn("{task.description:<46}"), BarColumn(), MofNCompleteColumn())
        self._bars = Progress(*columns, console=console, disable=quiet)
        self._tasks: dict[Phase, TaskID] = {}

    @contextmanager
    def progress(self) -> Iterator[None]:
        with self._bars:
            for phase, length in Script().lengths:
                self._tasks[phase] = self._bars.add_task(WORDS[phase], total=length)
            yield

    def advance(self, phase: Phase, events: int) -> None:
        self._bars.advance(self._tasks[phase], events)

    def opened(self, alert: AlertStory) -> None:
        self._say(
            f"[bold]{alert.severity.upper()}[/] after {alert.delay_events:,} events: {alert.title}\n    {alert.reason}"
        )

    def address(self, url: str) -> None:
        self._say(f"Dashboard: [link={url}]{url}[/link]")

    def summary(self, summary: Summary) -> None:
        if self._quiet:
            return
        table = Table("alert", "kind", "subject", "severity", "stretch", "delay", title="Incidents")
        for alert in summary.alerts:
            subject = alert.subject_id or alert.subject_type
            delay = f"{alert.delay_events:,} events"
            table.add_row(alert.alert_id[:12], alert.kind, subject, alert.severity, alert.phase.value, delay)
        self._console.print(table)
        for words, kept in summary.verdicts:
            self._console.print(f"  {'[green]✓[/]' if kept else '[bold red]✗[/]'} {words}")
        self._console.print(
            f"{summary.events:,} events in {summary.seconds:.0f} s, {summary.peak_memory_mb:.0f} MB, "
            f"{len(summary.receipts)} notifications received by the webhook:",
            highlight=False,
        )
        for receipt in summary.receipts:
            line = (
                f"  {receipt.webhook_id[:12]}  alert {receipt.alert_id[:12]} {receipt.transition}: {receipt.answered}"
            )
            self._console.print(line, highlight=False)

    def linger(self, url: str) -> None:
        self._say(f"The dashboard stays up at [link={url}]{url}[/link]; Ctrl-C ends the demo.")

    def _say(self, text: str) -> None:
        if not self._quiet:
            self._console.print(text, highlight=False)
