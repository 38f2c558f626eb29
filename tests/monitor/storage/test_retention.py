from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detectors.base import MODEL, Kind, Level, Reading
from detectors.sketch import Sketch, total
from monitor.errors import DeadLetterReason
from monitor.sources.base import Partition
from monitor.storage import judging, retention
from monitor.storage.engine import reading, transaction
from monitor.storage.progress import Commit, DeadLetter, Delta, claim, commit
from monitor.storage.tables import dead_letters, evidence, panes, readings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
READING = Reading("columns", Kind.DRIFT, MODEL, Level.OK, 0.0, 9.0, 0.0, "share", 0.1, None, "")


def _sketch(n, client="c"):
    return Sketch({"n": np.array([n, n * n])}, {"clients": {client: np.array([n])}})


def _save(conn, start, n, pane_s=10, reference_id="r", model="m"):
    judging.save_pane(conn, model, "1", reference_id, pane_s, start, n, _sketch(n, f"c{n % 3}").to_bytes())


def _known(engine, *names):
    with transaction(engine) as conn:
        held = claim(conn, Partition("kafka", "events", 0), "w", NOW)
        added = [Delta(name, "1", "r", 0, 10, 1, 1.0, Sketch().to_bytes()) for name in names]
        letter = DeadLetter(0, -1, DeadLetterReason.UNDECODABLE, "", None, 0)
        commit(conn, Commit(held.partition, held.epoch, 0, 1, None, None, 1, 0, added, [letter]), NOW)


def _panes(conn):
    c = panes.c
    rows = conn.execute(sa.select(panes).order_by(c.reference_id, c.pane_s, c.pane_start))
    return {(row.reference_id, row.pane_s, row.pane_start): row for row in rows}


def test_old_panes_of_one_reference_become_one_wide_pane_that_is_their_exact_sum(engine):
    with transaction(engine) as conn:
        for i in range(13):
            _save(conn, 600 + i * 10, i + 1)
        _save(conn, 600, 99, reference_id="other")
        _save(conn, 600, 77, model="another")
        assert retention.roll_up(conn, "m", "1", 720, 60) == 13
        stored = _panes(conn)
    assert set(stored) == {("other", 60, 600), ("r", 10, 600), ("r", 10, 720), ("r", 60, 600), ("r", 60, 660)}
    expected = total(_sketch(i + 1, f"c{(i + 1) % 3}") for i in range(6))
    assert stored["r", 60, 600].n_events == 21
    assert _same(Sketch.from_bytes(stored["r", 60, 600].sketch), expected)
    assert stored["r", 60, 660].n_events == sum(range(7, 13))


def test_only_wide_panes_that_end_in_time_are_made(engine):
    with transaction(engine) as conn:
        for start in (600, 650, 660, 710):
            _save(conn, start, 1)
        assert retention.roll_up(conn, "m", "1", 719, 60) == 2
        assert set(_panes(conn)) == {("r", 60, 600), ("r", 10, 660), ("r", 10, 710)}


def test_a_wide_pane_that_is_there_already_is_added_to(engine):
    with transaction(engine) as conn:
        for n in (3, 4):
            _save(conn, 600, n)
            assert retention.roll_up(conn, "m", "1", 660, 60) == 1
        assert retention.roll_up(conn, "m", "1", 660, 60) == 0
        (row,) = _panes(conn).values()
    assert (row.pane_s, row.n_events, Sketch.from_bytes(row.sketch).totals["n"].tolist()) == (60, 7, [7, 25])


def test_rolling_up_is_bounded_a_call_and_exact_over_calls(engine):
    with transaction(engine) as conn:
        for i in range(1_203):
            _save(conn, i * 10, 1)
    merged = []
    while not merged or merged[-1]:
        with transaction(engine) as conn:
            merged.append(retention.roll_up(conn, "m", "1", 86_400, 86_400))
    with reading(engine) as conn:
        (row,) = _panes(conn).values()
    assert merged == [500, 500, 203, 0]
    assert (row.pane_s, row.n_events, Sketch.from_bytes(row.sketch).totals["n"].tolist()) == (
        86_400,
        1_203,
        [1_203] * 2,
    )


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from([7, 10, 60]), st.integers(1, 50)), max_size=12),
    st.lists(st.tuples(st.integers(0, 500), st.sampled_from([30, 60, 100])), max_size=4),
)
def test_no_event_is_lost_or_counted_twice_however_panes_are_rolled_up(engine, saved, steps):
    with engine.connect() as conn:
        for slot, pane_s, n in saved:
            _save(conn, slot * pane_s, n, pane_s)
        for older_than, width_s in steps:
            retention.roll_up(conn, "m", "1", older_than, width_s)
        stored = _panes(conn).values()
        assert sum(row.n_events for row in stored) == sum(n for *_, n in saved)
        expected = total(_sketch(n, f"c{n % 3}") for *_, n in saved)
        assert _same(total(Sketch.from_bytes(row.sketch) for row in stored), expected)
        conn.rollback()


def _same(one, other):
    def plain(sketch):
        keyed = {g: {k: v.tolist() for k, v in keys.items()} for g, keys in sketch.keyed.items()}
        return {k: v.tolist() for k, v in sketch.totals.items()}, keyed

    return plain(one) == plain(other)


def test_a_width_that_is_not_positive_is_refused(engine):
    with pytest.raises(ValueError, match="positive width"), transaction(engine) as conn:
        retention.roll_up(conn, "m", "1", 600, 0)


def _left(conn, table):
    c = table.c
    return [tuple(row) for row in conn.execute(sa.select(c.model, c.pane_start).order_by(c.model, c.pane_start))]


def test_pruning_takes_what_is_old_and_nothing_else(engine):
    with transaction(engine) as conn:
        for model in ("m", "n"):
            for start in (100, 200, 300):
                judging.save_readings(conn, model, "1", start, 10, [READING])
                _save(conn, start, 1, model=model)
            judging.save_evidence(conn, model, "1", "r", "old", {MODEL: {}}, 100)
            judging.save_evidence(conn, model, "1", "r", "new", {MODEL: {}}, 200)
        assert retention.prune(conn, "m", "1", readings_before=300, panes_before=200) == 4
        assert retention.prune(conn, "m", "1", readings_before=300, panes_before=200) == 0
        left = [_left(conn, table) for table in (readings, panes, evidence)]
    assert left == [
        [("m", 300), ("n", 100), ("n", 200), ("n", 300)],
        [("m", 200), ("m", 300), ("n", 100), ("n", 200), ("n", 300)],
        [("m", 200), ("n", 100), ("n", 200)],
    ]


def test_pruning_is_bounded_a_call(engine, monkeypatch):
    monkeypatch.setattr(retention, "_ROWS_PER_CALL", 7)
    with transaction(engine) as conn:
        for start in range(10):
            judging.save_readings(conn, "m", "1", start, 10, [READING])
            _save(conn, start, 1)
        calls = [retention.prune(conn, "m", "1", readings_before=100, panes_before=100) for _ in range(4)]
    assert calls == [7, 7, 6, 0]


def test_old_dead_letters_are_pruned(engine):
    _known(engine, "m")
    with transaction(engine) as conn:
        assert retention.prune_dead_letters(conn, NOW) == 0
        assert retention.prune_dead_letters(conn, NOW + timedelta(seconds=1)) == 1
        assert conn.execute(sa.select(dead_letters)).all() == []
