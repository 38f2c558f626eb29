"""The outbox: what is owed is sent in order, by one sender at a time, until it is delivered or given up."""

import math
import random
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from detectors.base import Kind, Level, Reading, Subject, SubjectType
from monitor.alerting.book import BookPolicy
from monitor.alerting.incident import Change, PaneRef
from monitor.alerting.routing import Route
from monitor.delivery.base import DeliveryOutcome, Receipt
from monitor.storage import alerts as alert_store
from monitor.storage.deliveries import LEASE_S, OwedDelivery, Status, claim, due_destinations, finish, owe
from monitor.storage.engine import reading, transaction
from monitor.storage.tables import deliveries, delivery_attempts

NOW = datetime(2026, 1, 2, tzinfo=UTC)
HOOK = (Route("hook"),)
DELIVERED = Receipt(DeliveryOutcome.DELIVERED, 204)
BUSY = Receipt(DeliveryOutcome.RETRY, 503, "busy")
GONE = Receipt(DeliveryOutcome.PERMANENT, 410, "gone")
SECOND = timedelta(seconds=1)


def open_alert(engine: sa.Engine, client: str = "acme-7", routes: Sequence[Route] = HOOK) -> Change:
    subject = Subject(SubjectType.CLIENT, client)
    alarm = Reading("clients", Kind.EXTRACTION, subject, Level.ALARM, 20.0, 11.0, 3.0, "queries", 0.0, None, "why")
    with transaction(engine) as conn:
        changes = alert_store.record(
            conn,
            pane=PaneRef("m", client, 1_700_000_000, 10),
            readings=[alarm],
            policy=BookPolicy(),
            destinations=routes,
            now=NOW,
        )
    return changes[0]


def resolve(engine: sa.Engine, change: Change, routes: Sequence[Route] = HOOK) -> Change:
    with transaction(engine) as conn:
        return alert_store.resolve_alert(conn, change.incident.id, "ann", "", routes, NOW)


def take(engine: sa.Engine, now: datetime, limit: int = 10, destination: str = "hook") -> Sequence[OwedDelivery]:
    with transaction(engine) as conn:
        return claim(conn, now, limit, LEASE_S, destination)


def end(engine: sa.Engine, owed: OwedDelivery, receipt: Receipt, now: datetime) -> Status:
    with transaction(engine) as conn:
        return finish(conn, owed, receipt, started_at=now, duration_ms=12.5, now=now, chance=random.Random(1))


def row(engine: sa.Engine, delivery_id: str) -> sa.Row:
    with transaction(engine) as conn:
        return conn.execute(sa.select(deliveries).where(deliveries.c.id == delivery_id)).one()


def attempts(engine: sa.Engine) -> list[sa.Row]:
    with transaction(engine) as conn:
        return list(conn.execute(sa.select(delivery_attempts).order_by(delivery_attempts.c.id)))


def test_a_claim_brings_the_change_as_it_was_made(engine: sa.Engine) -> None:
    change = open_alert(engine)
    (owed,) = take(engine, NOW)
    assert owed.change == change
    assert (owed.destination, owed.attempt) == ("hook", 1)


def test_owing_a_change_twice_makes_one_row(engine: sa.Engine) -> None:
    change = open_alert(engine)
    with transaction(engine) as conn:
        assert owe(conn, [change], HOOK, NOW) == 0
        assert owe(conn, [change], [Route("other")], NOW) == 1


def test_a_leased_row_is_nobody_elses(engine: sa.Engine) -> None:
    open_alert(engine)
    assert len(take(engine, NOW)) == 1
    assert take(engine, NOW + SECOND) == ()


def test_a_lease_that_ran_out_is_claimed_again_under_the_same_id(engine: sa.Engine) -> None:
    open_alert(engine)
    (first,) = take(engine, NOW)
    (second,) = take(engine, NOW + timedelta(seconds=LEASE_S))
    assert second.id == first.id
    assert (first.attempt, second.attempt) == (1, 2)


def test_delivered_rows_rest(engine: sa.Engine) -> None:
    open_alert(engine)
    (owed,) = take(engine, NOW)
    assert end(engine, owed, DELIVERED, NOW) is Status.DELIVERED
    stored = row(engine, owed.id)
    assert (stored.status, stored.delivered_at, stored.locked_until) == ("delivered", NOW, None)
    assert take(engine, NOW + timedelta(days=9)) == ()
    (attempt,) = attempts(engine)
    assert (attempt.attempt, attempt.outcome, attempt.status_code, attempt.duration_ms) == (1, "delivered", 204, 12.5)


def test_the_standard_schedule_ends_after_ten_attempts_and_75_hours(engine: sa.Engine) -> None:
    open_alert(engine)
    now, waits = NOW, []
    while claimed := take(engine, now):
        status = end(engine, claimed[0], BUSY, now)
        stored = row(engine, claimed[0].id)
        if status is Status.DEAD:
            break
        waits.append((stored.next_attempt_at - now).total_seconds())
        assert take(engine, stored.next_attempt_at - SECOND) == ()
        now = stored.next_attempt_at
    planned = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]
    assert len(waits) == len(planned)
    assert all(plan <= wait <= 1.2 * plan for plan, wait in zip(planned, waits, strict=True))
    assert stored.status == "dead"
    assert [attempt.attempt for attempt in attempts(engine)] == list(range(1, 11))
    assert take(engine, now + timedelta(days=99)) == ()


@pytest.mark.parametrize(
    ("asked", "waits", "why"),
    [
        (90.0, 90.0, "longer than planned: honoured"),
        (1.0, 5.0, "shorter than planned: the plan holds"),
        (1e9, 86_400.0, "no receiver postpones for more than a day"),
    ],
)
def test_retry_after(engine: sa.Engine, asked: float, waits: float, why: str) -> None:
    open_alert(engine)
    (owed,) = take(engine, NOW)
    end(engine, owed, Receipt(DeliveryOutcome.RETRY, 429, "", asked), NOW)
    waited = (row(engine, owed.id).next_attempt_at - NOW).total_seconds()
    assert waits <= waited <= 1.2 * waits, why


def test_a_permanent_refusal_ends_the_delivery_at_once(engine: sa.Engine) -> None:
    open_alert(engine)
    (owed,) = take(engine, NOW)
    assert end(engine, owed, GONE, NOW) is Status.DEAD
    assert take(engine, NOW + timedelta(days=9)) == ()


def test_a_resolve_waits_for_its_opening(engine: sa.Engine) -> None:
    resolve(engine, open_alert(engine))
    (opening,) = take(engine, NOW)
    assert opening.change.transition.transition == "opened"
    end(engine, opening, BUSY, NOW)
    assert take(engine, NOW + SECOND) == ()
    (opening,) = take(engine, NOW + 10 * SECOND)
    end(engine, opening, DELIVERED, NOW + 10 * SECOND)
    (closing,) = take(engine, NOW + 10 * SECOND)
    assert closing.change.transition.transition == "resolved"


def test_an_opening_given_up_does_not_hold_the_resolve_for_ever(engine: sa.Engine) -> None:
    resolve(engine, open_alert(engine))
    (opening,) = take(engine, NOW)
    end(engine, opening, GONE, NOW)
    (closing,) = take(engine, NOW)
    assert closing.change.transition.transition == "resolved"


def test_alerts_and_destinations_do_not_wait_for_each_other(engine: sa.Engine) -> None:
    routes = (Route("hook"), Route("chat"))
    open_alert(engine, "a", routes)
    open_alert(engine, "b", routes)
    hooks = take(engine, NOW)
    assert len(hooks) == 2
    end(engine, hooks[0], BUSY, NOW)
    with reading(engine) as conn:
        assert due_destinations(conn, NOW) == ["chat"]
    assert len(take(engine, NOW, destination="chat")) == 2


def test_a_limit_takes_the_oldest_first(engine: sa.Engine) -> None:
    first, second = open_alert(engine, "a"), open_alert(engine, "b")
    (owed,) = take(engine, NOW, limit=1)
    end(engine, owed, BUSY, NOW)
    (other,) = take(engine, NOW + 20 * SECOND, limit=1)
    assert {owed.change.incident.id, other.change.incident.id} == {first.incident.id, second.incident.id}


def test_who_lost_the_lease_cannot_postpone_the_new_sender(engine: sa.Engine) -> None:
    open_alert(engine)
    (slow,) = take(engine, NOW)
    later = NOW + timedelta(seconds=LEASE_S)
    (fresh,) = take(engine, later)
    end(engine, slow, GONE, later)
    stored = row(engine, fresh.id)
    assert (stored.status, stored.attempts) == ("owed", 2)
    assert stored.locked_until is not None
    end(engine, fresh, DELIVERED, later)
    assert row(engine, fresh.id).status == "delivered"


def test_a_delivery_counts_whoever_made_it(engine: sa.Engine) -> None:
    open_alert(engine)
    (slow,) = take(engine, NOW)
    later = NOW + timedelta(seconds=LEASE_S)
    (fresh,) = take(engine, later)
    end(engine, slow, DELIVERED, later)
    end(engine, fresh, BUSY, later)
    assert row(engine, fresh.id).status == "delivered"
    assert [attempt.attempt for attempt in attempts(engine)] == [1, 2]


def test_finishing_twice_stores_one_attempt(engine: sa.Engine) -> None:
    open_alert(engine)
    (owed,) = take(engine, NOW)
    end(engine, owed, DELIVERED, NOW)
    end(engine, owed, DELIVERED, NOW)
    assert len(attempts(engine)) == 1


def test_many_claimers_at_once_get_each_row_once(engine: sa.Engine) -> None:
    for number in range(12):
        open_alert(engine, f"client-{number}")
    got: list[str] = []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait(10)
        while claimed := take(engine, NOW, limit=2):
            got.extend(owed.id for owed in claimed)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    remaining = take(engine, NOW, limit=99)
    got.extend(owed.id for owed in remaining)
    assert len(got) == len(set(got)) == 12


def test_an_answer_is_stored_within_1_kib_and_without_nul(engine: sa.Engine) -> None:
    open_alert(engine)
    (owed,) = take(engine, NOW)
    end(engine, owed, Receipt(DeliveryOutcome.RETRY, 500, "\x00" + "x" * 5_000), NOW)
    (attempt,) = attempts(engine)
    assert len(attempt.answer) == 1_024
    assert math.isclose(attempt.duration_ms, 12.5)
    assert "\x00" not in attempt.answer
