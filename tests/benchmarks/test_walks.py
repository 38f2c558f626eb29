"""Walks, honest crawlers, known clients, campaigns: what they send is what they say, and every seed is a new draw."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.base import Level, Subject, SubjectType
from tests.benchmarks.extraction import crawlers, honest, sybil
from tests.benchmarks.extraction.exposure import SCRAPE, Known, metered
from tests.benchmarks.extraction.images import Digits, _trained
from tests.benchmarks.extraction.traffic import PANES, Named, Watch
from tests.benchmarks.extraction.tumours import Tumours
from tests.benchmarks.extraction.walks import WALKS, Oracle, Spent, attack
from tests.benchmarks.extraction.worlds import World


@pytest.fixture(scope="module", params=[Digits, Tumours])
def world(request: pytest.FixtureRequest, digits: World) -> World:
    return digits if request.param is Digits else request.param(1)


@pytest.mark.parametrize("name", WALKS)
def test_a_walk_sends_as_many_valid_queries_as_it_may_and_begins_anew_when_it_is_done(name: str, world: World):
    walk = attack(world, name, 1.0, np.random.default_rng(2), 120)
    assert walk.rows.shape == (120, world.pool.shape[1])
    assert (walk.rows >= world.low - 1e-9).all()
    assert (walk.rows <= world.high + 1e-9).all()
    assert walk.won_at is None or 1 <= walk.won_at <= 120


def test_an_oracle_answers_as_the_model_does_and_no_more_often_than_it_may(world: World):
    oracle = Oracle.of(world, 2)
    row = world.pool[0]
    z = oracle.inside(row)
    assert np.allclose(oracle.ask(row, z), world.score(row[None])[0])
    oracle.ask(row, 10.0 * oracle.high)
    assert np.allclose(oracle.sent, [row, world.high])
    with pytest.raises(Spent):
        oracle.ask(row, z)


def test_success_is_the_first_one_and_counts_the_honest_queries_before_it(digits: World):
    whole = attack(digits, "simba", 1.0, np.random.default_rng(4), 250)
    half = attack(digits, "simba", 0.5, np.random.default_rng(4), 500)
    assert whole.won_at is not None
    assert half.won_at is not None
    assert half.won_at > whole.won_at
    last = whole.rows[whole.won_at - 1 : whole.won_at]
    assert np.flatnonzero((half.rows == last).all(axis=1)).tolist() == [half.won_at - 1]
    assert digits.answer(last).label != digits.answer(whole.rows[:1]).label


@pytest.mark.parametrize("name", WALKS)
def test_a_walk_is_fixed_by_its_seed_alone(name: str, digits: World):
    first, again, other = (attack(digits, name, 1.0, np.random.default_rng(s), 30).rows for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_every_seed_is_another_victim_with_other_clients(world: World):
    again, other = type(world)(1), type(world)(2)
    rows = world.pool[:50]
    assert np.array_equal(world.score(rows), again.score(rows))
    assert not np.allclose(world.score(rows), other.score(rows), atol=1e-3)
    assert not np.array_equal(world.pool, other.pool)
    first, same, another = (honest.crowd(w, 4, (s, 1)).rows for w, s in ((world, 1), (again, 1), (world, 2)))
    assert np.array_equal(first, same)
    assert first.shape != another.shape or not np.array_equal(first, another)


def test_the_same_rows_train_another_network_under_another_seed(digits: World):
    one, same, other = (_trained(digits.pool[:200], digits.pool_class[:200], seed)[-1][0] for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.allclose(one, other, atol=0.01)


@pytest.mark.parametrize("habit", crawlers.HABITS)
def test_a_crawler_sends_as_many_valid_queries_as_it_is_asked_for(habit: str, world: World):
    rows = crawlers.HABITS[habit](world, np.random.default_rng(5), 77)
    assert rows.shape == (77, world.pool.shape[1])
    assert (rows >= world.low - 1e-9).all()
    assert (rows <= world.high + 1e-9).all()


def test_crawling_habits_take_shorter_steps_than_ordinary_ones(digits: World):
    def step(habit: str) -> float:
        rows = crawlers.HABITS[habit](digits, np.random.default_rng(6), 200)
        return float(np.median(np.linalg.norm(np.diff(rows, axis=0), axis=1)))

    assert max(step(habit) for habit in crawlers.CRAWLING) < step("ordinary")


def test_a_known_client_sends_new_queries_every_day_and_a_thief_the_second_half(digits: World):
    rng = np.random.default_rng(7)
    known = Known.of(digits, "a", np.random.default_rng(8))
    days = [known.today(rng).rows for _ in range(2)]
    assert not {row.tobytes() for row in days[0]} & {row.tobytes() for row in days[1]}
    taken = known.taken(digits, rng)
    assert (np.diff(taken.at) >= 0).all()
    assert (taken.at >= PANES / 2).sum() == SCRAPE
    assert taken.at.max() < PANES


@pytest.mark.slow
def test_the_meter_reads_prefixes_and_finds_more_in_longer_ones(digits: World):
    watch = Watch.on(digits, honest.reference(digits, 30, (1, 9)), "scores", 1)
    rows = crawlers.HABITS["ordinary"](digits, np.random.default_rng(9), 400)
    both = metered(digits, watch, rows, (50, 400))
    assert both[0] == pytest.approx(metered(digits, watch, rows[:50], (50,))[0])
    assert both[0] < both[1] <= 1.0


def test_a_suspected_group_is_warned_of_and_not_found():
    named = Named()
    named.note(Subject(SubjectType.CLIENT_GROUP, "g", ("sybil-01", "sybil-02", "h1")), Level.WARNING, 2)
    came = sybil.outcome("grid", named)
    assert (came.warned, came.found, came.alone) == (True, False, False)
    named.note(Subject(SubjectType.CLIENT_GROUP, "g", ("sybil-01", "sybil-02", "h1")), Level.ALARM, 3)
    named.note(Subject(SubjectType.CLIENT, "sybil-09"), Level.ALARM, 4)
    came = sybil.outcome("grid", named)
    assert (came.warned, came.found, came.alone) == (True, True, True)
    assert came.purity == pytest.approx(2 / 3)
    assert came.named == 3 / sybil.ACCOUNTS
    assert named.suspected == named.groups
