"""Loop 3 with a real receiver and a real outbox; time is an argument."""

import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest
import sqlalchemy as sa
import structlog
from pydantic import SecretStr

from detectors.base import Kind, Level, Reading, Subject, SubjectType
from monitor.alerting.book import BookPolicy
from monitor.alerting.incident import Change, PaneRef
from monitor.alerting.routing import Route
from monitor.config import SlackSettings, WebhookSettings
from monitor.delivery.base import DeliveryOutcome, Destination, Notification, Receipt
from monitor.delivery.destinations import build_destination
from monitor.delivery.loop import SENDS_PER_STEP, DeliveryLoop
from monitor.delivery.receiver import Answer, Stall, WebhookReceiver
from monitor.storage import alerts
from monitor.storage.deliveries import LEASE_S, claim
from monitor.storage.engine import transaction
from monitor.storage.tables import deliveries, delivery_attempts
from monitor.telemetry import Metrics

NOW = datetime(2026, 1, 2, tzinfo=UTC)
PANE = PaneRef("m", "1", 1_700_000_000, 10)
ALARM = Reading(
    "clients",
    Kind.EXTRACTION,
    Subject(SubjectType.CLIENT, "acme-7"),
    Level.ALARM,
    20.0,
    11.0,
    3.0,
    "queries",
    0.0,
    None,
    "why",
)


def record(engine: sa.Engine, *readings: Reading, pane: PaneRef = PANE, to: Sequence[str] = ("hook",)) -> list[Change]:
    routes = [Route(name) for name in to]
    policy = BookPolicy(quiet_panes=1, quiet_s=0, attack_quiet_s=0)
    with transaction(engine) as conn:
        return list(alerts.record(conn, pane=pane, readings=readings, policy=policy, destinations=routes, now=NOW))


def clients(number: int) -> list[Reading]:
    return [replace(ALARM, subject=Subject(SubjectType.CLIENT, f"client-{i}")) for i in range(number)]


def webhook(url: str, name: str = "hook") -> Destination:
    settings = WebhookSettings(type="webhook", name=name, url=url, allow_http=True, allow_private_addresses=True)
    return build_destination(settings, None)


@contextmanager
def running(engine: sa.Engine, **destinations: Destination) -> Iterator[DeliveryLoop]:
    with DeliveryLoop(engine, destinations, random.Random(1), Metrics()) as loop:
        yield loop


def eventually(step: Callable[[], int], total: int) -> None:
    """Step until that many attempts have ended."""
    deadline = time.monotonic() + 20
    while total > 0:
        total -= step()
        assert time.monotonic() < deadline, f"{total} attempts are missing"


def statuses(engine: sa.Engine) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    with transaction(engine) as conn:
        c = deliveries.c
        for destination, status in conn.execute(sa.select(c.destination, c.status).order_by(c.id)):
            found.setdefault(destination, []).append(status)
    return found


def test_what_is_owed_is_sent_once(engine: sa.Engine, receiver: WebhookReceiver) -> None:
    (change,) = record(engine, ALARM)
    with running(engine, hook=webhook(receiver.url)) as loop:
        eventually(lambda: loop.step(NOW), 1)
        assert loop.step(NOW + timedelta(days=9)) == 0
    (posted,) = receiver.posted
    assert json.loads(posted.body)["alert_id"] == change.incident.id
    assert statuses(engine) == {"hook": ["delivered"]}


def test_a_failed_attempt_is_repeated_on_schedule_with_the_same_id(
    engine: sa.Engine, receiver: WebhookReceiver
) -> None:
    record(engine, ALARM)
    receiver.fail_next(2)
    with running(engine, hook=webhook(receiver.url)) as loop:
        eventually(lambda: loop.step(NOW), 1)
        assert loop.step(NOW + timedelta(seconds=4)) == 0
        eventually(lambda: loop.step(NOW + timedelta(seconds=30)), 1)
        eventually(lambda: loop.step(NOW + timedelta(seconds=500)), 1)
    assert [posted.status for posted in receiver.posted] == [503, 503, 204]
    assert len({posted.headers["webhook-id"] for posted in receiver.posted}) == 1
    assert len({posted.headers["webhook-timestamp"] for posted in receiver.posted}) == 3


def test_a_sender_that_died_is_followed_by_one_that_sends_again_under_the_same_id(
    engine: sa.Engine, receiver: WebhookReceiver
) -> None:
    """The first process claims, sends and is killed before it can write that down."""
    record(engine, ALARM)
    with transaction(engine) as conn:
        (owed,) = claim(conn, NOW, 1, LEASE_S, "hook")
    webhook(receiver.url).send(Notification(owed.id, owed.change), NOW)
    with running(engine, hook=webhook(receiver.url)) as loop:
        assert loop.step(NOW + timedelta(seconds=1)) == 0
        eventually(lambda: loop.step(NOW + timedelta(seconds=LEASE_S + 1)), 1)
    first, second = receiver.posted
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert statuses(engine) == {"hook": ["delivered"]}


def test_transitions_of_one_alert_arrive_in_order_whatever_fails(engine: sa.Engine, receiver: WebhookReceiver) -> None:
    record(engine, ALARM)
    quiet = replace(ALARM, level=Level.OK, log_evidence=-math.inf)
    record(engine, quiet, pane=replace(PANE, start=PANE.start + 10))
    record(engine, ALARM, pane=replace(PANE, start=PANE.start + 20))
    receiver.fail_next(2)
    with running(engine, hook=webhook(receiver.url)) as loop:
        for hours in range(4):
            while loop.step(NOW + timedelta(hours=hours)):
                pass
    arrived = [json.loads(posted.body)["transition"] for posted in receiver.posted if posted.status == 204]
    assert arrived == ["opened", "resolved", "reopened"]


def test_a_receiver_that_is_gone_ends_its_delivery(engine: sa.Engine, receiver: WebhookReceiver) -> None:
    record(engine, ALARM)
    receiver.fail_next(1, status=410)
    with running(engine, hook=webhook(receiver.url)) as loop:
        eventually(lambda: loop.step(NOW), 1)
        assert loop.step(NOW + timedelta(days=9)) == 0
    assert statuses(engine) == {"hook": ["dead"]}


def test_a_hanging_receiver_does_not_delay_another(engine: sa.Engine) -> None:
    record(engine, *clients(3), to=("slow", "fast"))
    with WebhookReceiver() as slow, WebhookReceiver() as fast:
        slow.answer_next(Stall(), Stall(), Stall())
        hooks = {"slow": webhook(slow.url, "slow"), "fast": webhook(fast.url, "fast")}
        with running(engine, **hooks) as loop:
            eventually(lambda: loop.step(NOW), 3)
            assert statuses(engine)["fast"] == ["delivered"] * 3
            assert statuses(engine)["slow"] == ["owed"] * 3
            record(engine, ALARM, to=("slow", "fast"))
            eventually(lambda: loop.step(NOW), 1)
            assert len(fast.posted) == 4
            assert len(slow.wait_for(1)) == 1
            slow.release()


def test_a_receiver_that_asks_for_time_gets_it_for_everything(engine: sa.Engine, receiver: WebhookReceiver) -> None:
    record(engine, *clients(3))
    receiver.answer_next(Answer(429, {"Retry-After": "60"}))
    with running(engine, hook=webhook(receiver.url)) as loop:
        eventually(lambda: loop.step(NOW), 1)
        assert loop.step(NOW + timedelta(seconds=50)) == 0
        assert len(receiver.posted) == 1
        eventually(lambda: loop.step(NOW + timedelta(seconds=90)), 3)
    assert statuses(engine) == {"hook": ["delivered"] * 3}


def test_a_step_is_bounded(engine: sa.Engine, receiver: WebhookReceiver) -> None:
    record(engine, *clients(SENDS_PER_STEP + 2))
    with running(engine, hook=webhook(receiver.url)) as loop:
        done = [loop.step(NOW)]
        eventually(lambda: done.append(loop.step(NOW)) or done[-1], SENDS_PER_STEP + 2 - done[0])
    assert max(done) <= SENDS_PER_STEP
    assert len(receiver.posted) == SENDS_PER_STEP + 2


class Faulty:
    """A destination with a fault of its own."""

    type: ClassVar[str] = "faulty"

    def send(self, notification: Notification, now: datetime) -> Receipt:
        raise ZeroDivisionError("https://hooks.slack.com/services/T/B/abcdefgh0123")


def test_a_fault_in_one_destination_is_an_attempt_that_failed(engine: sa.Engine, receiver: WebhookReceiver) -> None:
    record(engine, ALARM, to=("faulty", "hook"))
    with running(engine, faulty=Faulty(), hook=webhook(receiver.url)) as loop:
        eventually(lambda: loop.step(NOW), 2)
    assert statuses(engine) == {"faulty": ["owed"], "hook": ["delivered"]}
    assert "ZeroDivisionError" in _answers(engine)[0]
    assert "abcdefgh0123" not in "".join(_answers(engine))


def test_a_destination_that_is_no_longer_configured_is_tried_until_it_is_dead(engine: sa.Engine) -> None:
    record(engine, ALARM, to=("former",))
    with running(engine) as loop:
        for days in range(10):
            eventually(lambda days=days: loop.step(NOW + timedelta(days=2 * days)), 1)
        assert loop.step(NOW + timedelta(days=99)) == 0
    assert statuses(engine) == {"former": ["dead"]}
    assert set(_answers(engine)) == {"no destination of this name is configured"}


def test_no_secret_reaches_logs_errors_or_stored_answers(engine: sa.Engine, receiver: WebhookReceiver) -> None:
    url = receiver.url.replace("/hook", "/services/T000/B000/abcdefgh0123")
    settings = SlackSettings(
        type="slack", name="chat", url=SecretStr(url), allow_http=True, allow_private_addresses=True
    )
    record(engine, *clients(2), to=("chat",))
    receiver.answer_next(Answer(403, {}, f"no such hook {url} (abcdefgh0123)".encode()), Answer(500, {}, url.encode()))
    with structlog.testing.capture_logs() as logs, running(engine, chat=build_destination(settings, None)) as loop:
        eventually(lambda: loop.step(NOW), 2)
    assert len(logs) == 2
    assert "abcdefgh0123" not in repr(logs) + repr(_answers(engine)) + repr(settings)


def test_attempts_are_counted_by_kind_of_destination_and_outcome(engine: sa.Engine, receiver: WebhookReceiver) -> None:
    metrics = Metrics()
    record(engine, *clients(2))
    receiver.fail_next(1, status=400)
    with DeliveryLoop(engine, {"hook": webhook(receiver.url)}, random.Random(1), metrics) as loop:
        eventually(lambda: loop.step(NOW), 2)
    counts = {outcome: metrics.deliveries.labels("webhook", outcome.value)._value.get() for outcome in DeliveryOutcome}
    assert counts == {DeliveryOutcome.DELIVERED: 1, DeliveryOutcome.PERMANENT: 1, DeliveryOutcome.RETRY: 0}


def test_two_loops_share_the_work(engine: sa.Engine, receiver: WebhookReceiver) -> None:
    record(engine, *clients(8))
    hook = webhook(receiver.url)
    with running(engine, hook=hook) as one, running(engine, hook=hook) as two:
        eventually(lambda: one.step(NOW) + two.step(NOW), 8)
    ids = [posted.headers["webhook-id"] for posted in receiver.posted]
    assert len(ids) == len(set(ids)) == 8


def test_the_receiver_says_what_it_waited_for(receiver: WebhookReceiver) -> None:
    with pytest.raises(TimeoutError, match="0 of 1 requests"):
        receiver.wait_for(1, timeout_s=0.01)


def _answers(engine: sa.Engine) -> list[str]:
    with transaction(engine) as conn:
        c = delivery_attempts.c
        return list(conn.scalars(sa.select(c.answer).join(deliveries).order_by(deliveries.c.destination, c.attempt)))
