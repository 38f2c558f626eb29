import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import sqlalchemy as sa

from detectors.base import MODEL, Kind, Level, Reading, Subject, SubjectType
from detectors.sketch import Sketch
from monitor.sources.base import Partition
from monitor.storage import judging
from monitor.storage.engine import reading, transaction
from monitor.storage.progress import Commit, Delta, claim, commit
from monitor.storage.tables import evidence, panes, readings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PARTITION = Partition("kafka", "events", 0)
DELTA = Delta("m", "1", "r", 1_000, 10, 5, 1_007.5, Sketch({"n": np.array([5])}).to_bytes())
READING = Reading("columns", Kind.DRIFT, MODEL, Level.ALARM, 12.5, 9.0, 0.3, "share", 0.1, 990.0, "why", {"top": ["a"]})


def _store(engine, *added, partition=PARTITION, mark=None, now=NOW):
    with transaction(engine) as conn:
        held = claim(conn, partition, "w", now)
        start = held.next_offset or 0
        n_events = sum(delta.n_events for delta in added)
        commit(conn, Commit(partition, held.epoch, start, start + 1, None, mark, n_events, 0, added), now)


def test_models_wait_by_name_until_their_deltas_are_deleted(engine):
    _store(engine, DELTA, DELTA, replace(DELTA, model="a"), replace(DELTA, version="0"))
    with transaction(engine) as conn:
        assert judging.models_with_deltas(conn) == [("a", "1"), ("m", "0"), ("m", "1")]
        judging.delete_deltas(conn, [delta.id for delta in judging.load_deltas(conn, "m", "1", 10)])
        judging.delete_deltas(conn, [])
        assert judging.models_with_deltas(conn) == [("a", "1"), ("m", "0")]


def test_deltas_come_in_order_of_pane_then_arrival_up_to_the_limit(engine):
    starts = [1_020, 1_000, 1_010, 1_000]
    _store(engine, *(replace(DELTA, pane_start=start, n_events=i) for i, start in enumerate(starts)))
    with reading(engine) as conn:
        found = judging.load_deltas(conn, "m", "1", 3)
    assert [(delta.pane_start, delta.n_events) for delta in found] == [(1_000, 1), (1_000, 3), (1_010, 2)]
    assert {delta.created_at for delta in found} == {NOW}


def test_thousands_of_deltas_can_be_deleted_at_once(engine):
    _store(engine, *[DELTA] * 2_500)
    with transaction(engine) as conn:
        found = judging.load_deltas(conn, "m", "1", 2_400)
        judging.delete_deltas(conn, [delta.id for delta in found])
        assert len(judging.load_deltas(conn, "m", "1", 9_999)) == 100


def test_a_model_never_seen_cannot_be_claimed(engine):
    with transaction(engine) as conn:
        assert judging.claim_model(conn, "m", "1") is None


def test_a_claim_knows_how_far_the_model_was_judged(engine):
    _store(engine, DELTA)
    with transaction(engine) as conn:
        assert judging.claim_model(conn, "m", "1") == judging.ModelClaim("m", "1", None)
        judging.set_judged_until(conn, "m", "1", 1_010)
    with transaction(engine) as conn:
        assert judging.claim_model(conn, "m", "1") == judging.ModelClaim("m", "1", 1_010)


def test_models_that_were_judged_are_listed_with_how_far(engine):
    _store(engine, DELTA, replace(DELTA, model="a"), replace(DELTA, version="0"))
    with transaction(engine) as conn:
        assert judging.judged_models(conn) == []
        judging.set_judged_until(conn, "m", "1", 1_010)
        judging.set_judged_until(conn, "a", "1", 1_020)
        assert judging.judged_models(conn) == [("a", "1", 1_020), ("m", "1", 1_010)]


def test_one_judge_at_a_time_has_a_model(engine):
    """On PostgreSQL the second goes on to other models; on SQLite it waits for the first, the only writer."""
    _store(engine, DELTA, replace(DELTA, version="2"))
    seen = []

    def second():
        with transaction(engine) as conn:
            seen.append(judging.claim_model(conn, "m", "1"))
            seen.append(judging.claim_model(conn, "m", "2"))

    thread = threading.Thread(target=second)
    with transaction(engine) as conn:
        assert judging.claim_model(conn, "m", "1") is not None
        thread.start()
        if conn.dialect.name == "postgresql":
            thread.join(10)
            assert seen == [None, judging.ModelClaim("m", "2", None)]
        judging.set_judged_until(conn, "m", "1", 1_010)
    thread.join(10)
    assert not thread.is_alive()
    if engine.dialect.name == "sqlite":
        assert seen[0] == judging.ModelClaim("m", "1", 1_010)


@pytest.mark.services
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_workers_on_postgresql_commit_while_a_judge_holds_their_model(engine):
    _store(engine, DELTA)
    with transaction(engine) as conn:
        judging.claim_model(conn, "m", "1")
        _store(engine, DELTA)
        assert len(judging.load_deltas(conn, "m", "1", 10)) == 2


def test_the_watermark_is_that_of_the_slowest_live_partition(engine):
    with reading(engine) as conn:
        assert judging.watermark(conn, NOW, 30) is None
    _store(engine, mark=500.0, partition=Partition("kafka", "events", 1), now=NOW - timedelta(seconds=31))
    _store(engine, mark=900.0, partition=Partition("kafka", "events", 2), now=NOW - timedelta(seconds=29))
    _store(engine, mark=950.0, partition=Partition("kafka", "events", 3))
    _store(engine, mark=None, partition=Partition("kafka", "events", 4))
    with reading(engine) as conn:
        assert judging.watermark(conn, NOW, 30) == 900.0
        assert judging.watermark(conn, NOW + timedelta(hours=1), 30) is None


def test_a_pane_that_is_there_already_is_added_to(engine):
    with transaction(engine) as conn:
        for n_events in (5, 7):
            sketch = Sketch({"n": np.array([n_events, 1])}, {"clients": {"c": np.array([n_events])}})
            judging.save_pane(conn, "m", "1", "r", 10, 1_000, n_events, sketch.to_bytes())
    with reading(engine) as conn:
        (row,) = conn.execute(sa.select(panes)).all()
    stored = Sketch.from_bytes(row.sketch)
    assert row.n_events == 12
    assert (stored.totals["n"].tolist(), stored.keyed["clients"]["c"].tolist()) == ([12, 2], [12])


def test_evidence_comes_back_as_it_was_saved_last(engine):
    client = Subject(SubjectType.CLIENT, "a\x00b")
    absent = Subject(SubjectType.FEATURE, "a\x00b")
    first = {"m": np.array([1.5, np.inf]), "names": np.array(["ü", ""]), "seen": np.array(True)}
    with transaction(engine) as conn:
        judging.save_evidence(conn, "m", "1", "r", "columns", {MODEL: first, client: first}, 1_000)
        judging.save_evidence(conn, "m", "1", "r", "columns", {client: {"m": np.arange(3)}}, 1_010)
        judging.save_evidence(conn, "m", "1", "r", "columns", {}, 1_020)
    with reading(engine) as conn:
        found = judging.load_evidence(conn, "m", "1", "r", "columns", [MODEL, client, absent])
        stored = dict(conn.execute(sa.select(evidence.c.subject_type, evidence.c.pane_start)).all())
    assert set(found) == {MODEL, client}
    assert {name: array.tolist() for name, array in found[MODEL].items()} == {
        name: array.tolist() for name, array in first.items()
    }
    assert found[client]["m"].tolist() == [0, 1, 2]
    assert stored == {"model": 1_000, "client": 1_010}


@pytest.mark.parametrize("other", [{"model": "x"}, {"version": "x"}, {"reference_id": "x"}, {"detector": "x"}])
def test_evidence_belongs_to_one_model_version_reference_and_detector(engine, other):
    key = {"model": "m", "version": "1", "reference_id": "r", "detector": "d"}
    with transaction(engine) as conn:
        judging.save_evidence(conn, **key, evidence_by_subject={MODEL: {"m": np.ones(1)}}, pane_start=0)
        assert judging.load_evidence(conn, **{**key, **other}, subjects=[MODEL]) == {}
        assert set(judging.load_evidence(conn, **key, subjects=[MODEL])) == {MODEL}


def test_evidence_of_thousands_of_clients_is_saved_and_found(engine):
    clients = {Subject(SubjectType.CLIENT, f"c{i}"): {"m": np.array([i])} for i in range(2_300)}
    with transaction(engine) as conn:
        judging.save_evidence(conn, "m", "1", "r", "d", clients, 0)
        found = judging.load_evidence(conn, "m", "1", "r", "d", [*clients, Subject(SubjectType.CLIENT, "new")])
    assert {subject: int(state["m"][0]) for subject, state in found.items()} == {
        subject: i for i, subject in enumerate(clients)
    }


def test_a_reading_is_stored_once_however_often_it_is_saved(engine):
    client = replace(READING, subject=Subject(SubjectType.CLIENT, "c", ("c", "d")))
    with transaction(engine) as conn:
        judging.save_readings(conn, "m", "1", 1_000, 10, [READING, client])
        judging.save_readings(conn, "m", "1", 1_000, 10, [replace(READING, reason="again"), client])
        judging.save_readings(conn, "m", "1", 1_010, 10, [READING])
        judging.save_readings(conn, "m", "1", 1_020, 10, [])
    with reading(engine) as conn:
        rows = conn.execute(sa.select(readings).order_by(readings.c.pane_start, readings.c.subject_type)).all()
    assert [(row.pane_start, row.subject_type) for row in rows] == [
        (1_000, "client"),
        (1_000, "model"),
        (1_010, "model"),
    ]
    assert (rows[1].level, rows[1].kind, rows[1].reason, rows[1].detail) == ("alarm", "drift", "why", {"top": ["a"]})
    assert (rows[1].log_evidence, rows[1].log_threshold, rows[1].effect) == (12.5, 9.0, 0.3)


def test_no_text_or_number_of_a_reading_can_stop_the_judge(engine):
    odd = replace(
        READING,
        subject=Subject(SubjectType.CLIENT, "\ud800\x00" + "c" * 9_000),
        log_evidence=float("-inf"),
        effect=float("nan"),
        reason="\x00",
        detail={"nan": float("nan"), "n": np.int64(1), "\x00": "\ud800"},
    )
    with transaction(engine) as conn:
        judging.save_readings(conn, "m", "1", 1_000, 10, [odd])
        judging.save_evidence(conn, "m", "1", "r", "d", {odd.subject: {"m": np.ones(1)}}, 0)
        assert set(judging.load_evidence(conn, "m", "1", "r", "d", [odd.subject])) == {odd.subject}
    with reading(engine) as conn:
        row = conn.execute(sa.select(readings)).one()
    assert (row.effect, row.detail["nan"], row.detail["n"]) == (0.0, None, 1)
    assert np.isfinite(row.log_evidence)
