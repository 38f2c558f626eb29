"""Bets on a client's queries: what they win of honest clients, of mixtures, and of clients behind new devices."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.extraction.wagers import (
    EDGE,
    LEAST_GROWTH,
    SPAN,
    WAGERS,
    Excuse,
    Seen,
    growth,
    growth_apart,
    won_by_stamps,
)

USUAL = np.array([0.6 - EDGE])
"""Mean row of a client whose bulk is hardly unusual."""


def test_a_bet_is_fair_where_p_values_are_uniform() -> None:
    p = (np.arange(1_000_000) + 0.5) / 1_000_000
    assert np.mean(np.exp(growth(-np.log(p)))) == pytest.approx(1.0, abs=2e-3)
    assert np.mean(growth(-np.log(p))) < 0.0


def test_a_tenth_of_very_rare_queries_wins_and_what_is_not_logged_does_not() -> None:
    rng = np.random.default_rng(1)
    nats = -np.log(rng.random(500))
    mixed = np.where(rng.random(500) < 0.1, 7.0, nats)
    assert growth(mixed).sum() > 25.0 > growth(nats).sum() + 20.0
    assert growth(np.array([np.nan])).tolist() == [0.0]


def _client(rng: np.random.Generator, n: int, bulk: float, won: float) -> Seen:
    """Rows (n, 1) of which the share ``bulk`` is unusual, and (n, 6) growth of ``won`` a query."""
    return (rng.random((n, 1)) < bulk) - EDGE, np.full((n, len(WAGERS)), won)


def _excuse(rng: np.random.Generator) -> Excuse:
    devices = [_client(rng, 100, bulk, max(0.0, bulk - 0.7)) for bulk in rng.uniform(0.4, 1.0, 200)]
    honest = [_client(rng, 50, bulk, 0.0) for bulk in rng.uniform(0.35, 0.65, 30)]
    return Excuse.fit(0, honest, devices, [])


def test_a_device_that_moves_all_queries_is_excused_and_a_mixture_is_not() -> None:
    excuse = _excuse(np.random.default_rng(6))
    won = np.full(len(WAGERS), 60.0)
    assert excuse.excess(won, 400, np.array([0.98 - EDGE])).asked_left == LEAST_GROWTH
    assert excuse.excess(won, 400, np.array([0.98 - EDGE])).asked == excuse.excess(won, 400, np.array([0.8])).asked
    assert excuse.excess(won, 400, USUAL).asked == pytest.approx(60.0, abs=12.0)
    assert excuse.excess(np.full(len(WAGERS), 1.0), 400, USUAL).asked == LEAST_GROWTH


def test_answers_count_in_full_where_the_sort_of_client_is_shown_and_beyond_the_excuse_where_it_is_not() -> None:
    won = _excuse(np.random.default_rng(6)).excess(
        np.array([0.0, 0.0, 60.0, 60.0, 0.0, 0.0]), 400, np.array([0.98 - EDGE])
    )
    assert (won.hard, won.sure) == (60.0, 60.0)
    assert won.hard_left == LEAST_GROWTH


def test_queries_that_made_up_devices_send_as_well_are_no_evidence_against_a_client_of_another_sort() -> None:
    excuse, made_up, foreign = _excuse(np.random.default_rng(6)), np.zeros(len(WAGERS)), np.zeros(len(WAGERS))
    made_up[WAGERS.index("made_up")] = foreign[WAGERS.index("foreign")] = 60.0
    assert excuse.excess(made_up, 400, USUAL).asked > 50.0
    assert excuse.excess(made_up, 400, USUAL).asked_left == LEAST_GROWTH
    assert excuse.excess(foreign, 400, USUAL).asked_left > 50.0


def test_newcomers_may_go_farther_than_those_that_were_made_up() -> None:
    excuse = _excuse(np.random.default_rng(6))
    bulk = np.array([0.9 - EDGE])
    explained = 400 * excuse.explained(bulk)[0]
    assert explained > 20.0
    assert excuse.excess(np.full(len(WAGERS), 1.2 * explained), 400, bulk).asked_left == LEAST_GROWTH
    assert excuse.excess(np.full(len(WAGERS), 1.5 * explained), 400, bulk).asked_left > LEAST_GROWTH


def test_what_peers_or_the_own_past_win_is_no_evidence() -> None:
    won = np.full(len(WAGERS), 60.0)
    left = _excuse(np.random.default_rng(6)).excess(won, 400, USUAL, known=np.full(len(WAGERS), 0.15))
    assert max(left) == LEAST_GROWTH


def test_more_of_the_same_is_no_more_evidence_after_a_while() -> None:
    excuse = _excuse(np.random.default_rng(6))
    short, long = (excuse.excess(np.full(len(WAGERS), 0.1 * n), n, USUAL).hard for n in (SPAN, 20 * SPAN))
    assert short == pytest.approx(long)


def test_an_excuse_can_be_stored() -> None:
    excuse = _excuse(np.random.default_rng(6))
    again = Excuse.load(excuse.to_arrays())
    assert np.array_equal(again.table, excuse.table)
    assert again.column == excuse.column


def test_the_bet_on_distance_loses_where_a_quarter_comes_near_and_wins_where_hardly_any_does() -> None:
    rng = np.random.default_rng(3)
    honest, chosen = (growth_apart((rng.random(500) >= near).astype(float)) for near in (0.25, 0.02))
    assert honest.sum() < -80.0
    assert chosen.sum() > 80.0
    assert 0.75 * np.exp(growth_apart(np.ones(1))) + 0.25 * np.exp(growth_apart(np.zeros(1))) == pytest.approx(
        1.0, abs=2e-3
    )
    assert growth_apart(np.array([np.nan])).tolist() == [0.0]


def test_the_bet_on_stamps_wins_by_a_few_and_asks_for_more_where_peers_have_them() -> None:
    assert won_by_stamps(0, 500) == LEAST_GROWTH
    assert won_by_stamps(2, 500) == LEAST_GROWTH, "two by chance are nothing"
    assert won_by_stamps(13, 500) > 20.0
    assert won_by_stamps(26, 1_000) == pytest.approx(won_by_stamps(13, 500)), "more of the same is no more evidence"
    assert won_by_stamps(13, 500, usual=0.03) == LEAST_GROWTH
    assert won_by_stamps(500, 500, usual=0.9) < 60.0


def test_what_keeps_devices_apart_excuses_others_that_are_as_unusual() -> None:
    excuse, won = _excuse(np.random.default_rng(6)), np.zeros(len(WAGERS))
    won[WAGERS.index("apart")] = 60.0
    assert excuse.excess(won, 400, USUAL).apart_left > 50.0
    assert excuse.excess(won, 400, np.array([0.98 - EDGE])).apart_left == LEAST_GROWTH
    assert excuse.excess(won, 400, np.array([0.98 - EDGE])).apart == 60.0
