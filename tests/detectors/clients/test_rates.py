"""Rates: the chance that an honest client is ever accused, by enumeration and by simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import special

from detectors.batch import FloatArray
from detectors.clients.rates import (
    Counts,
    HonestRate,
    explained,
    fit_rate,
    log_evidence,
    new_states,
    recent,
    start_weight,
    step,
    with_past,
    without_evidence,
)

HONEST = HonestRate(0.1, 8.0, 1.0, 1.0, 100)
NONE = np.zeros(1)


def played(rate: HonestRate, hits: list[int], trials: int) -> FloatArray:
    """States after each pane of ``trials`` events with these hits."""
    states, out = new_states(1), []
    for k in hits:
        states, _ = step(rate, states, np.array([float(k)]), np.array([float(trials)]), NONE)
        out.append(states)
    return np.concatenate(out)


def probability(hits: tuple[int, ...], trials: int) -> float:
    """Of these hits in panes of ``trials`` events of an honest client."""
    a, b = HONEST.mean * HONEST.concentration, (1 - HONEST.mean) * HONEST.concentration
    ways = np.prod([special.comb(trials, k) for k in hits])
    total = sum(hits)
    return float(ways * np.exp(special.betaln(total + a, trials * len(hits) - total + b) - special.betaln(a, b)))


def test_the_weights_of_all_starts_sum_to_one() -> None:
    assert start_weight(np.arange(100_000.0)).sum() == pytest.approx(1.0, abs=1e-4)


def test_an_honest_client_is_accused_at_most_as_often_as_was_promised() -> None:
    """Every course of four panes of four events, each with its probability under the honest distribution."""
    ever = {2.0: 0.0, 5.0: 0.0, 20.0: 0.0}
    mean, seen = 0.0, 0.0
    for hits in itertools.product(range(5), repeat=4):
        p = probability(hits, 4)
        evidence = np.exp(log_evidence(played(HONEST, list(hits), 4)))
        seen += p
        mean += p * evidence[-1]
        for bound in ever:
            ever[bound] += p * (evidence.max() >= bound)
    assert seen == pytest.approx(1.0)
    assert mean <= 1.0
    assert all(chance <= 1.0 / bound for bound, chance in ever.items())
    assert ever[2.0] > 0.0


def test_a_fall_never_counts_against_a_client() -> None:
    evidence = log_evidence(played(HONEST, [0] * 20, 50))
    assert evidence[0] < 0
    assert np.all(evidence < np.log(2.0))


def test_a_client_that_turns_is_found_however_long_it_was_honest() -> None:
    honest = [1] * 200
    evidence = log_evidence(played(HONEST, [*honest, *[7] * 6], 10))
    assert evidence[: len(honest)].max() < 3.0
    assert evidence[-1] > 12.0


def test_what_the_reference_knows_of_a_client_is_no_news() -> None:
    odd = with_past(new_states(1), np.array([900.0]), np.array([1_000.0]))
    new = new_states(1)
    for _ in range(10):
        odd, _ = step(HONEST, odd, np.array([9.0]), np.array([10.0]), NONE)
        new, _ = step(HONEST, new, np.array([9.0]), np.array([10.0]), NONE)
    assert log_evidence(odd)[0] < 1.0
    assert log_evidence(new)[0] > 5.0
    assert recent(new)[0][0] == pytest.approx(0.9)


def test_a_rise_that_everybody_shows_explains_that_of_one() -> None:
    faded, pane = np.array([[30.0, 50.0]]), np.array([[6.0, 10.0]])
    shift = explained(HONEST, faded, pane)
    assert 0.4 < shift[0] < 0.8
    with_peers, without = new_states(1), new_states(1)
    for _ in range(10):
        with_peers, usual = step(HONEST, with_peers, np.array([6.0]), np.array([10.0]), shift)
        without, _ = step(HONEST, without, np.array([6.0]), np.array([10.0]), NONE)
    assert log_evidence(with_peers)[0] < 0.0 < log_evidence(without)[0]
    assert usual[0] > 0.5
    assert explained(HONEST, np.array([[5.0, 50.0]]), np.array([[0.0, 0.0]]))[0] < 0.1


def test_after_an_incident_nothing_is_held_against_a_client() -> None:
    states = played(HONEST, [9] * 5, 10)[-1:]
    assert log_evidence(states)[0] > 3.0
    assert log_evidence(without_evidence(states))[0] == -np.inf
    assert recent(without_evidence(states))[0] == recent(states)[0]


def test_the_spread_of_honest_clients_is_learned() -> None:
    rng = np.random.default_rng(3)
    n_clients, blocks = 300, 40
    share = rng.beta(0.5, 9.5, n_clients)
    client = np.tile(np.arange(n_clients), blocks)
    trials = np.full(len(client), 20.0)
    hits = rng.binomial(20, share[client]).astype(np.float64)
    rate = fit_rate(Counts(np.repeat(np.arange(blocks), n_clients), client, hits, trials), n_clients, 0.05)
    assert 0.03 < rate.mean < 0.07
    assert rate.concentration in (8.0, 15.0)
    assert rate.deff < 1.2
    assert rate.usable


def test_events_that_come_in_bursts_weigh_less() -> None:
    rng = np.random.default_rng(4)
    n_clients, blocks = 60, 60
    client = np.tile(np.arange(n_clients), blocks)
    hits = 20.0 * (rng.random(len(client)) < 0.1)
    counts = Counts(np.repeat(np.arange(blocks), n_clients), client, hits, np.full(len(client), 20.0))
    assert fit_rate(counts, n_clients, 0.05).deff > 8.0


def test_one_odd_client_of_the_reference_does_not_widen_what_is_honest() -> None:
    client = np.arange(100)
    hits = np.where(client == 7, 100.0, 1.0)
    rate = fit_rate(Counts(np.zeros(100, dtype=np.int64), client, hits, np.full(100, 100.0)), 100, 0.01)
    assert rate.mean < 0.02
    assert rate.concentration == 60.0


def test_few_clients_are_not_taken_for_all_there_are() -> None:
    counts = Counts(np.zeros(3, dtype=np.int64), np.arange(3), np.zeros(3), np.full(3, 100.0))
    rate = fit_rate(counts, 3, 0.01)
    assert rate.concentration <= 4.0
    assert rate.mean >= 0.01
