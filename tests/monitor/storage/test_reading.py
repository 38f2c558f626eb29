"""The read side answers the same on SQLite and PostgreSQL."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa

from detectors.budget import shares_of
from monitor.queries import AlertFilter, InvalidCursor, VolumePoint
from monitor.storage import tables as t
from monitor.storage.engine import create_engine, transaction
from monitor.storage.reading import DatabaseQueries

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
EPOCH_NOW = int(NOW.timestamp())


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    engine = create_engine(database_url, "test")
    yield engine
    engine.dispose()


@pytest.fixture
def queries(engine: sa.Engine) -> DatabaseQueries:
    return DatabaseQueries(engine, alarms_per_week=1.0, clock=lambda: NOW)


def insert(engine: sa.Engine, table: sa.Table, *rows: dict[str, Any]) -> None:
    with transaction(engine) as conn:
        conn.execute(table.insert(), list(rows))


def model(name: str = "fraud", version: str = "1", **values: Any) -> dict[str, Any]:
    return {"model": name, "version": version, "first_seen_at": NOW, "last_event_at": NOW, "events_total": 5, **values}


def reference(id_: str, name: str = "fraud", version: str = "1", **values: Any) -> dict[str, Any]:
    return {
        "id": id_, "model": name, "version": version, "active": True, "n_events": 900, "pane_s": 10,
        "summary": {"columns": 3}, "data": b"x", "created_at": NOW, **values,
    }  # fmt: skip


def alert(id_: str, **values: Any) -> dict[str, Any]:
    return {
        "id": id_, "model": "fraud", "version": "1", "kind": "drift", "detector": "marginals",
        "subject_type": "feature", "subject_id": id_, "members": ["a", "b"], "status": "open", "severity": "warning",
        "title": f"title of {id_}", "reason": "the mean moved", "opened_at": NOW, "last_seen_at": NOW,
        "resolved_at": None, "onset_at": None, "readings_total": 1, "quiet_panes": 0, "log_evidence": 9.0,
        "log_threshold": 8.0, "effect": 0.5, "effect_unit": "σ", "detail": {"top": [1, 2]}, "acknowledged_by": None,
        "acknowledged_at": None, "verdict": None, "created_at": NOW, **values,
    }  # fmt: skip


def reading(id_: str, pane_start: int, level: str = "ok", **values: Any) -> dict[str, Any]:
    return {
        "id": id_, "model": "fraud", "version": "1", "detector": "marginals", "kind": "drift", "subject_type": "model",
        "subject_id": "", "pane_start": pane_start, "pane_s": 10, "level": level, "log_evidence": 0.0,
        "log_threshold": 8.0, "effect": 0.0, "effect_unit": "σ", "reason": "as ever", "detail": {}, **values,
    }  # fmt: skip


def pane(pane_start: int, n_events: int = 1, reference_id: str = "r1", pane_s: int = 10) -> dict[str, Any]:
    return {
        "model": "fraud", "version": "1", "reference_id": reference_id, "pane_s": pane_s, "pane_start": pane_start,
        "n_events": n_events, "sketch": b"",
    }  # fmt: skip


def test_an_empty_database_is_answered_with_nothing(queries: DatabaseQueries) -> None:
    overview = queries.overview()
    assert (overview.models, overview.events_total, overview.open_alerts) == (0, 0, {})
    assert overview.last_commit_at is None
    assert queries.models() == []
    assert queries.model("fraud", "1") is None
    assert queries.alerts(AlertFilter()).rows == []
    assert queries.alert("none") is None
    assert queries.budget("fraud", "1") is None
    assert queries.event_range("fraud", "1") is None
    assert queries.reference_summary("fraud", "1") is None
    assert queries.volume("fraud", "1", NOW - timedelta(days=1), NOW) == []
    assert queries.partitions() == []
    assert queries.dead_letters().next_cursor is None


def test_text_that_no_database_holds_matches_nothing(engine: sa.Engine, queries: DatabaseQueries) -> None:
    insert(engine, t.models, model())
    for text in ("\x00", "fraud\x00", "\ud800"):
        assert queries.model(text, "1") is None
        assert queries.alert(text) is None
        assert queries.alerts(AlertFilter(search=text, model=(text,))).rows == []
        assert queries.reference_summary(text, "") is None


class TestModels:
    def test_one_without_a_reference_is_warming(self, engine: sa.Engine, queries: DatabaseQueries) -> None:
        insert(engine, t.models, model())
        insert(engine, t.references, reference("old", active=False), reference("other", version="2"))
        row = queries.model("fraud", "1")
        assert row is not None
        assert (row.status, row.reference_id, row.pane_s) == ("warming", None, None)

    def test_its_own_reference_wins_over_the_one_for_all_versions(
        self, engine: sa.Engine, queries: DatabaseQueries
    ) -> None:
        insert(engine, t.models, model(), model(version="2"))
        insert(engine, t.references, reference("all", version="", summary={"columns": 7}), reference("own"))
        rows = queries.models()
        assert [(row.version, row.reference_id, row.status) for row in rows] == [("1", "own", "ok"), ("2", "all", "ok")]
        assert rows == [queries.model("fraud", "1"), queries.model("fraud", "2")]
        assert queries.reference_summary("fraud", "1") == {"columns": 3}
        assert queries.reference_summary("fraud", "2") == {"columns": 7}

    def test_another_models_readings_do_not_count(self, engine: sa.Engine, queries: DatabaseQueries) -> None:
        insert(engine, t.models, model(), model("spam"))
        insert(engine, t.references, reference("r1"), reference("r2", "spam"))
        insert(engine, t.readings, reading("early", 10, "alarm"), reading("late", 90, "warning", model="spam"))
        assert {row.model: row.status for row in queries.models()} == {"fraud": "alarm", "spam": "warning"}

    @pytest.mark.parametrize(
        ("alerts", "levels", "status"),
        [
            ([], ["ok", "warming"], "ok"),
            ([], ["ok", "warning"], "warning"),
            ([], ["alarm", "warning"], "alarm"),
            ([("warning", "open")], ["ok"], "warning"),
            ([("warning", "open"), ("critical", "acknowledged")], ["ok"], "alarm"),
            ([("critical", "resolved")], ["ok"], "ok"),
            ([("info", "open")], [], "ok"),
        ],
    )
    def test_status_is_the_worst_of_open_alerts_and_last_readings(
        self,
        engine: sa.Engine,
        queries: DatabaseQueries,
        alerts: list[tuple[str, str]],
        levels: list[str],
        status: str,
    ) -> None:
        insert(engine, t.models, model())
        insert(engine, t.references, reference("r1"))
        insert(engine, t.readings, reading("earlier", 10, "alarm"), reading("elsewhere", 90, "alarm", model="m"))
        insert(engine, t.readings, *(reading(f"r{i}", 20, level) for i, level in enumerate(levels or ["ok"])))
        for i, (severity, state) in enumerate(alerts):
            insert(engine, t.alerts, alert(f"a{i}", severity=severity, status=state))
        row = queries.model("fraud", "1")
        assert row is not None
        assert row.status == status
        assert row.open_alerts == sum(state != "resolved" for _, state in alerts)


class TestAlerts:
    def test_paging_visits_each_once_newest_first(self, engine: sa.Engine, queries: DatabaseQueries) -> None:
        instants = [NOW - timedelta(microseconds=i // 3) for i in range(10)]
        insert(engine, t.alerts, *(alert(f"a{i}", opened_at=at) for i, at in enumerate(instants)))
        seen, cursor = [], None
        while True:
            page = queries.alerts(AlertFilter(), limit=4, cursor=cursor)
            seen += page.rows
            if (cursor := page.next_cursor) is None:
                break
        assert len(seen) == 10
        assert seen == sorted(seen, key=lambda row: (row.opened_at, row.id), reverse=True)

    def test_rows_come_back_as_stored(self, engine: sa.Engine, queries: DatabaseQueries) -> None:
        insert(engine, t.alerts, alert("a1"))
        row = queries.alert("a1")
        assert row is not None
        assert (row.members, row.detail, row.opened_at, row.effect_unit) == (("a", "b"), {"top": [1, 2]}, NOW, "σ")
        assert queries.alerts(AlertFilter()).rows == [row]

    @pytest.mark.parametrize(
        ("where", "found"),
        [
            (AlertFilter(), {"a1", "a2", "a3"}),
            (AlertFilter(model=("fraud", "none")), {"a1", "a2"}),
            (AlertFilter(kind=("ood",)), {"a2"}),
            (AlertFilter(status=("open", "acknowledged"), severity=("warning",)), {"a1"}),
            (AlertFilter(search="SPAM"), {"a3"}),
            (AlertFilter(search="100%"), {"a2"}),
            (AlertFilter(search="_"), set()),
            (AlertFilter(verdict=("false_alarm",)), {"a2"}),
            (AlertFilter(verdict=("none",)), {"a1", "a3"}),
            (AlertFilter(verdict=("none", "false_alarm"), kind=("ood",)), {"a2"}),
            (AlertFilter(verdict=("real",)), set()),
        ],
    )
    def test_filters(self, engine: sa.Engine, queries: DatabaseQueries, where: AlertFilter, found: set[str]) -> None:
        insert(
            engine,
            t.alerts,
            alert("a1"),
            alert("a2", kind="ood", severity="critical", reason="100% strange", verdict="false_alarm"),
            alert("a3", model="spam", status="resolved", resolved_at=NOW),
        )
        assert {row.id for row in queries.alerts(where).rows} == found

    @pytest.mark.parametrize("cursor", ["", "x", "é", "bnVsbA", "WzEsMl0", "A" * 3_000, "WzEsIlx1MDAwMCJd"])
    def test_a_foreign_cursor_is_named(self, queries: DatabaseQueries, cursor: str) -> None:
        with pytest.raises(InvalidCursor, match="start again"):
            queries.alerts(AlertFilter(), cursor=cursor)
        with pytest.raises(InvalidCursor, match="start again"):
            queries.dead_letters(cursor=cursor)

    def test_deliveries_carry_their_last_attempt(self, engine: sa.Engine, queries: DatabaseQueries) -> None:
        insert(engine, t.alerts, alert("a1"))
        common = {"alert_id": "a1", "severity": "warning", "event_time": NOW, "actor": "", "note": "", "detail": {}}
        insert(
            engine,
            t.alert_transitions,
            {"id": "t1", "sequence": 1, "transition": "opened", "created_at": NOW, **common},
            {"id": "t2", "sequence": 2, "transition": "resolved", "created_at": NOW, **common},
        )
        owed = {"alert_id": "a1", "next_attempt_at": NOW, "locked_until": None, "created_at": NOW}
        insert(
            engine,
            t.deliveries,
            {"id": "d1", "transition_id": "t1", "sequence": 1, "destination": "hook", "status": "delivered",
             "attempts": 2, "delivered_at": NOW, **owed},
            {"id": "d2", "transition_id": "t2", "sequence": 2, "destination": "hook", "status": "owed",
             "attempts": 0, "delivered_at": None, **owed},
        )  # fmt: skip
        attempt = {"started_at": NOW, "duration_ms": 3.0}
        insert(
            engine,
            t.delivery_attempts,
            {"delivery_id": "d1", "attempt": 1, "outcome": "retry", "status_code": 503, "answer": "busy", **attempt},
            {"delivery_id": "d1", "attempt": 2, "outcome": "delivered", "status_code": 200, "answer": "", **attempt},
            {"delivery_id": "d2", "attempt": 1, "outcome": "retry", "status_code": 429, "answer": "slow", **attempt},
        )
        assert [row.transition for row in queries.transitions("a1")] == ["opened", "resolved"]
        first, second = queries.deliveries("a1")
        assert (first.transition, first.last_outcome, first.last_status_code) == ("opened", "delivered", 200)
        assert first.next_attempt_at is None
        assert (second.transition, second.last_status_code, second.next_attempt_at) == ("resolved", 429, NOW)
        overview = queries.overview()
        assert (overview.deliveries_owed, overview.deliveries_dead) == (1, 0)
        assert overview.open_alerts == {"warning": 1}


class TestBudget:
    END = NOW - timedelta(days=300)
    SUMMARY: ClassVar = {"detectors": ["drift", "ood", "of a newer version"]}

    def test_it_is_of_event_time_and_the_pipeline_s_alerts_are_no_detector_s(
        self, engine: sa.Engine, queries: DatabaseQueries
    ) -> None:
        insert(engine, t.models, model(judged_until=int(self.END.timestamp())))
        insert(
            engine,
            t.alerts,
            alert("a1", opened_at=self.END - timedelta(days=6), verdict="false_alarm"),
            alert("a2", opened_at=self.END - timedelta(days=2), kind="ood", detector="ood", status="resolved"),
            alert("a3", opened_at=self.END - timedelta(days=8), verdict="real"),
            alert("a4", opened_at=self.END, kind="pipeline"),
            alert("a5", opened_at=self.END - timedelta(days=29)),
            alert("a6", opened_at=self.END, version="2"),
        )
        budget = queries.budget("fraud", "1")
        assert budget is not None
        week, month = budget.last_week, budget.last_4_weeks
        assert (week.alerts, week.false_alarms, week.real, week.unmarked) == (2, 1, 0, 1)
        assert (month.alerts, month.false_alarms, month.real, month.unmarked) == (3, 1, 1, 1)
        assert (week.since, week.until) == (self.END - timedelta(weeks=1), self.END)
        assert month.since == self.END - timedelta(weeks=4)
        assert [(line.detector, line.alerts, line.real) for line in month.detectors] == [
            ("marginals", 2, 1),
            ("ood", 1, 0),
        ]

    def test_only_what_a_reference_judged_was_watched_and_once(
        self, engine: sa.Engine, queries: DatabaseQueries
    ) -> None:
        start = int(self.END.timestamp())
        insert(engine, t.models, model(judged_until=start))
        insert(
            engine,
            t.panes,
            pane(start - 20),
            pane(start - 10),
            pane(start - 10, reference_id="r2"),
            pane(start - 30, reference_id=""),
            pane(start - 8 * 86_400, pane_s=600),
            pane(start - 29 * 86_400, pane_s=600),
        )
        budget = queries.budget("fraud", "1")
        assert budget is not None
        assert (budget.last_week.watched_s, budget.last_4_weeks.watched_s) == (20.0, 620.0)
        assert budget.last_4_weeks.allowed == pytest.approx(620 / (7 * 86_400))

    def test_shares_are_those_of_the_detectors_that_fitted(self, engine: sa.Engine, queries: DatabaseQueries) -> None:
        insert(engine, t.models, model(), model(version="2"))
        assert queries.budget("fraud", "1").shares == {}  # type: ignore[union-attr]
        every = {"detectors": ["drift", "ood", "extraction"]}
        insert(engine, t.references, reference("r0", version="", summary=every), reference("r1", summary=self.SUMMARY))
        own, served = queries.budget("fraud", "1"), queries.budget("fraud", "2")
        assert own is not None
        assert served is not None
        assert own.shares == pytest.approx(shares_of(["drift", "ood"]))
        assert sum(own.shares.values()) == pytest.approx(1.0)
        assert set(served.shares) == {"drift", "ood", "extraction"}
        assert {line.detector: line.share for line in own.last_week.detectors} == own.shares

    def test_a_model_that_was_never_judged_has_spent_nothing(self, engine: sa.Engine, queries: DatabaseQueries) -> None:
        insert(engine, t.models, model("a"), model("b", last_event_at=None))
        for name in ("a", "b"):
            budget = queries.budget(name, "1")
            assert budget is not None
            assert (budget.last_4_weeks.alerts, budget.last_4_weeks.watched_s) == (0, 0.0)
            assert budget.last_4_weeks.false_alarms_per_week is None


class TestTime:
    def test_volume_adds_the_panes_of_every_reference(self, engine: sa.Engine, queries: DatabaseQueries) -> None:
        insert(engine, t.panes, pane(1200, 5), pane(1200, 7, "r2"), pane(1210, 1), pane(1220, 9))
        since, until = datetime.fromtimestamp(600, UTC), datetime.fromtimestamp(1220, UTC)
        assert queries.volume("fraud", "1", since, until, points=1_000) == [
            VolumePoint(datetime.fromtimestamp(1200, UTC), 12),
            VolumePoint(datetime.fromtimestamp(1210, UTC), 1),
        ]

    def test_volume_is_even_where_old_panes_are_rolled_up(self, engine: sa.Engine, queries: DatabaseQueries) -> None:
        wide = (pane(start, 60, pane_s=600) for start in range(0, 6_000, 600))
        insert(engine, t.panes, *wide, *(pane(start, 1) for start in range(6_000, 12_000, 10)))
        points = queries.volume("fraud", "1", datetime.fromtimestamp(0, UTC), datetime.fromtimestamp(12_000, UTC))
        assert [point.n_events for point in points] == [60] * 20

    @pytest.mark.parametrize("points", [2, 7, 50, 300])
    def test_volume_gives_at_most_the_points_asked_for(
        self, engine: sa.Engine, queries: DatabaseQueries, points: int
    ) -> None:
        insert(engine, t.panes, *(pane(EPOCH_NOW - 10 * i, 2) for i in range(1, 1_001)))
        found = queries.volume("fraud", "1", NOW - timedelta(seconds=10_007), NOW, points)
        assert 1 < len(found) <= points
        assert sum(point.n_events for point in found) == 2_000

    def test_readings_keep_the_latest(self, engine: sa.Engine, queries: DatabaseQueries) -> None:
        insert(engine, t.readings, *(reading(f"r{i}", 10 * i) for i in range(20)))
        rows = queries.readings("fraud", "1", datetime.fromtimestamp(0, UTC), datetime.fromtimestamp(190, UTC), 3)
        assert [row.pane_start.timestamp() for row in rows] == [160.0, 170.0, 180.0]

    def test_event_range_ends_where_the_last_pane_ends(self, engine: sa.Engine, queries: DatabaseQueries) -> None:
        insert(engine, t.panes, pane(1210), pane(600, pane_s=600))
        found = queries.event_range("fraud", "1")
        assert found is not None
        assert [at.timestamp() for at in found] == [600.0, 1220.0]

    def test_the_last_minute_counts_judged_and_waiting_events(
        self, engine: sa.Engine, queries: DatabaseQueries
    ) -> None:
        insert(engine, t.models, model())
        insert(engine, t.panes, pane(EPOCH_NOW - 30, 4), pane(EPOCH_NOW - 100, 50))
        insert(
            engine,
            t.deltas,
            {"model": "fraud", "version": "1", "pane_start": EPOCH_NOW - 10, "pane_s": 10, "n_events": 3,
             "last_event_time": 0.0, "sketch": b"", "created_at": NOW},
        )  # fmt: skip
        assert queries.overview().events_last_minute == 7


def test_partitions_tell_their_lag(engine: sa.Engine, queries: DatabaseQueries) -> None:
    common = {"source": "kafka", "cluster_id": "c", "topic_id": "t", "topic": "logs", "epoch": 1, "owner": "w"}
    insert(
        engine,
        t.partitions,
        {"partition": 0, "next_offset": 90, "high_offset": 100, "updated_at": NOW, **common},
        {"partition": 1, "next_offset": 5, "high_offset": None, "updated_at": NOW, **common},
        {"partition": 2, "next_offset": -1, "high_offset": 7, "updated_at": NOW, **common},
    )
    assert [(row.partition, row.lag) for row in queries.partitions()] == [(0, 10), (1, None), (2, None)]
    assert queries.overview().last_commit_at == NOW


def test_dead_letters_page_newest_first(engine: sa.Engine, queries: DatabaseQueries) -> None:
    row = {"source": "kafka", "topic": "logs", "partition": 0, "row": -1, "reason": "undecodable", "message": "no JSON",
           "value": b"\x00", "value_bytes": 1, "created_at": NOW}  # fmt: skip
    insert(engine, t.dead_letters, *({**row, "offset": i} for i in range(5)))
    first = queries.dead_letters(limit=3)
    second = queries.dead_letters(limit=3, cursor=first.next_cursor)
    assert [item.offset for item in [*first.rows, *second.rows]] == [4, 3, 2, 1, 0]
    assert second.next_cursor is None
    assert queries.overview().dead_letters_total == 5
