import random
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from monitor.storage.engine import create_engine, reading, transaction
from monitor.storage.tables import waiting_labels
from monitor.storage.waiting_labels import FULL, Half, Pair, count_waiting, prune_waiting_labels, settle

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=7)
PAIR = Pair("m", "3", "e1", "yes", 0.8, 100.0, "no", 3_700.0)


def answer(event_id="e1", text="yes", version="3", model="m"):
    return Half(model, event_id, version, text, 0.8, 100.0)


def label(event_id="e1", text="no", model="m"):
    return Half(model, event_id, label=text, labelled_at=3_700.0)


def _settle(engine, *halves, level=0):
    with transaction(engine) as conn:
        return settle(conn, halves, level, LATER)


def _ids(engine):
    with reading(engine) as conn:
        return sorted(conn.scalars(sa.select(waiting_labels.c.event_id)))


@pytest.mark.parametrize(
    "commits",
    [[[answer()], [label()]], [[label()], [answer()]], [[answer(), label()]], [[label(), answer()]]],
    ids=["later", "overtaking", "together", "together, label first"],
)
def test_an_answer_and_its_label_are_one_pair_in_whatever_order_they_come(engine, commits):
    settled = [_settle(engine, *halves) for halves in commits]
    assert [pair for item in settled for pair in item.pairs] == [PAIR]
    assert settled[-1].pairs, "the half that comes last completes the pair"


def test_what_repeats_joins_nothing_and_the_first_label_counts(engine):
    _settle(engine, answer())
    first = _settle(engine, label(), label(text="maybe"))
    again = _settle(engine, label(text="yes"), answer(text="no"))
    assert (first.pairs, first.repeated) == ([PAIR], 1)
    assert (again.pairs, again.repeated) == ([], 1)
    _settle(engine, answer("e2"), answer("e2", text="no"))
    assert [pair.answer for pair in _settle(engine, label("e2")).pairs] == ["yes"]


def test_pairs_are_of_one_model_and_take_the_version_of_the_answer(engine):
    _settle(engine, answer(version="3"), answer(model="other", version="7"))
    pairs = _settle(engine, label(model="other"), label()).pairs
    assert {(pair.model, pair.version) for pair in pairs} == {("m", "3"), ("other", "7")}


def test_thousands_of_halves_settle_at_once(engine):
    n = 2_345
    _settle(engine, *(answer(f"e{i}") for i in range(n)))
    pairs = _settle(engine, *(label(f"e{i}") for i in reversed(range(n + 5)))).pairs
    assert sorted(pair.event_id for pair in pairs) == sorted(f"e{i}" for i in range(n))
    with reading(engine) as conn:
        assert count_waiting(conn, "m", 10_000) == n + 5
        assert count_waiting(conn, "m", 1_000) == 1_000
        assert count_waiting(conn, "other", 10) == 0


def test_a_transaction_that_is_rolled_back_has_joined_nothing(engine):
    _settle(engine, answer())
    with engine.connect() as conn:
        assert settle(conn, [label()], 0, LATER).pairs == [PAIR]
        conn.rollback()
    assert _settle(engine, label()).pairs == [PAIR]


def test_odd_names_and_numbers_are_stored(engine):
    odd = "e\x00\ud800" + "x" * 500
    _settle(engine, replace(answer(odd), confidence=None, answer="1.5"))
    (pair,) = _settle(engine, replace(label(odd), label="\x00")).pairs
    assert (pair.confidence, pair.answer, len(pair.event_id)) == (None, "1.5", 256)


def test_when_room_is_short_both_halves_are_sampled_alike(engine):
    ids = [f"e{i}" for i in range(800)]
    first = _settle(engine, *map(answer, ids), level=2)
    assert 130 < len(_ids(engine)) < 270
    assert first.crowded_out == 800 - len(_ids(engine))
    second = _settle(engine, *map(label, ids), level=2)
    assert sorted(pair.event_id for pair in second.pairs) == _ids(engine)
    assert second.crowded_out == first.crowded_out
    assert second.repeated == 0


def test_labels_of_answers_that_wait_always_count_even_when_there_is_no_room(engine):
    _settle(engine, answer("e1"), answer("e2"))
    settled = _settle(engine, label("e1"), label("e2"), label("e3"), answer("e4"), level=FULL)
    assert [pair.event_id for pair in settled.pairs] == ["e1", "e2"]
    assert (settled.crowded_out, _ids(engine)) == (2, ["e1", "e2"])


def test_what_has_expired_is_forgotten_a_bounded_piece_a_call(engine):
    _settle(engine, *(answer(f"e{i}") for i in range(5)))
    with transaction(engine) as conn:
        settle(conn, [answer("young")], 0, LATER + timedelta(days=1))
        assert prune_waiting_labels(conn, LATER, 10) == 0
        after = LATER + timedelta(seconds=1)
        assert [prune_waiting_labels(conn, after, 3) for _ in range(3)] == [3, 2, 0]
    assert _ids(engine) == ["young"]


class _Bringer(threading.Thread):
    """Brings its halves in random batches, a transaction each; every third one is rolled back and brought again."""

    def __init__(self, engine, seed, halves):
        super().__init__()
        self.engine, self.random, self.halves = engine, random.Random(seed), list(halves)
        self.pairs, self.failure = [], None
        self.random.shuffle(self.halves)

    def run(self):
        try:
            while self.halves:
                size = self.random.randint(1, 40)
                brought, rest = self.halves[:size], self.halves[size:]
                try:
                    with transaction(self.engine) as conn:
                        settled = settle(conn, brought, 0, LATER)
                        if self.random.random() < 0.33:
                            raise InterruptedError
                except InterruptedError:
                    continue
                self.pairs += settled.pairs
                self.halves = rest
        except Exception as error:
            self.failure = error


def test_four_workers_that_bring_halves_of_the_same_events_join_every_pair_once(database_url):
    engine = create_engine(database_url, role="worker")
    ids = [f"e{i}" for i in range(400)]
    bringers = [
        _Bringer(engine, 0, [answer(i) for i in ids]),
        _Bringer(engine, 1, [label(i) for i in ids]),
        _Bringer(engine, 2, [label(i) for i in ids[::2]]),
        _Bringer(engine, 3, [answer(i) for i in ids[::3]]),
    ]
    for bringer in bringers:
        bringer.start()
    for bringer in bringers:
        bringer.join()
    engine.dispose()
    assert [bringer.failure for bringer in bringers] == [None] * 4
    assert sorted(pair.event_id for bringer in bringers for pair in bringer.pairs) == sorted(ids)
