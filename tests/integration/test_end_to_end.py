"""Real broker, real PostgreSQL, real HTTP receiver: from records on a topic to an alert in three places."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from kafka import KafkaProducer
from standardwebhooks import Webhook

from monitor.delivery.receiver import WebhookReceiver
from monitor.storage.engine import create_engine
from monitor.storage.tables import alert_transitions, alerts, dead_letters, deliveries, deltas, panes, partitions
from tests.integration.processes import Processes, eventually
from tests.monitor import streams

pytestmark = [pytest.mark.services, pytest.mark.timeout(420)]

SECRET = "whsec_" + base64.b64encode(b"integration-test-secret-32-bytes").decode()
N_EVENTS = 12_000
DRIFT_FROM = 6_000


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as opened:
        yield opened


@pytest.fixture
def system(tmp_path: Path, empty_postgres_url: str, kafka_bootstrap: str, kafka_topic, receiver: WebhookReceiver):
    topic = kafka_topic(4)
    processes = Processes(
        tmp_path,
        f"""
[database]
url = "{empty_postgres_url}"
[kafka]
bootstrap_servers = "{kafka_bootstrap}"
topics = ["{topic}"]
group_id = "{topic}-group"
group_instance_id = "worker-0"
[worker]
flush_interval_s = 0.2
[judge]
lateness_s = 0.0
max_wait_s = 5.0
interval_s = 0.2
[web]
port = 0
[[destinations]]
type = "webhook"
name = "receiver"
url = "{receiver.url}"
secret = "{SECRET}"
allow_http = true
allow_private_addresses = true
""",
    )
    processes.topic = topic
    yield processes
    processes.close()


@pytest.fixture
def database(empty_postgres_url: str) -> Iterator[sa.Engine]:
    engine = create_engine(empty_postgres_url, "test")
    yield engine
    engine.dispose()


def fit_reference(system: Processes) -> None:
    log = system.folder / "ordinary.ndjson.gz"
    log.write_bytes(gzip.compress(b"\n".join(streams.events(4_000, seed=1))))
    system.run("migrate")
    fitted = system.run("reference", "fit", str(log), "--model", streams.MODEL, "--json")
    assert json.loads(fitted.stdout)["n_events"] == 4_000


def produce(bootstrap: str, topic: str, lines: list[bytes], first: int = 0) -> None:
    """Keyed by client, in order, until the broker has all of them."""
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=5)
    for i, line in enumerate(lines):
        producer.send(topic, value=line, key=json.loads(line)["client_id"].encode(), timestamp_ms=None)
        del i
    producer.flush(timeout=60)
    producer.close(timeout=10)


def scalar(database: sa.Engine, statement: sa.Select) -> int:
    with database.connect() as connection:
        return int(connection.scalar(statement) or 0)


def judged_events(database: sa.Engine) -> int:
    return scalar(database, sa.select(sa.func.sum(panes.c.n_events)))


def dashboard_url(system: Processes) -> str | None:
    for path in system.folder.glob("web*.log"):
        for word in path.read_text().split():
            if word.startswith("http://127.0.0.1:"):
                return word.rstrip(".")
    return None


def test_records_on_a_topic_become_an_alert_in_postgres_on_the_dashboard_and_at_the_webhook(
    system: Processes, database: sa.Engine, receiver: WebhookReceiver, kafka_bootstrap: str
) -> None:
    fit_reference(system)
    for name in ("worker", "judge", "deliver", "web"):
        system.start(name)
    produce(kafka_bootstrap, system.topic, streams.events(N_EVENTS, seed=2, drift_from=DRIFT_FROM, first=50_000))
    try:
        eventually("all events judged", lambda: judged_events(database) == N_EVENTS)
        posted = eventually("webhook", lambda: receiver.posted)
        url = eventually("dashboard address", lambda: dashboard_url(system))
    except AssertionError as error:
        raise AssertionError(f"{error}\n{system.logs()}") from error
    with database.connect() as connection:
        found = connection.execute(sa.select(alerts)).all()
    assert [alert.kind for alert in found].count("drift") == 1
    body = Webhook(SECRET).verify(posted[0].body, dict(posted[0].headers))
    assert body["alert_id"] in {alert.id for alert in found}
    listed = httpx.get(f"{url}/api/v1/alerts", timeout=10).json()
    assert found[0].id in json.dumps(listed)
    assert httpx.get(f"{url}/alerts/{found[0].id}", timeout=10).status_code == 200
    assert httpx.get(f"{url}/readyz", timeout=10).status_code == 200


def test_a_worker_killed_in_mid_stream_loses_nothing_and_counts_nothing_twice(
    system: Processes, database: sa.Engine, receiver: WebhookReceiver, kafka_bootstrap: str
) -> None:
    fit_reference(system)
    judge, deliver = system.start("judge"), system.start("deliver")
    lines = streams.events(N_EVENTS, seed=3, drift_from=DRIFT_FROM, first=50_000)
    kills = 0
    for start in range(0, N_EVENTS, N_EVENTS // 4):
        worker = system.start("worker")
        before = scalar(database, sa.select(sa.func.sum(partitions.c.next_offset)))
        produce(kafka_bootstrap, system.topic, lines[start : start + N_EVENTS // 4])
        eventually(
            "progress",
            lambda before=before: scalar(database, sa.select(sa.func.sum(partitions.c.next_offset))) > before,
        )
        system.kill(worker)
        kills += 1
    system.start("worker")
    try:
        eventually("all events judged", lambda: judged_events(database) == N_EVENTS, timeout_s=150)
        eventually("webhook", lambda: receiver.posted)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{system.logs()}") from error
    assert kills == 4
    assert judged_events(database) == N_EVENTS
    assert scalar(database, sa.select(sa.func.count()).select_from(deltas)) == 0
    assert scalar(database, sa.select(sa.func.count()).select_from(dead_letters)) == 0
    with database.connect() as connection:
        kinds = connection.scalars(sa.select(alerts.c.kind)).all()
        opened = connection.scalars(
            sa.select(alert_transitions.c.alert_id).where(alert_transitions.c.transition == "opened")
        ).all()
    assert kinds.count("drift") == 1
    assert len(opened) == len(set(opened)) == len(kinds)
    eventually(
        "all delivered",
        lambda: scalar(database, sa.select(sa.func.count()).where(deliveries.c.status != "delivered")) == 0,
    )
    received = {post.headers["webhook-id"] for post in receiver.posted}
    assert received == set(_delivery_ids(database))
    assert judge.poll() is None
    assert deliver.poll() is None


def _delivery_ids(database: sa.Engine) -> list[str]:
    with database.connect() as connection:
        return list(connection.scalars(sa.select(deliveries.c.id)))
