"""The Kafka source against a real broker."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition

from deploy.dev import broker
from deploy.dev.broker import free_port
from monitor.config import KafkaSettings
from monitor.errors import InvalidRecord, PermanentError, TransientError
from monitor.sources.base import Assignment, Partition, Record
from monitor.sources.kafka import KafkaIntake, KafkaSource, describe_topics

MAX_RECORD_BYTES = 1_024
DEADLINE_S = 40

services = pytest.mark.services
MakeSource = Callable[..., KafkaSource]


class Reader:
    """A minimal worker: claims what it is assigned at the offsets it is given, and keeps what it reads."""

    def __init__(self, source: KafkaSource, offsets: dict[Partition, int]) -> None:
        self.source = source
        self.offsets = offsets
        self.held: set[Partition] = set()
        self.seen: list[Record] = []
        self.assigned: list[Partition] = []
        self.lost: list[Partition] = []

    def step(self, max_records: int = 500, timeout_s: float = 0.05) -> Mapping[Partition, Sequence[Record]]:
        change = self.source.assignment()
        self.apply(change)
        polled = self.source.poll(timeout_s, max_records)
        for partition, records in polled.items():
            assert partition in self.held
            self.seen += records
            self.offsets[partition] = records[-1].offset + 1
        return polled

    def apply(self, change: Assignment) -> None:
        self.lost += change.lost
        self.assigned += change.assigned
        self.held -= {*change.lost, *change.revoked}
        for partition in change.assigned:
            self.held.add(partition)
            self.source.seek(partition, self.offsets.get(partition, self.source.bounds(partition).low))


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def make_source(kafka_bootstrap: str) -> Iterator[MakeSource]:
    made: list[KafkaSource] = []
    group = f"group-{secrets.token_hex(4)}"

    def make(topic: str, **options: object) -> KafkaSource:
        settings = KafkaSettings(bootstrap_servers=kafka_bootstrap, topics=(topic,), group_id=group)
        made.append(KafkaSource(settings, MAX_RECORD_BYTES, **options))
        return made[-1]

    yield make
    for source in made:
        source.close()


@pytest.fixture
def produce(kafka_bootstrap: str) -> Iterator[Callable[..., None]]:
    producer = KafkaProducer(bootstrap_servers=kafka_bootstrap, max_request_size=8 << 20, max_block_ms=20_000)

    def send(topic: str, values: Sequence[bytes], *, partition: int | None = None, **options: object) -> None:
        for number, value in enumerate(values):
            target = number % len(producer.partitions_for(topic)) if partition is None else partition
            producer.send(topic, value, partition=target, **options)
        producer.flush(timeout=20)

    yield send
    producer.close(timeout=10)


def until(condition: Callable[[], bool], *steps: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        for step in steps:
            step()


def numbered(n: int) -> list[bytes]:
    return [b"%d" % number for number in range(n)]


@services
def test_records_carry_what_was_produced(kafka_topic, make_source, produce) -> None:
    topic = kafka_topic(1)
    produce(topic, [b"first"], key=b"client", headers=[("format", b"native"), ("empty", b"")], timestamp_ms=1_500)
    produce(topic, [b""])
    reader = Reader(make_source(topic), {})
    until(lambda: len(reader.seen) == 2, reader.step)
    first, second = reader.seen
    assert (first.offset, first.value, first.key, first.timestamp) == (0, b"first", b"client", 1.5)
    assert dict(first.headers) == {"format": b"native", "empty": b""}
    assert (second.offset, second.value, second.key, dict(second.headers)) == (1, b"", None, {})
    assert first.partition == reader.assigned[0]
    assert first.partition.source == "kafka"
    assert first.partition.cluster_id
    assert first.partition.topic_id not in ("", topic)


@services
def test_partition_delivers_nothing_until_the_first_seek(kafka_topic, make_source, produce) -> None:
    topic = kafka_topic(1)
    produce(topic, numbered(5))
    source = make_source(topic)
    assigned: list[Partition] = []
    polled: list[object] = []

    def wait() -> None:
        assigned.extend(source.assignment().assigned)
        polled.append(source.poll(0.05, 10))

    until(lambda: bool(assigned), wait)
    for _ in range(10):
        wait()
    assert not any(polled)
    source.seek(assigned[0], 3)
    until(lambda: any(polled), wait)
    (records,) = next(found for found in polled if found).values()
    assert [record.offset for record in records] == [3, 4]


@services
def test_seek_back_reads_again(kafka_topic, make_source, produce) -> None:
    topic = kafka_topic(1)
    produce(topic, numbered(10))
    reader = Reader(make_source(topic), {})
    until(lambda: len(reader.seen) == 10, reader.step)
    reader.source.seek(reader.assigned[0], 7)
    until(lambda: len(reader.seen) == 13, reader.step)
    assert [record.offset for record in reader.seen[10:]] == [7, 8, 9]


@services
def test_poll_returns_at_most_so_many_records(kafka_topic, make_source, produce) -> None:
    topic = kafka_topic(2)
    produce(topic, numbered(100))
    reader = Reader(make_source(topic), {})
    sizes: list[int] = []
    until(
        lambda: len(reader.seen) == 100,
        lambda: sizes.append(sum(len(records) for records in reader.step(max_records=7).values())),
    )
    assert max(sizes) == 7


@services
def test_bounds_are_first_held_offset_and_end(kafka_topic, kafka_admin, make_source, produce) -> None:
    topic = kafka_topic(1)
    produce(topic, numbered(10))
    kafka_admin.delete_records({TopicPartition(topic, 0): 4})
    bounds = make_source(topic).bounds(Partition("kafka", topic, 0))
    assert (bounds.low, bounds.high) == (4, 10)


@services
def test_offset_that_retention_passed_hands_the_partition_out_anew(
    kafka_topic, kafka_admin, make_source, produce
) -> None:
    topic = kafka_topic(1)
    produce(topic, numbered(10))
    reader = Reader(make_source(topic), {})
    until(lambda: len(reader.seen) == 10, reader.step)
    kafka_admin.delete_records({TopicPartition(topic, 0): 6})
    reader.source.seek(reader.assigned[0], 2)
    reader.offsets.clear()
    until(lambda: len(reader.seen) == 14, reader.step)
    assert reader.lost == reader.assigned[:1]
    assert reader.assigned[0] == reader.assigned[1]
    assert [record.offset for record in reader.seen[10:]] == [6, 7, 8, 9]


@services
def test_record_larger_than_the_limit_is_delivered_whole(kafka_topic, make_source, produce) -> None:
    topic = kafka_topic(1)
    value = secrets.token_bytes(900_000)
    produce(topic, [b"small", value, b"small"])
    reader = Reader(make_source(topic), {})
    until(lambda: len(reader.seen) == 3, reader.step)
    assert [record.value for record in reader.seen] == [b"small", value, b"small"]


@services
def test_records_are_read_once_each_while_members_come_and_go(kafka_topic, make_source, produce) -> None:
    topic = kafka_topic(4)
    produce(topic, numbered(4_000))
    offsets: dict[Partition, int] = {}
    first = Reader(make_source(topic), offsets)
    second = Reader(make_source(topic), offsets)
    until(lambda: len(first.held) == 2 == len(second.held), lambda: first.step(20), lambda: second.step(20))
    assert not first.held & second.held
    until(lambda: len(second.seen) >= 500, lambda: first.step(20), lambda: second.step(20))
    second.source.close()
    kept = set(first.held)
    until(lambda: len(first.seen) + len(second.seen) >= 4_000, lambda: first.step(100))
    assert len(first.held) == 4
    assert kept <= first.held
    seen = Counter(record.value for record in first.seen + second.seen)
    assert seen == Counter(numbered(4_000))


@services
def test_topic_made_anew_is_another_partition(kafka_topic, kafka_admin: KafkaAdminClient, make_source, produce) -> None:
    topic = kafka_topic(1)
    produce(topic, numbered(5))
    reader = Reader(make_source(topic), {})
    until(lambda: len(reader.seen) == 5, reader.step)
    kafka_admin.delete_topics([topic], timeout_ms=20_000)
    until(lambda: _creates(kafka_admin, topic), reader.step)
    old = reader.assigned[0]
    until(lambda: reader.assigned[-1] != old, reader.step)
    produce(topic, [b"anew %d" % number for number in range(7)])
    until(lambda: len(reader.seen) == 12, reader.step)
    new = reader.assigned[-1]
    assert reader.held == {new}
    assert {*reader.assigned} == {old, new}
    assert new.topic_id != topic
    assert old.topic_id != new.topic_id
    assert old.cluster_id == new.cluster_id
    assert {record.partition for record in reader.seen[:5]} == {old}
    assert {record.partition for record in reader.seen[5:]} == {new}
    assert [record.offset for record in reader.seen[5:]] == list(range(7))


@services
def test_partition_of_a_topic_that_is_not_there_yet_waits_for_its_name(kafka_topic, make_source, monkeypatch) -> None:
    topic = kafka_topic(1)
    reader = Reader(make_source(topic), {})
    monkeypatch.setattr(reader.source, "_is_there", lambda _: False)
    until(lambda: bool(reader.source._nameless), reader.step)
    assert not reader.assigned
    monkeypatch.undo()
    reader.step()
    (assigned,) = reader.assigned
    assert assigned.topic_id not in ("", topic)
    assert not reader.source._nameless


def _creates(admin: KafkaAdminClient, topic: str) -> bool:
    with suppress(Exception):
        admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
        return True
    return False


@services
def test_partition_that_stands_still_is_pushed(kafka_topic, make_source, produce) -> None:
    topic = kafka_topic(1)
    clock = FakeClock()
    reader = Reader(make_source(topic, clock=clock), {})
    produce(topic, numbered(3))
    until(lambda: len(reader.seen) == 3, reader.step)
    reader.source._consumer.pause(TopicPartition(topic, 0))  # as a client would that silently stopped fetching
    produce(topic, numbered(2))

    def step_later() -> None:
        clock.now += 11
        reader.step()

    until(lambda: len(reader.seen) == 5, step_later)
    assert [record.offset for record in reader.seen] == [0, 1, 2, 3, 4]


@services
def test_mirror_writes_offsets_for_lag_tools(kafka_topic, kafka_admin, kafka_bootstrap, produce) -> None:
    topic = kafka_topic(1)
    produce(topic, numbered(5))
    group = f"group-{secrets.token_hex(4)}"
    settings = KafkaSettings(bootstrap_servers=kafka_bootstrap, topics=(topic,), group_id=group)
    source = KafkaSource(settings, MAX_RECORD_BYTES)
    reader = Reader(source, {})
    until(lambda: len(reader.seen) == 5, reader.step)
    source.mirror(reader.offsets)
    source.mirror({Partition("kafka", topic, 0, topic_id="another"): 99})

    def committed() -> int | None:
        return source._consumer.committed(TopicPartition(topic, 0), timeout_ms=5_000)

    until(lambda: committed() is not None, reader.step)
    assert committed() == 5
    source.close()


@services
def test_next_member_ignores_mirrored_offsets(kafka_topic, make_source, produce) -> None:
    topic = kafka_topic(1)
    produce(topic, numbered(5))
    first = Reader(make_source(topic), {})
    until(lambda: len(first.seen) == 5, first.step)
    first.source.mirror(first.offsets)
    first.source.close()
    second = Reader(make_source(topic), {})
    until(lambda: len(second.seen) == 5, second.step)
    assert [record.offset for record in second.seen] == [0, 1, 2, 3, 4]


@services
def test_missing_topic_is_named(kafka_bootstrap) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka_bootstrap, topics=("nowhere",), group_id="nobody")
    with pytest.raises(PermanentError, match="no topic nowhere: create it"):
        describe_topics(settings)
    clock = FakeClock()
    source = KafkaSource(settings, MAX_RECORD_BYTES, clock=clock)
    source.poll(0.05, 1)
    clock.now = 4
    with pytest.raises(TransientError, match="no topic nowhere: create it"):
        source.poll(0.05, 1)
    source.close()


@services
def test_topics_are_described_by_their_partitions(kafka_topic, kafka_bootstrap) -> None:
    topics = (kafka_topic(1), kafka_topic(3))
    assert describe_topics(KafkaSettings(bootstrap_servers=kafka_bootstrap, topics=topics)) == dict(
        zip(topics, (1, 3), strict=True)
    )


@services
def test_intake_keeps_a_clients_events_in_order_on_one_partition(kafka_topic, kafka_bootstrap, make_source) -> None:
    topic = kafka_topic(4)
    intake = KafkaIntake(KafkaSettings(bootstrap_servers=kafka_bootstrap, topics=(topic,)))
    values = [b'{"model":"m","client_id":"c","features":{"a":%d}}' % number for number in range(50)]
    intake.append([*values, b"not json"])
    reader = Reader(make_source(topic), {})
    until(lambda: len(reader.seen) == 51, reader.step)
    of_client = [record for record in reader.seen if record.key == b"c"]
    assert [record.value for record in of_client] == values
    assert len({record.partition.number for record in of_client}) == 1
    with pytest.raises(InvalidRecord, match="larger than the broker takes"):
        intake.append([secrets.token_bytes(3 << 20)])
    intake.close()


@pytest.mark.slow
def test_absent_broker_is_a_transient_error_within_ten_seconds() -> None:
    settings = KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}")
    started = time.monotonic()
    with pytest.raises(TransientError, match=r"Kafka at 127\.0\.0\.1:\d+ did not answer while connecting"):
        KafkaSource(settings, MAX_RECORD_BYTES)
    assert time.monotonic() - started < 10


@pytest.mark.slow
def test_intake_without_broker_is_a_transient_error() -> None:
    intake = KafkaIntake(KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}"))
    with pytest.raises(TransientError, match="did not answer while connecting"):
        intake.append([b"{}"])
    intake.close()


@pytest.mark.slow
def test_password_stays_out_of_the_error() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        settings = KafkaSettings(
            bootstrap_servers=f"127.0.0.1:{silent.getsockname()[1]}",
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="PLAIN",
            sasl_username="vedette",
            sasl_password="hunter2",
        )
        with pytest.raises(TransientError) as caught:
            KafkaSource(settings, MAX_RECORD_BYTES)
    assert "hunter2" not in str(caught.value) + str(caught.value.__cause__)


def test_certificate_file_that_is_missing_is_named(tmp_path) -> None:
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:9", security_protocol="SSL", ssl_cafile=tmp_path / "ca.pem")
    with pytest.raises(PermanentError, match=r"kafka\.ssl_cafile: there is no file"):
        KafkaSource(settings, MAX_RECORD_BYTES)


@services
def test_close_gives_up_on_a_broker_that_hangs(tmp_path) -> None:
    running = broker.start(tmp_path / "kafka")
    try:
        admin = KafkaAdminClient(bootstrap_servers=running.bootstrap)
        admin.create_topics({"hanging": {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
        admin.close()
        settings = KafkaSettings(bootstrap_servers=running.bootstrap, topics=("hanging",))
        clock = FakeClock()
        reader = Reader(KafkaSource(settings, MAX_RECORD_BYTES, clock=clock), {})
        until(lambda: bool(reader.held), reader.step)
        os.kill(running.pid, signal.SIGSTOP)
        clock.now += 11
        with pytest.raises(TransientError, match="did not answer while asking for the end of hanging"):
            reader.source.poll(0.05, 1)
        started = time.monotonic()
        reader.source.close()
        assert time.monotonic() - started < 10
    finally:
        broker.kill(running)
