"""Records from Apache Kafka, as a member of a consumer group.

The group decides who reads what; how far we are is in the ``partitions`` table, so Kafka's committed offsets are
written for lag tools and never read. A partition that the group hands over is parked at once (paused, on a position
that is never fetched) until the caller has looked up its offset and seeks.

Partitions move cooperatively: those that stay keep their position, so one worker leaving does not disturb the others'
partitions. Under the protocol a client may keep a partition yet silently stop fetching it; a probe compares what the
broker holds with where we are, and puts a partition that stands still back on its position. The same probe is how a
broker that is away becomes an error instead of silence.
"""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any

import structlog
from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition, errors
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.structs import OffsetAndMetadata

from monitor.config import KafkaSettings
from monitor.errors import PermanentError, TransientError
from monitor.sources.base import Assignment, Bounds, Partition, Record
from monitor.sources.kafka_connection import MOVED, connect, kafka_errors
from monitor.sources.kafka_intake import KafkaIntake

__all__ = ["KafkaIntake", "KafkaSource", "describe_topics"]

log = structlog.get_logger(__name__)

_BOUNDS_TIMEOUT_S = 10
_PROBE_INTERVAL_S = 10
_FIRST_PROBE_S = 3
_PROBE_TIMEOUT_S = 5
_METADATA_TIMEOUT_S = 2
_CLOSE_TIMEOUT_S = 8
_MAX_FETCH_BYTES = 32 << 20
_PARKED = 0

_NO_HEADERS: Mapping[str, bytes] = {}


class KafkaSource:
    """A consumer-group member; see ``Source`` for the promises of its methods.

    Records larger than ``max_record_bytes`` are delivered like any other, so that the decoder can set them aside.

    Args:
        max_record_bytes: sizes the fetches.
        clock: monotonic seconds; paces the probe.

    Raises:
        TransientError: no broker answered within five seconds.
        PermanentError: the settings are refused.
    """

    def __init__(
        self, settings: KafkaSettings, max_record_bytes: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if importlib.util.find_spec("crc32c") is None:
            log.warning("the package crc32c is missing: reading from Kafka is about seven times slower without it")
        self._bootstrap = settings.bootstrap_servers
        self._topics = settings.topics
        self._clock = clock
        self._held: dict[TopicPartition, Partition] = {}
        self._nameless: Set[TopicPartition] = frozenset()
        self._position: dict[TopicPartition, int] = {}
        self._probed: dict[TopicPartition, int] = {}
        self._next_probe = clock() + _FIRST_PROBE_S
        self._consumer, self._cluster = connect(KafkaConsumer, settings, _options(settings, max_record_bytes))
        self._changes = _Changes(self._consumer)
        self._consumer.subscribe(list(settings.topics), listener=self._changes)
        self._await_topics()

    def assignment(self) -> Assignment:
        assigned = dict.fromkeys(self._nameless)
        gone: dict[str, list[Partition]] = {"revoked": [], "lost": []}
        for events in (self._changes.take, self._replaced):
            for kind, where in events():
                if kind == "assigned":
                    assigned[where] = None
                    continue
                assigned.pop(where, None)
                self._position.pop(where, None)
                if where in self._held:
                    gone[kind].append(self._held.pop(where))
        named = sorted(filter(self._is_there, assigned))
        self._nameless = assigned.keys() - set(named)
        self._held |= {where: self._identify(where) for where in named}
        fresh = tuple(self._held[where] for where in named)
        return Assignment(fresh, tuple(gone["revoked"]), tuple(gone["lost"]))

    def bounds(self, partition: Partition) -> Bounds:
        where = _where(partition)
        timeout_ms = _BOUNDS_TIMEOUT_S * 1000
        with kafka_errors(self._bootstrap, f"asking for the offsets of {partition.topic}/{partition.number}"):
            low = self._consumer.beginning_offsets([where], timeout_ms=timeout_ms)[where]
            high = self._consumer.end_offsets([where], timeout_ms=timeout_ms)[where]
        return Bounds(low, high)

    def seek(self, partition: Partition, offset: int) -> None:
        """As promised by ``Source``; does nothing for a partition taken away since, which ``assignment`` will say."""
        where = _where(partition)
        if self._held.get(where) == partition and self._changes.put(where, offset):
            self._position[where] = offset

    def poll(self, timeout_s: float, max_records: int) -> Mapping[Partition, Sequence[Record]]:
        try:
            if self._clock() >= self._next_probe:
                self._probe()
            with kafka_errors(self._bootstrap, "reading"):
                polled = self._consumer.poll(timeout_ms=int(timeout_s * 1000), max_records=max_records)
        except MOVED as error:
            self._start_over(error)
            return {}
        changed = self._changes.pending() | {where for _, where in self._replaced()}
        return {
            self._held[where]: self._take(where, raw)
            for where, raw in polled.items()
            if raw and where in self._position and where not in changed
        }

    def mirror(self, offsets: Mapping[Partition, int]) -> None:
        ours = {_where(partition): offset for partition, offset in offsets.items() if self._holds(partition)}
        if not ours:
            return
        commit = {where: OffsetAndMetadata(offset, "", -1) for where, offset in ours.items()}
        try:
            self._consumer.commit_async(commit, callback=_log_refused_mirror)
        except errors.KafkaError as error:
            _log_refused_mirror(commit, error)

    def close(self) -> None:
        """Leave the group; gives up after eight seconds when the broker does not answer."""
        try:
            self._consumer.close(autocommit=False, timeout_ms=_CLOSE_TIMEOUT_S * 1000)
        except errors.KafkaError as error:
            log.warning("left Kafka without saying goodbye: the group notices later", error=str(error))

    def _await_topics(self) -> None:
        """Know the topics before joining: a group leader that does not hands out nothing until the next refresh."""
        deadline = time.monotonic() + _METADATA_TIMEOUT_S
        while not all(map(self._cluster.partitions_for_topic, self._topics)) and time.monotonic() < deadline:
            self._refresh_metadata()

    def _refresh_metadata(self) -> None:
        answered = threading.Event()
        self._cluster.request_update().add_both(lambda _: answered.set())
        answered.wait(_METADATA_TIMEOUT_S)

    def _identify(self, where: TopicPartition) -> Partition:
        return Partition(
            source="kafka",
            topic=where.topic,
            number=where.partition,
            cluster_id=self._cluster.cluster_id or "",
            topic_id=self._topic_id(where.topic) or where.topic,
        )

    def _topic_id(self, topic: str) -> str | None:
        """The broker's id of the topic; None where it has none (old brokers) or the topic is not there right now."""
        found = self._cluster.topic_id(topic)
        return str(found) if found is not None and found.int != 0 else None

    def _is_there(self, where: TopicPartition) -> bool:
        """Whether the broker knows the topic right now: one that is being made anew has no identity yet."""
        return bool(self._cluster.partitions_for_topic(where.topic))

    def _holds(self, partition: Partition) -> bool:
        return self._held.get(_where(partition)) == partition

    def _replaced(self) -> list[tuple[str, TopicPartition]]:
        """Partitions whose topic was deleted and made anew under the same name: lost, and assigned as another one."""
        replaced = [
            where for where, held in self._held.items() if self._topic_id(where.topic) not in (None, held.topic_id)
        ]
        return [event for where in replaced for event in self._anew(where)]

    def _anew(self, where: TopicPartition) -> tuple[tuple[str, TopicPartition], ...]:
        self._changes.park(where)
        return ("lost", where), ("assigned", where)

    def _start_over(self, error: Any) -> None:
        """Hand partitions out anew whose offset the broker no longer has; the caller then asks for the bounds."""
        self._refresh_metadata()
        moved = error.divergent_offsets if isinstance(error, errors.LogTruncationError) else error.args[0]
        for where in moved:
            log.warning("the log was cut under us", topic=where.topic, partition=where.partition, error=str(error))
            self._position.pop(where, None)
            self._changes.add(self._anew(where))

    def _take(self, where: TopicPartition, raw: Sequence[Any]) -> Sequence[Record]:
        partition = self._held[where]
        self._position[where] = raw[-1].offset + 1
        return [_record(partition, item) for item in raw]

    def _probe(self) -> None:
        """Ask the broker how far it is: an error when it is away, a push for partitions that stand still.

        Runs again at the next poll when it fails.
        """
        still = {where for where, at in self._position.items() if self._probed.get(where) == at}
        asked = sorted(self._position) or self._known_partitions()
        with kafka_errors(self._bootstrap, "asking for the end of " + ", ".join(self._topics)):
            ends = self._consumer.end_offsets(asked, timeout_ms=_PROBE_TIMEOUT_S * 1000)
            for where in still & self._consumer.assignment():
                at = self._consumer.position(where, timeout_ms=_PROBE_TIMEOUT_S * 1000)
                if at is not None and ends[where] > at and self._changes.put(where, at):
                    log.warning("partition stood still", topic=where.topic, partition=where.partition, offset=at)
        self._probed = dict(self._position)
        self._next_probe = self._clock() + _PROBE_INTERVAL_S

    def _known_partitions(self) -> list[TopicPartition]:
        numbers = {topic: self._cluster.partitions_for_topic(topic) for topic in self._topics}
        missing = [topic for topic, found in numbers.items() if not found]
        if len(missing) == len(self._topics):
            raise TransientError(_no_topic(self._bootstrap, missing))
        return [TopicPartition(topic, min(found)) for topic, found in numbers.items() if found]


def describe_topics(settings: KafkaSettings) -> Mapping[str, int]:
    """Number of partitions of each topic of the settings.

    Raises:
        TransientError: no broker answered.
        PermanentError: the settings are refused, or a topic is not there.
    """
    options = {"request_timeout_ms": _BOUNDS_TIMEOUT_S * 1000, "enable_auto_commit": False}
    consumer, _ = connect(KafkaConsumer, settings, options)
    try:
        with kafka_errors(settings.bootstrap_servers, "asking for its topics"):
            counts = {topic: len(consumer.partitions_for_topic(topic)) for topic in settings.topics}
    finally:
        consumer.close(timeout_ms=_CLOSE_TIMEOUT_S * 1000)
    missing = [topic for topic, n_partitions in counts.items() if not n_partitions]
    if missing:
        raise PermanentError(_no_topic(settings.bootstrap_servers, missing))
    return counts


class _Changes(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python has no types
    """What the group changed since the last look, in order; filled by the client's own thread."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self._lock = threading.Lock()
        self._events: list[tuple[str, TopicPartition]] = []

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        with self._lock:
            for where in assigned:
                self._park(where)
                self._events.append(("assigned", where))

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self.add(("revoked", where) for where in revoked)

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self.add(("lost", where) for where in lost)

    def add(self, events: Iterable[tuple[str, TopicPartition]]) -> None:
        with self._lock:
            self._events += events

    def take(self) -> list[tuple[str, TopicPartition]]:
        with self._lock:
            taken, self._events = self._events, []
            return taken

    def pending(self) -> set[TopicPartition]:
        with self._lock:
            return {where for _, where in self._events}

    def park(self, where: TopicPartition) -> None:
        with self._lock:
            self._park(where)

    def put(self, where: TopicPartition, offset: int) -> bool:
        """Deliver from ``offset`` on, unless the group has taken the partition away since."""
        with self._lock:
            if any(where == changed for _, changed in self._events) or where not in self._consumer.assignment():
                return False
            self._consumer.seek(where, offset)
            self._consumer.resume(where)
            return True

    def _park(self, where: TopicPartition) -> None:
        if where in self._consumer.assignment():
            self._consumer.pause(where)
            self._consumer.seek(where, _PARKED)


def _options(settings: KafkaSettings, max_record_bytes: int) -> dict[str, Any]:
    return {
        "group_id": settings.group_id,
        "group_instance_id": settings.group_instance_id,
        "partition_assignment_strategy": [CooperativeStickyAssignor()],
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "isolation_level": "read_committed",
        "request_timeout_ms": 20_000,
        "fetch_max_bytes": max(_MAX_FETCH_BYTES, max_record_bytes),
        "max_partition_fetch_bytes": max(1 << 20, max_record_bytes),
    }


def _no_topic(servers: str, missing: Sequence[str]) -> str:
    return f"Kafka at {servers} has no topic {', '.join(missing)}: create it, or correct kafka.topics"


def _where(partition: Partition) -> TopicPartition:
    return TopicPartition(partition.topic, partition.number)


def _record(partition: Partition, raw: Any) -> Record:
    return Record(
        partition=partition,
        offset=raw.offset,
        value=raw.value,
        key=raw.key,
        headers={name: value or b"" for name, value in raw.headers} if raw.headers else _NO_HEADERS,
        timestamp=raw.timestamp / 1000 if raw.timestamp is not None and raw.timestamp >= 0 else None,
    )


def _log_refused_mirror(offsets: Mapping[TopicPartition, Any], outcome: Any) -> None:
    """The next commit carries later offsets, so one that fails is dropped."""
    if isinstance(outcome, Exception):
        log.debug("offsets not mirrored to Kafka", partitions=len(offsets), error=str(outcome))
