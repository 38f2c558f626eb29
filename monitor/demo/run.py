"""Runs the demo: the stream of ``traffic.py`` through worker, judge and delivery, faster than real time, on SQLite.

The loops are the production classes, stepped one after the other instead of in threads, so that the same seed tells the
same story. Every alert goes to a webhook receiver on this machine, whose receipts are part of the summary.
"""

from __future__ import annotations

import base64
import contextlib
import resource
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from pydantic import AnyHttpUrl, SecretStr
from rich.console import Console

from detectors.batch import concatenate
from detectors.suite import fit_reference
from monitor.alerting.incident import Change, TransitionKind
from monitor.api.server import RunningServer
from monitor.app import Vedette
from monitor.backtest import store_reference
from monitor.config import DatabaseSettings, JudgeSettings, Settings, WebhookSettings, WebSettings, WorkerSettings
from monitor.delivery.receiver import Posted, WebhookReceiver
from monitor.demo.story import AlertStory, PhaseStory, Receipt, Summary, verdicts_on
from monitor.demo.telling import Telling
from monitor.demo.traffic import EVENTS_PER_S, VERSION, Chunk, DigitService, Phase, Script
from monitor.formats.native import NativeDecoder
from monitor.sources.base import Partition, Record
from monitor.sources.memory import MemorySource
from monitor.storage.schema import migrate

_LOG = Partition("memory", "inference-logs", 0)
DATABASE_FILE = "vedette-demo.sqlite3"
_DELIVERY_BUDGET_S = 10.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the command line may choose."""

    headless: bool
    quiet: bool
    seed: int
    port: int
    folder: Path | None


def run_demo(options: DemoOptions, console: Console) -> Summary:
    """Play the whole stream; blocks until Ctrl-C afterwards unless headless.

    Raises:
        PermanentError: the dashboard's port is taken.
    """
    telling = Telling(console, quiet=options.quiet)
    with _folder(options.folder) as folder, WebhookReceiver() as receiver:
        vedette = Vedette(_settings(folder, options.port, receiver.url), "demo")
        migrate(vedette.engine)
        with _dashboard(vedette, options.headless) as server:
            if server is not None:
                telling.address(server.url)
            with telling.progress():
                summary = _Play(vedette, receiver, telling, options.seed).run()
            telling.summary(summary)
            if server is not None:
                telling.linger(server.url)
                with contextlib.suppress(KeyboardInterrupt):
                    threading.Event().wait()
        vedette.close()
    return summary


class _Play:
    """One run: the loops, and the story so far."""

    def __init__(self, vedette: Vedette, receiver: WebhookReceiver, telling: Telling, seed: int) -> None:
        self._vedette = vedette
        self._receiver = receiver
        self._telling = telling
        self._started = time.monotonic()
        self._start = _event_time_start()
        self._service = DigitService(seed, self._start)
        self._source = MemorySource()
        self._worker = vedette.worker(self._source)
        self._judge = vedette.judge()
        self._delivery = vedette.delivery()
        self._phases: dict[Phase, PhaseStory] = {}
        self._alerts: list[AlertStory] = []
        self._owed = 0

    def run(self) -> Summary:
        learning: list[Chunk] = []
        for chunk in self._service.stream():
            self._note(chunk)
            if chunk.phase is Phase.REFERENCE:
                learning.append(chunk)
            else:
                self._learn(learning)
                self._play(chunk)
            self._telling.advance(chunk.phase, len(chunk.lines))
        self._tell(self._judge.drain().changes)
        self._deliver_all()
        self._delivery.close()
        self._worker.close()
        return self._summary()

    def _learn(self, chunks: list[Chunk]) -> None:
        """Fit and activate the reference, once."""
        if not chunks:
            return
        lines = [line for chunk in chunks for line in chunk.lines]
        batches = NativeDecoder(1 << 20).decode([Record(_LOG, i, line) for i, line in enumerate(lines)]).batches
        reference = fit_reference(concatenate(batches), VERSION, seed=0)
        store_reference(self._vedette.engine, reference, datetime.now(UTC))
        chunks.clear()

    def _play(self, chunk: Chunk) -> None:
        first = self._events - len(chunk.lines)
        for i, line in enumerate(chunk.lines):
            self._source.append(Record(_LOG, first + i, line))
        while self._worker.step(0.0).records:
            pass
        self._worker.flush()
        self._source.expire(_LOG, self._events)
        self._tell(self._judge.step().changes)
        self._delivery.step(datetime.now(UTC))

    def _note(self, chunk: Chunk) -> None:
        first = self._event_time(self._events) if chunk.phase not in self._phases else self._phases[chunk.phase].first
        known = self._phases[chunk.phase].events if chunk.phase in self._phases else 0
        events = known + len(chunk.lines)
        last = self._event_time(self._events + len(chunk.lines))
        self._phases[chunk.phase] = PhaseStory(chunk.phase, events, first, last)

    @property
    def _events(self) -> int:
        return sum(phase.events for phase in self._phases.values())

    def _event_time(self, position: int) -> float:
        return self._start + position / EVENTS_PER_S

    def _tell(self, changes: Sequence[Change]) -> None:
        self._owed += len(changes)
        for change in changes:
            if change.transition.transition in (TransitionKind.OPENED, TransitionKind.REOPENED):
                alert = self._alert(change)
                self._alerts.append(alert)
                self._telling.opened(alert)

    def _alert(self, change: Change) -> AlertStory:
        incident = change.incident
        at = change.transition.event_time.timestamp()
        phase = max((p for p in self._phases.values() if p.first < at), key=lambda p: p.first)
        return AlertStory(
            alert_id=incident.id,
            kind=incident.kind.value,
            subject_type=incident.subject.type.value,
            subject_id=incident.subject.id,
            severity=incident.severity.value,
            title=incident.title,
            reason=incident.reason,
            phase=phase.phase,
            delay_events=round((at - phase.first) * EVENTS_PER_S),
        )

    def _deliver_all(self) -> None:
        deadline = time.monotonic() + _DELIVERY_BUDGET_S
        while len(self._receiver.posted) < self._owed and time.monotonic() < deadline:
            self._delivery.step(datetime.now(UTC))

    def _summary(self) -> Summary:
        receipts = [_receipt(posted) for posted in self._receiver.posted]
        return Summary(
            events=self._events,
            seconds=time.monotonic() - self._started,
            peak_memory_mb=_peak_memory_mb(),
            phases=tuple(self._phases.values()),
            alerts=tuple(self._alerts),
            receipts=receipts,
            thief=self._service.thief_id,
            verdicts=verdicts_on(self._alerts, self._service.thief_id, receipts),
        )


def _receipt(posted: Posted) -> Receipt:
    body = msgspec.json.decode(posted.body)
    return Receipt(posted.headers["webhook-id"], body["alert_id"], body["transition"], posted.status)


def _event_time_start() -> float:
    """Such that the stream ends about now, on a whole minute."""
    return (datetime.now(UTC).timestamp() - Script().n_events / EVENTS_PER_S) // 60 * 60


def _settings(folder: Path, port: int, receiver_url: str) -> Settings:
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    webhook = WebhookSettings(
        type="webhook",
        name="local-receiver",
        url=AnyHttpUrl(receiver_url),
        secret=SecretStr(secret),
        allow_http=True,
        allow_private_addresses=True,
    )
    return Settings(
        database=DatabaseSettings(url=f"sqlite:///{folder / DATABASE_FILE}"),
        worker=WorkerSettings(flush_interval_s=60.0),
        judge=JudgeSettings(lateness_s=0.0, max_wait_s=3_600.0),
        web=WebSettings(port=port),
        destinations=(webhook,),
    )


@contextlib.contextmanager
def _dashboard(vedette: Vedette, headless: bool) -> Iterator[RunningServer | None]:
    if headless:
        yield None
        return
    server = vedette.serve_web(live={})
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def _folder(chosen: Path | None) -> Iterator[Path]:
    if chosen is not None:
        chosen.mkdir(parents=True, exist_ok=True)
        yield chosen
        return
    with tempfile.TemporaryDirectory(prefix="vedette-demo-") as folder:
        yield Path(folder)


def _peak_memory_mb() -> float:
    """The most memory this program held; on Linux without what its process was before it became this one."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) / 1024.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
