"""Late labels: which answers wait for a label, and what a label that came alone adds to the sketches.

Only models whose active reference teaches performance take part; for all others nothing is stored or asked. Part of
loop 1: everything here happens in the transaction of a worker's commit.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import sqlalchemy as sa

from detectors.batch import EventBatch, ObjectArray
from detectors.performance.detector import PerformanceDetector
from detectors.performance.joining import label_alone
from detectors.performance.outcomes import categories, joined
from monitor.sources.base import Partition
from monitor.storage.progress import Delta
from monitor.storage.waiting_labels import FULL, Half, Pair, count_waiting, settle
from monitor.suites import SuiteBook

_DAY_S = 86_400.0
_COUNT_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class LateDeltas:
    """What labels that came alone add, and what became of them by outcome (``telemetry.LABEL_OUTCOMES``)."""

    deltas: Sequence[Delta] = ()
    outcomes: Mapping[str, int] = field(default_factory=dict)


class LateLabels:
    """One worker's share in joining labels with answers.

    Args:
        wait_days: how far apart answer and label may be; 0 joins none.
        most_waiting: event ids of one model that may wait.
    """

    def __init__(self, suites: SuiteBook, wait_days: float, most_waiting: int, clock: Callable[[], datetime]) -> None:
        self._suites = suites
        self._wait_days = wait_days
        self._most_waiting = most_waiting
        self._clock = clock
        self._levels: dict[str, tuple[datetime, int]] = {}

    def halves(self, batches: Sequence[EventBatch], partition: Partition) -> Sequence[Half]:
        """Answers without a label and labels without an answer, in the order of the log.

        Events that were logged without an id have one that nobody knows: no label can follow, so none is waited for.
        """
        if not self._wait_days:
            return ()
        nameless = re.compile(rf"{re.escape(partition.topic)}-{partition.number}-\d+-\d+")
        return [half for batch in batches for half in self._halves_of(batch) if not nameless.fullmatch(half.event_id)]

    def is_only_labels(self, batch: EventBatch) -> bool:
        """Whether a batch without a version is but labels for the versions of a watched model."""
        if batch.version or batch.label is None or not self._wants(batch.model):
            return False
        return bool(label_alone(batch).all())

    def settle(self, connection: sa.Connection, halves: Sequence[Half]) -> LateDeltas:
        """Let halves meet or wait; for the caller's transaction.

        Raises:
            TransientError: the database is away.
        """
        outcomes: Counter[str] = Counter()
        pairs: list[Pair] = []
        expires_at = self._clock() + timedelta(days=self._wait_days)
        for model in sorted({half.model for half in halves}):
            of_model = [half for half in halves if half.model == model]
            settled = settle(connection, of_model, self._level(connection, model), expires_at)
            in_time = [pair for pair in settled.pairs if abs(pair.labelled_at - pair.answered_at) <= self._wait_s]
            pairs += in_time
            outcomes["joined"] += len(in_time)
            outcomes["too_late"] += len(settled.pairs) - len(in_time)
            outcomes["repeated"] += settled.repeated
            outcomes["crowded_out"] += settled.crowded_out
        return LateDeltas(self._deltas(pairs), outcomes)

    @property
    def _wait_s(self) -> float:
        return self._wait_days * _DAY_S

    def _wants(self, model: str) -> bool:
        return self._wait_days > 0 and self._suites.watches(PerformanceDetector.name, model)

    def _halves_of(self, batch: EventBatch) -> Iterator[Half]:
        alone = np.zeros(len(batch), dtype=np.bool_)
        if batch.label is not None and self._wants(batch.model):
            alone = label_alone(batch)
            labels = categories(batch.label, len(batch))
            for i in np.flatnonzero(alone):
                at = float(batch.timestamp[i])
                yield Half(batch.model, batch.event_id[i], label=labels[i], labelled_at=at)
        suite = self._suites.active(batch.model, batch.version)
        detector = None if suite is None else suite.performance
        if detector is not None and not alone.all():
            yield from _answers(batch, detector)

    def _level(self, connection: sa.Connection, model: str) -> int:
        """How thinly new event ids are sampled: not at all until half the room is taken, then ever more."""
        now = self._clock()
        counted_at, level = self._levels.get(model, (None, 0))
        if counted_at is None or not timedelta(0) <= now - counted_at < _COUNT_EVERY:
            level = sampling_level(count_waiting(connection, model, self._most_waiting), self._most_waiting)
            self._levels[model] = (now, level)
        return level

    def _deltas(self, pairs: Sequence[Pair]) -> list[Delta]:
        by_version: dict[tuple[str, str], list[Pair]] = {}
        for pair in pairs:
            by_version.setdefault((pair.model, pair.version), []).append(pair)
        return [delta for (model, version), same in by_version.items() for delta in self._of(model, version, same)]

    def _of(self, model: str, version: str, pairs: Sequence[Pair]) -> Iterator[Delta]:
        suite = self._suites.active(model, version)
        if suite is None:
            return
        for item in suite.sketch_labels(_joined_batch(model, version, pairs)):
            yield Delta(
                model=model,
                version=version,
                reference_id=suite.reference_id,
                pane_start=item.pane_start,
                pane_s=suite.pane_s,
                n_events=item.n_events,
                last_event_time=item.last_event_time,
                sketch=item.sketch.to_bytes(),
            )


def sampling_level(n: int, most: int) -> int:
    """One new event id in ``2 ** level`` may wait: 0 below half of ``most``, 1 below three quarters, and so on."""
    free = 1.0 - n / most
    return FULL if free <= 0 else max(0, math.floor(-math.log2(free)))


def _answers(batch: EventBatch, detector: PerformanceDetector) -> Iterator[Half]:
    outcomes = detector.reader.read(batch)
    answers = categories(outcomes.answer, len(batch))
    for i in np.flatnonzero(outcomes.answered & ~outcomes.measured):
        confidence = float(outcomes.confidence[i])
        yield Half(
            model=batch.model,
            event_id=batch.event_id[i],
            version=batch.version,
            answer=answers[i],
            confidence=None if math.isnan(confidence) else confidence,
            answered_at=float(batch.timestamp[i]),
        )


def _joined_batch(model: str, version: str, pairs: Sequence[Pair]) -> EventBatch:
    """At the later of both times: a label that overtook its answer says nothing before there is one."""
    answered_at = np.array([pair.answered_at for pair in pairs])
    labelled_at = np.array([pair.labelled_at for pair in pairs])
    return joined(
        model=model,
        version=version,
        event_id=_objects([pair.event_id for pair in pairs]),
        labelled_at=np.maximum(labelled_at, answered_at),
        answer=_objects([pair.answer for pair in pairs]),
        confidence=np.array([math.nan if pair.confidence is None else pair.confidence for pair in pairs]),
        label=_objects([pair.label for pair in pairs]),
        delay_s=labelled_at - answered_at,
    )


def _objects(values: Sequence[str]) -> ObjectArray:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out
