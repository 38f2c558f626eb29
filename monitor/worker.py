"""Loop 1: poll → decode → sketch → commit.

A worker holds nothing that cannot be read again. What it has read of a partition since the last commit is a list of
batches; a commit turns them into deltas and moves the partition's offset in one transaction, fenced by the epoch that
the worker drew when it was assigned the partition. Killed anywhere, the next owner starts at the committed offset.

The memory of clients' recent queries is soft: on assignment the records just before the offset are read once more to
warm it, and not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import TypedDict

import numpy as np
import sqlalchemy as sa
import structlog

from detectors.batch import EventBatch, concatenate
from detectors.sketch import Sketch
from detectors.suite import Memory, slice_by_pane
from monitor.alerting.routing import Route
from monitor.config import WorkerSettings
from monitor.errors import Fenced, PermanentError
from monitor.formats.base import Decoder, Rejection
from monitor.late_labels import LateDeltas, LateLabels
from monitor.naming import named
from monitor.own_scores import OwnScores
from monitor.sources.base import Bounds, Partition, Record, Source
from monitor.storage.engine import transaction
from monitor.storage.gaps import record_gap
from monitor.storage.progress import Claim, Commit, DeadLetter, Delta, caught_up, claim, commit
from monitor.storage.strange_events import NamedEvent
from monitor.suites import SuiteBook
from monitor.telemetry import Metrics

UNWATCHED_PANE_S = 10
"""Pane width for models that have no reference yet: their events are counted, not judged."""

_MAX_MEMORIES = 64
_CAUGHT_UP_EVERY_S = 10.0

log = structlog.get_logger(__name__)


class StartAt(StrEnum):
    """Where a partition starts that was never read."""

    EARLIEST = "earliest"
    LATEST = "latest"


@dataclass(frozen=True, slots=True)
class _Goal:
    """Where a partition ended at some moment; committed up to there, it is complete as of then."""

    high: int
    at: datetime


@dataclass
class _Held:
    """One partition's part of the loop: where it is, and what it has read since the last commit."""

    epoch: int
    committed: int
    position: int
    warm_until: int
    asked_at: datetime
    lost: int = 0
    high: int | None = None
    watermark: float | None = None
    n_records: int = 0
    n_events: int = 0
    goal: _Goal | None = None
    batches: list[EventBatch] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)

    @property
    def dirty(self) -> bool:
        return self.position != self.committed or self.lost > 0


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What one step did."""

    records: int
    events: int
    commits: int


class Worker:
    """One consumer process; ``step`` never blocks longer than a poll and a commit."""

    def __init__(
        self,
        *,
        source: Source,
        decoder: Decoder,
        engine: sa.Engine,
        suites: SuiteBook,
        settings: WorkerSettings,
        owner: str,
        metrics: Metrics,
        clock: Callable[[], datetime],
        routes: Sequence[Route] = (),
        start_at: StartAt = StartAt.EARLIEST,
        own: OwnScores | None = None,
    ) -> None:
        self._source = source
        self._decoder = decoder
        self._engine = engine
        self._suites = suites
        self._settings = settings
        self._owner = owner
        self._metrics = metrics
        self._clock = clock
        self._routes = routes
        self._start_at = start_at
        self._own = own or OwnScores()
        self._labels = LateLabels(suites, settings.label_wait_days, settings.most_waiting_labels, clock)
        self._to_start: dict[Partition, None] = {}
        self._held: dict[Partition, _Held] = {}
        self._memories: dict[tuple[str, str, str], tuple[Memory, ...]] = {}
        self._flushed_at = clock()

    def step(self, poll_timeout_s: float = 0.2) -> WorkerReport:
        """Poll once; commit when the flush interval has passed.

        Raises:
            TransientError: the log or the database is away. Nothing is lost: call ``forget`` and step again.
        """
        commits = self._rebalance()
        polled = self._source.poll(poll_timeout_s, self._settings.max_records_per_poll)
        n_records, n_events = 0, 0
        for partition, records in polled.items():
            held = self._held.get(partition)
            if held is not None and records:
                n_records += len(records)
                n_events += self._take(held, records)
        waited = (self._clock() - self._flushed_at).total_seconds()
        if waited >= self._settings.flush_interval_s or waited < 0:
            commits += self.flush()
        return WorkerReport(n_records, n_events, commits)

    def flush(self) -> int:
        """Commit what is held of every partition; returns the number of commits that took effect."""
        self._flushed_at = self._clock()
        commits = sum(self._commit(partition) for partition in list(self._held))
        for partition, held in self._held.items():
            self._say_caught_up(partition, held)
        return commits

    def forget(self) -> None:
        """Drop everything uncommitted; the next step claims every partition anew."""
        self._to_start.update(dict.fromkeys(self._held))
        self._held.clear()

    def close(self) -> None:
        """Commit and leave."""
        try:
            self.flush()
        finally:
            self._source.close()

    def _rebalance(self) -> int:
        change = self._source.assignment()
        self._to_start.update(dict.fromkeys(change.assigned))
        for partition in change.lost:
            self._let_go(partition)
        commits = 0
        for partition in change.revoked:
            commits += self._commit(partition)
            self._let_go(partition)
        for partition in list(self._to_start):
            self._start(partition)
            del self._to_start[partition]
        return commits

    def _let_go(self, partition: Partition) -> None:
        self._held.pop(partition, None)
        self._to_start.pop(partition, None)

    def _start(self, partition: Partition) -> None:
        bounds = self._source.bounds(partition)
        with transaction(self._engine) as connection:
            claimed = claim(connection, partition, self._owner, self._clock())
        offset = self._first_offset(bounds) if claimed.next_offset is None else claimed.next_offset
        lost = max(0, bounds.low - offset)
        offset += lost
        if offset > bounds.high:
            raise PermanentError(
                f"{partition.topic}-{partition.number} ends at {bounds.high:,}, but was read up to {offset:,}: the log "
                "was truncated. Use a topic of a new name, or delete its row in the table partitions to start over"
            )
        warm_from = max(bounds.low, offset - self._settings.warm_up_records)
        self._held[partition] = _Held(
            epoch=claimed.epoch,
            committed=offset - lost,
            position=offset,
            warm_until=offset,
            asked_at=self._clock(),
            lost=lost,
            high=bounds.high,
        )
        self._source.seek(partition, warm_from)
        log.info("partition assigned", topic=partition.topic, partition=partition.number, offset=offset, lost=lost)

    def _first_offset(self, bounds: Bounds) -> int:
        return bounds.high if self._start_at is StartAt.LATEST else bounds.low

    def _take(self, held: _Held, records: Sequence[Record]) -> int:
        warm = [record for record in records if record.offset < held.warm_until]
        fresh = [record for record in records if record.offset >= max(held.warm_until, held.position)]
        for batch in self._decoder.decode(warm).batches if warm else ():
            self._annotate(batch)
        if not fresh:
            return 0
        decoded = self._decoder.decode(fresh)
        for batch in decoded.batches:
            held.batches.append(self._annotate(batch))
            middle = float(np.median(batch.timestamp))
            held.watermark = middle if held.watermark is None else max(held.watermark, middle)
        n_events = sum(len(batch) for batch in decoded.batches)
        held.n_events += n_events
        held.dead_letters += [self._dead_letter(rejection) for rejection in decoded.rejections]
        held.position = fresh[-1].offset + 1
        held.high = max(held.high or 0, held.position)
        held.n_records += len(fresh)
        return n_events

    def _annotate(self, batch: EventBatch) -> EventBatch:
        suite = self._suites.active(batch.model, batch.version)
        if suite is None:
            return batch
        key = (batch.model, batch.version, suite.reference_id)
        if key not in self._memories:
            if len(self._memories) >= _MAX_MEMORIES:
                self._memories.pop(next(iter(self._memories)))
            self._memories[key] = suite.memories()
        batch = suite.read(batch)
        for memory in self._memories[key]:
            batch = memory.annotate(batch)
        return self._own.annotate(batch)

    def _dead_letter(self, rejection: Rejection) -> DeadLetter:
        value = rejection.record.value or b""
        return DeadLetter(
            offset=rejection.record.offset,
            row=rejection.row,
            reason=rejection.reason,
            message=rejection.message,
            value=value[: self._settings.dead_letter_value_bytes],
            value_bytes=len(value),
        )

    def _commit(self, partition: Partition) -> int:
        held = self._held.get(partition)
        if held is None or not held.dirty:
            return 0
        what = Commit(
            partition=partition,
            epoch=held.epoch,
            from_offset=held.committed,
            next_offset=held.position,
            high_offset=held.high,
            watermark=held.watermark,
            n_events=held.n_events,
            lost=held.lost,
            dead_letters=held.dead_letters,
            **self._sketched(held.batches),
        )
        halves = self._labels.halves(held.batches, partition)
        try:
            with self._metrics.commit_seconds.time(), transaction(self._engine) as connection:
                late = self._labels.settle(connection, halves)
                commit(connection, replace(what, deltas=[*what.deltas, *late.deltas]), self._clock())
                if held.lost:
                    record_gap(connection, partition, held.lost, self._routes, self._clock())
        except Fenced:
            self._metrics.fenced_commits.inc()
            del self._held[partition]
            log.warning("partition taken over by another worker", topic=partition.topic, partition=partition.number)
            return 0
        self._count(held, partition, late)
        held.committed, held.lost, held.n_records, held.n_events = held.position, 0, 0, 0
        held.batches, held.dead_letters = [], []
        self._source.mirror({partition: held.committed})
        return 1

    def _say_caught_up(self, partition: Partition, held: _Held) -> None:
        """So that a model without events can be told from a log that is not read."""
        now = self._clock()
        if held.goal is None:
            if abs((now - held.asked_at).total_seconds()) >= _CAUGHT_UP_EVERY_S:
                held.goal, held.asked_at = _Goal(self._source.bounds(partition).high, now), now
            return
        if held.committed >= held.goal.high:
            with transaction(self._engine) as connection:
                caught_up(connection, Claim(partition, held.epoch, None), held.goal.at)
            held.goal = None

    def _count(self, held: _Held, partition: Partition, late: LateDeltas) -> None:
        self._metrics.consumed_records.inc(held.n_records)
        self._metrics.events.inc(held.n_events)
        for letter in held.dead_letters:
            self._metrics.dead_letters.labels(letter.reason.value).inc()
        for outcome, n in late.outcomes.items():
            self._metrics.late_labels.labels(outcome).inc(n)
        lag = max(0, (held.high or held.position) - held.position)
        self._metrics.set_lag(partition.topic, partition.number, lag)

    def _sketched(self, batches: Sequence[EventBatch]) -> _Sketched:
        by_model: dict[tuple[str, str], list[EventBatch]] = {}
        for batch in batches:
            if not self._labels.is_only_labels(batch):
                by_model.setdefault((batch.model, batch.version), []).append(batch)
        parts = [self._of_model(_join(same)) for same in by_model.values()]
        return {
            "deltas": [delta for part in parts for delta in part["deltas"]],
            "strange": [event for part in parts for event in part["strange"]],
        }

    def _of_model(self, batch: EventBatch) -> _Sketched:
        suite = self._suites.active(batch.model, batch.version)
        if suite is None:
            return {"deltas": _counted_only(batch), "strange": []}
        found = suite.sketch(batch)
        deltas = [
            Delta(
                model=batch.model,
                version=batch.version,
                reference_id=suite.reference_id,
                pane_start=item.pane_start,
                pane_s=suite.pane_s,
                n_events=item.n_events,
                last_event_time=item.last_event_time,
                sketch=item.sketch.to_bytes(),
            )
            for item in found
        ]
        hours, now = self._settings.strange_value_hours, self._clock()
        items = found if self._settings.name_strange_events else ()
        return {"deltas": deltas, "strange": [event for item in items for event in named(batch, item, hours, now)]}


class _Sketched(TypedDict):
    """What batches add: deltas, and the events that an alert may name."""

    deltas: list[Delta]
    strange: list[NamedEvent]


def _join(batches: Sequence[EventBatch]) -> EventBatch:
    """The batches as one, annotations kept (NaN where a batch has none)."""
    joined = concatenate(batches)
    names = {name for batch in batches for name in batch.annotations}
    if len(batches) == 1 or not names:
        return joined
    columns: Mapping[str, np.ndarray] = {
        name: np.concatenate([b.annotations.get(name, np.full(len(b), np.nan)) for b in batches]) for name in names
    }
    return joined.annotate(**columns)


def _counted_only(batch: EventBatch) -> list[Delta]:
    panes, order, starts = slice_by_pane(batch.timestamp, UNWATCHED_PANE_S)
    ends = np.append(starts[1:], len(batch))
    times = batch.timestamp[order]
    return [
        Delta(
            model=batch.model,
            version=batch.version,
            reference_id="",
            pane_start=int(pane),
            pane_s=UNWATCHED_PANE_S,
            n_events=int(end - start),
            last_event_time=float(times[start:end].max()),
            sketch=Sketch().to_bytes(),
        )
        for pane, start, end in zip(panes, starts, ends, strict=True)
    ]
