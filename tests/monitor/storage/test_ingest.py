import threading
from datetime import UTC, datetime

from monitor.storage import ingest
from monitor.storage.engine import reading, transaction

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _append(engine, *values):
    with transaction(engine) as conn:
        return ingest.append(conn, values, NOW)


def _read(engine, offset, limit=100):
    with reading(engine) as conn:
        return ingest.read_from(conn, offset, limit)


def _bounds(engine):
    with reading(engine) as conn:
        return ingest.bounds(conn)


def test_records_are_read_in_the_order_they_came_from_any_offset(engine):
    assert _append(engine, b"a", b"b", b"\x00\xff") == 3
    assert _append(engine, b"d") == 1
    assert _append(engine) == 0
    low, high = _bounds(engine)
    assert _read(engine, low) == [(low + i, value, NOW) for i, value in enumerate((b"a", b"b", b"\x00\xff", b"d"))]
    assert [value for _, value, _ in _read(engine, low + 1, limit=2)] == [b"b", b"\x00\xff"]
    assert _read(engine, high) == []


def test_an_empty_queue_has_equal_bounds(engine):
    low, high = _bounds(engine)
    assert low == high
    _append(engine, b"a")
    assert _bounds(engine) == (low, high + 1)


def test_offsets_go_on_after_everything_read_was_deleted(engine):
    _append(engine, b"a", b"b", b"c")
    _, high = _bounds(engine)
    with transaction(engine) as conn:
        ingest.delete_below(conn, high)
    low_after, high_after = _bounds(engine)
    assert (low_after <= high, high_after) == (True, high)
    _append(engine, b"d")
    assert [(offset, value) for offset, value, _ in _read(engine, high)] == [(high, b"d")]


def test_deleting_leaves_what_was_not_read(engine):
    _append(engine, *(b"%d" % i for i in range(10)))
    low, high = _bounds(engine)
    with transaction(engine) as conn:
        ingest.delete_below(conn, low + 4)
    assert _bounds(engine) == (low + 4, high)


def test_an_append_that_is_rolled_back_leaves_no_gap_that_would_look_like_a_loss(engine):
    _append(engine, b"a")
    _, high = _bounds(engine)
    with engine.connect() as conn:
        ingest.append(conn, [b"never"] * 5, NOW)
        conn.rollback()
    _append(engine, b"b")
    assert [(offset, value) for offset, value, _ in _read(engine, high)] == [(high, b"b")]


def test_a_reader_never_passes_a_record_that_becomes_visible_later(engine):
    """Appending threads against one reader that only ever goes forward: it sees every record once."""
    n_threads, n_each = 4, 30
    failures, seen = [], []

    def fill(name):
        try:
            for i in range(n_each):
                _append(engine, *(b"%d-%d-%d" % (name, i, j) for j in range(i % 4 + 1)))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=fill, args=(name,)) for name in range(n_threads)]
    for thread in threads:
        thread.start()
    offset = 0
    while True:
        done = not any(thread.is_alive() for thread in threads)
        found = _read(engine, offset, limit=50)
        seen += [value for _, value, _ in found]
        offset = found[-1][0] + 1 if found else offset
        if done and not found:
            break
    expected = {b"%d-%d-%d" % (n, i, j) for n in range(n_threads) for i in range(n_each) for j in range(i % 4 + 1)}
    assert failures == []
    assert (len(seen), set(seen)) == (len(expected), expected)
