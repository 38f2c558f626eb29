"""Pieces of the extraction benchmark: attacks send what their papers say, baselines behave on textbook cases."""

from __future__ import annotations

from copy import copy

import numpy as np
import pytest

from detectors.base import Level, Subject, SubjectType
from tests.benchmarks.extraction import honest, rates, supervised, sybil
from tests.benchmarks.extraction.attacks import ATTACKS, QUERIES, thief
from tests.benchmarks.extraction.baselines import Hoda, Mmd, Prada, Seat, WithoutRepeats, checks, normality
from tests.benchmarks.extraction.compare import Board
from tests.benchmarks.extraction.figures import Share
from tests.benchmarks.extraction.surrogate import Surrogate, fidelity
from tests.benchmarks.extraction.traffic import NEVER, PANES, Named, Stream, Traffic
from tests.benchmarks.extraction.worlds import VISIBILITIES, Rows, World


@pytest.fixture(scope="module")
def world(digits: World) -> World:
    return digits


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def ordinary(world: World, n: int) -> Rows:
    return honest.ordinary(world, np.random.default_rng(7), n)


# Attacks


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_sends_as_many_valid_queries_as_it_is_asked_for(name: str, world: World, rng: np.random.Generator):
    rows = ATTACKS[name].queries(world, rng, 130)
    assert rows.shape == (130, 64)
    assert rows.min() >= 0.0
    assert rows.max() <= 1.0


def test_jbda_doubles_what_is_known_and_moves_every_pixel_by_lambda(world: World, rng: np.random.Generator):
    rows = ATTACKS["jbda .1"].queries(world, rng, 160)
    for known in (40, 80):
        step = np.abs(rows[known : 2 * known] - rows[:known])
        inside = (rows[:known] > 0.1) & (rows[:known] < 0.9)
        assert step.max() <= 0.1 + 1e-9
        assert np.allclose(step[inside], 0.1)


def test_the_adaptive_thief_asks_more_of_the_kind_that_pays(world: World):
    """A bandit with one kind of data that the model is sure of and one of blanks leaves the blanks."""
    sure = world.pool[world.score(world.pool).max(axis=1) > 0.95]
    fake = copy(world)
    fake.foreign_kinds = [lambda r, n: np.zeros((n, 64)), lambda r, n: sure[r.integers(len(sure), size=n)]]
    rows = ATTACKS["knockoff adaptive"].queries(fake, np.random.default_rng(0), QUERIES)
    assert (rows[250:].max(axis=1) > 0).mean() > 0.6


def test_line_search_ends_next_to_the_boundary(world: World, rng: np.random.Generator):
    rows = ATTACKS["line search"].queries(world, rng, 160).reshape(20, 8, 64)
    last_steps = np.linalg.norm(rows[:, 7] - rows[:, 6], axis=1)
    assert (last_steps < 0.05 * np.linalg.norm(rows[:, 1] - rows[:, 0], axis=1)).all()
    top = np.sort(world.score(rows[:, 7]), axis=1)
    assert np.median(top[:, -1] - top[:, -2]) < 0.1


def test_uncertainty_sampling_asks_what_the_surrogate_doubts(world: World, rng: np.random.Generator):
    rows = ATTACKS["uncertainty"].queries(world, rng, 200)
    copy = Surrogate(world).trained(rows[:50])
    top = np.sort(copy.probabilities(rows), axis=1)
    margin = top[:, -1] - top[:, -2]
    assert np.median(margin[50:100]) < 0.5 * np.median(margin[:50])


def test_k_centre_goes_to_what_is_farthest_so_every_step_is_shorter(world: World, rng: np.random.Generator):
    rows = ATTACKS["k-centre"].queries(world, rng, 60)
    gap = np.linalg.norm(rows[:, None] - rows, axis=2)
    steps = np.array([gap[i, :i].min() for i in range(1, 60)])
    assert (np.diff(steps) <= 1e-6).all()


def test_a_thief_hides_its_queries_in_order_among_honest_ones(world: World, rng: np.random.Generator):
    theirs = np.full((QUERIES, 64), 2.0) + np.arange(QUERIES)[:, None]
    stream = thief(world, "uniform", 0.25, theirs, rng, "t")
    sent = stream.rows[stream.rows[:, 0] > 1.5]
    assert np.array_equal(sent, theirs[:125])
    assert np.bincount(stream.at.astype(int), minlength=PANES).tolist() == [25] * PANES


def test_a_copy_of_ordinary_answers_agrees_more_the_more_it_saw(world: World):
    rows = ordinary(world, 400)
    truth = world.answer(world.pool).label
    few, many = (fidelity(world, rows[:n], world.pool, truth) for n in (20, 400))
    assert few < many
    assert many > 0.75


# Honest clients


def test_quotas_name_every_sort_in_proportion():
    names = honest.quotas({name: sort.in_stream for name, sort in honest.SORTS.items()}, 100)
    assert len(names) == 100
    assert {name: names.count(name) for name in honest.SORTS} == {
        name: round(100 * sort.in_stream) for name, sort in honest.SORTS.items()
    }


def test_no_new_device_is_in_a_reference(world: World):
    assert not {"new device", "new mix"} & set(honest.reference(world, 60, (1, 2)).sorts)


def test_a_health_check_has_three_inputs_and_a_batch_key_one_file(world: World, rng: np.random.Generator):
    assert len(np.unique(honest.health_check(world, rng, 90), axis=0)) == 3
    file = honest.batch_key(world, rng, 90)
    assert np.array_equal(file[:30], file[30:60])


def test_traffic_keeps_each_clients_order(world: World):
    crowd = honest.crowd(world, 20, (1, 5))
    assert (np.diff(crowd.at) >= 0).all()
    assert crowd.seen()[:, -1].sum() == len(crowd)
    stream = Stream("a", "ordinary", ordinary(world, 30), np.sort(np.random.default_rng(1).uniform(0, PANES, 30)))
    mixed = Traffic.of(world, [stream, Stream("b", "ordinary", ordinary(world, 9), np.linspace(0, 19, 9))])
    assert np.array_equal(mixed.rows[mixed.by_client()[0]], stream.rows)


@pytest.mark.parametrize("visibility", VISIBILITIES)
def test_a_batch_shows_what_its_visibility_says_and_no_more(world: World, visibility: str):
    batch = honest.crowd(world, 8, (1, 6)).batch(world, visibility)
    assert (batch.embedding is not None) == (visibility == "all")
    assert (batch.probabilities is None) == (visibility == "label")
    assert (batch.prediction is not None) == (visibility == "label")


# Baselines


def test_normal_distances_look_normal_and_spikes_do_not(rng: np.random.Generator):
    assert normality(rng.normal(5.0, 1.0, 300)) > 0.98
    assert normality(np.where(rng.random(300) < 0.5, 1.0, 5.0) + rng.normal(0, 0.05, 300)) < 0.8
    assert normality(np.ones(300)) == 1.0


def test_prada_says_nothing_before_a_hundred_distances_and_then_flags_jbda(world: World, rng: np.random.Generator):
    prada = Prada(world)
    attack, usual = ATTACKS["jbda .1"].queries(world, rng, QUERIES), ordinary(world, QUERIES)
    a, u = (prada.path(rows, world.answer(rows).label, checks(QUERIES)) for rows in (attack, usual))
    assert np.isneginf(a[:3]).all()
    assert a.max() > 1.5 * u.max()


def test_seat_counts_neighbours_of_perturbed_inputs(world: World, rng: np.random.Generator):
    seat = Seat.on(world, world.pool, rng)
    base = world.pool[:50]
    near = np.concatenate([base, np.clip(base + 0.01, 0, 1)])
    label = world.answer(near).label
    assert seat.path(near, label, np.array([50, 100])).tolist()[0] <= 5
    assert seat.path(near, label, np.array([100]))[0] >= 45


def test_mmd_is_about_zero_on_ordinary_rows_and_large_on_noise(world: World, rng: np.random.Generator):
    mmd = Mmd.on(world, world.pool, rng)
    counts = np.array([25, 100])
    usual = mmd.path(world.pool[rng.permutation(len(world.pool))[:100]], np.zeros(100), counts)
    assert np.isneginf(usual[0])
    assert abs(usual[1]) < 0.02
    assert mmd.path(world.uniform(rng, 100), np.zeros(100), counts)[1] > 0.1


def test_hoda_compares_histograms_of_hardness(world: World):
    hoda = Hoda.on(world, world.pool)
    assert hoda.path(world.pool[:100], np.zeros(100), np.array([100]))[0] < 0.2
    hard = world.pool[np.argsort(world.hardness(world.pool))[-100:]]
    assert hoda.path(hard, np.zeros(100), np.array([100]))[0] > 0.5


def test_without_repeats_a_health_check_is_three_queries(world: World, rng: np.random.Generator):
    rows = honest.health_check(world, rng, 200)
    seat = Seat.on(world, world.pool, rng)
    label = world.answer(rows).label
    assert seat.path(rows, label, checks(200)).max() >= 90
    assert WithoutRepeats(seat).path(rows, label, checks(200)).max() <= 3


def test_a_board_accuses_no_more_honest_clients_than_it_may():
    board = Board(honest=list(np.arange(1_000.0)), thieves={("x", 1.0): [np.array([0.0, 998.5]), np.array([5.0, 6.0])]})
    assert board.threshold(2e-3) == 997.0
    assert board.found(("x", 1.0), 2e-3).tolist() == [50, NEVER]
    assert board.threshold(0.0) == 999.0


# Supervised reference, Sybil campaigns, figures


def test_the_supervised_reference_tells_noise_from_ordinary_queries(world: World, rng: np.random.Generator):
    features = supervised.Features.on(world, world.pool)

    def matrix(rows: Rows) -> Rows:
        return features.matrix(rows, world.answer(rows), "scores")

    clients = [matrix(honest.ordinary(world, np.random.default_rng(i), 60)) for i in range(8)]
    told = supervised.Told.on(clients, matrix(world.uniform(rng, 300)))
    attack = told.scores(matrix(world.uniform(rng, 100)))
    usual = told.scores(matrix(ordinary(world, 100)))
    assert np.median(attack) > 2.0 > -2.0 > np.median(usual)
    assert (told.paths(attack, 1.0)[:, -1] > told.paths(usual, 1.0)[:, -1] + 3.0).all()


def test_a_campaign_deals_the_attack_out_over_its_accounts(world: World, rng: np.random.Generator):
    streams = sybil.accounts(world, "uniform", rng)
    assert [len(s.rows) for s in streams] == [20] * 25
    assert all(s.at.min() >= 0 and s.at.max() < PANES for s in streams)


def test_a_group_counts_as_found_only_where_half_of_it_is_the_thiefs():
    named = Named()
    named.note(
        Subject(SubjectType.CLIENT_GROUP, "g", ("sybil-01", "h1", "h2", "h3")),
        Level.ALARM,
        4,
    )
    assert not sybil.outcome("grid", named).found
    named.note(Subject(SubjectType.CLIENT_GROUP, "g2", ("sybil-02", "sybil-03", "h4")), Level.ALARM, 5)
    found = sybil.outcome("grid", named)
    assert found.found
    assert found.named == 2 / 25
    assert found.honest == 4
    assert found.pane == 5


def test_a_warning_is_no_alarm():
    named = Named()
    named.note(Subject(SubjectType.CLIENT, "a"), Level.WARNING, 3)
    assert (named.alarm, named.warning) == ({}, {"a": 3})


def test_a_thief_is_found_by_whichever_detector_names_it_first():
    seen = np.arange(PANES) * 25
    theft, walk, nobody = {"thief": 7}, {"thief": 3, "h1": 0}, {"h1": 0}
    assert rates.earliest((theft, walk), seen) == rates.earliest((walk,), seen) == 75
    assert rates.earliest((theft, nobody), seen) == 175
    assert rates.earliest((nobody,), seen) == NEVER


def test_none_of_five_thousand_has_an_upper_limit_of_six_in_ten_thousand():
    assert Share(0, 5_000).high == pytest.approx(6e-4, rel=0.01)
    assert Share(0, 5_000).low == 0.0
    assert (Share(1, 10) + Share(2, 10)) == Share(3, 20)


def test_a_copy_counts_as_final_where_the_thief_was_not_found(world: World):
    copies = rates.Copies.on(world, 1)
    traffic = Traffic.of(world, [thief(world, "uniform", 1.0, ordinary(world, QUERIES), np.random.default_rng(1), "t")])
    assert copies.at(traffic, NEVER).ratio == 1.0
    assert copies.at(traffic, 25).ratio < 0.9
