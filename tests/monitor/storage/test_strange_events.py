"""Strange events are kept while an alert may name them, and their values no longer than was asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from monitor.config import JudgeSettings
from monitor.storage.engine import reading, transaction
from monitor.storage.housekeeping import Housekeeper
from monitor.storage.strange_events import (
    MOST_OF_A_PANE,
    NamedEvent,
    erase_values,
    let_go,
    name_events,
    prune_strange_events,
    strangest,
    values_of,
)
from monitor.storage.tables import models, strange_events

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def event(
    score: float, pane: int = 100, hours: float | None = None, event_id: str = "", model: str = "m"
) -> NamedEvent:
    return NamedEvent(
        model=model,
        version="1",
        pane_start=pane,
        event_time=pane + 1.0,
        event_id=f"e{pane}-{score:g}",
        client_id="c",
        score=score,
        p_value=0.001,
        facts={"because": "so", "columns": [{"name": "x", "z": 3.0, "words": "3.0 sd above"}]},
        values=None if hours is None else {"x": 41.5},
        values_until=None if hours is None else NOW + timedelta(hours=hours),
    )


def kept(engine: sa.Engine) -> list[str]:
    with reading(engine) as conn:
        return [row.event_id for row in conn.execute(sa.select(strange_events).order_by(strange_events.c.id))]


def test_the_strangest_of_some_panes_come_first_and_without_values(engine: sa.Engine) -> None:
    with transaction(engine) as conn:
        name_events(
            conn, [event(3), event(9, hours=1), event(5, pane=110), event(99, pane=120), event(50, model="n")], NOW
        )
        found = strangest(conn, "m", "1", 100, 110, 2)
    assert [item["event_id"] for item in found] == ["e100-9", "e110-5"]
    assert found[0]["columns"] == [{"name": "x", "z": 3.0, "words": "3.0 sd above"}]
    assert "41.5" not in str(found)


def test_a_quiet_pane_lets_go_of_all_but_what_an_alert_named(engine: sa.Engine) -> None:
    with transaction(engine) as conn:
        name_events(conn, [event(3), event(9), event(4, pane=110), event(2, pane=120)], NOW)
        strangest(conn, "m", "1", 100, 100, 1)
        let_go(conn, "m", "1", 110, rising_since=None)
    assert kept(engine) == ["e100-9", "e120-2"]


def test_while_evidence_rises_the_strangest_of_each_pane_stay(engine: sa.Engine) -> None:
    with transaction(engine) as conn:
        name_events(conn, [event(1, pane=90), *(event(float(i)) for i in range(MOST_OF_A_PANE + 5))], NOW)
        let_go(conn, "m", "1", 100, rising_since=100)
    assert kept(engine) == [f"e100-{i}" for i in range(5, MOST_OF_A_PANE + 5)]


def test_values_are_shown_only_of_named_events_and_only_until_their_hour(engine: sa.Engine) -> None:
    with transaction(engine) as conn:
        name_events(conn, [event(3, hours=2), event(9, hours=2), event(8)], NOW)
        strangest(conn, "m", "1", 100, 100, 2)
        ids = ["e100-3", "e100-9", "e100-8"]
        assert values_of(conn, "m", "1", ids, NOW) == {"e100-9": {"x": 41.5}}
        assert values_of(conn, "m", "1", ids, NOW + timedelta(hours=2)) == {}


def test_values_are_erased_when_their_hour_has_come_and_the_events_stay(engine: sa.Engine) -> None:
    with transaction(engine) as conn:
        name_events(conn, [event(3, hours=1), event(9, hours=5)], NOW)
        assert erase_values(conn, NOW) == 0
        assert erase_values(conn, NOW + timedelta(hours=1)) == 1
        rows = {row.event_id: row for row in conn.execute(sa.select(strange_events))}
    assert rows["e100-3"].event_values is None
    assert rows["e100-9"].event_values == {"x": 41.5}


def test_housekeeping_erases_values_and_forgets_old_events(engine: sa.Engine) -> None:
    day = 86_400
    with transaction(engine) as conn:
        conn.execute(
            sa.insert(models).values(
                model="m", version="1", first_seen_at=NOW, last_event_at=NOW, events_total=1, judged_until=100 * day
            )
        )
        name_events(conn, [event(3, pane=50 * day), event(9, pane=99 * day, hours=1)], NOW)
    Housekeeper(engine, JudgeSettings(keep_readings_days=30)).step(NOW + timedelta(hours=1))
    with reading(engine) as conn:
        rows = conn.execute(sa.select(strange_events)).all()
    assert [row.pane_start for row in rows] == [99 * day]
    assert rows[0].event_values is None


@pytest.mark.parametrize("before", [100, 111])
def test_pruning_goes_by_the_pane(engine: sa.Engine, before: int) -> None:
    with transaction(engine) as conn:
        name_events(conn, [event(3), event(4, pane=110)], NOW)
        assert prune_strange_events(conn, "m", "1", before) == sum(pane < before for pane in (100, 110))
