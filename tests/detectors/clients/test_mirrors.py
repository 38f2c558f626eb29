"""Mirrored tries are told from noise, and moves down the slope of the answers from moves that do not read them."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.clients.mirrors import DESCENT, FAR, LATELY, MIRRORED, mirror, steepness
from detectors.clients.walks import Arrivals, new_notes

WIDTH = 16
SLOPE = np.random.default_rng(5).normal(size=WIDTH)


def arrivals(rows: np.ndarray, capacity: int = 160) -> Arrivals:
    """One client's queries to a model whose confidence rises along ``SLOPE``."""
    n = len(rows)
    notes = new_notes(np.zeros(n, dtype=np.int64), np.ones(n, dtype=bool), 5.0 + rows @ SLOPE)
    far, limit = np.full(n, np.inf), np.ones(n)
    return Arrivals(rows.astype(np.float16), notes, np.zeros(n, dtype=np.int64), far, limit, 0.01, capacity)


def tries(rng: np.random.Generator, centre: np.ndarray, pairs: int = 10, size: float = 0.3) -> np.ndarray:
    """(2 pairs, d) tries on both sides of a centre."""
    u = size * rng.standard_normal((pairs, WIDTH))
    return np.stack([centre + u, centre - u], axis=1).reshape(-1, WIDTH)


def search(
    rng: np.random.Generator, step: np.ndarray | None, rounds: int = 6, size: float = 0.3, apart: bool = False
) -> np.ndarray:
    """Tries about a centre, a query there, then about the next one: ``step`` on, or down the slope that tries show.

    All first tries come before all second ones where these are ``apart``.
    """
    centre, out = rng.normal(size=WIDTH), []
    for _ in range(rounds):
        round_ = tries(rng, centre, size=size)
        moved = -0.1 * np.sign((round_[::2] - centre).T @ (round_[::2] @ SLOPE - round_[1::2] @ SLOPE))
        centre = centre + (moved if step is None else step)
        out.append(np.vstack([round_[::2], round_[1::2], centre] if apart else [round_, centre]))
    return np.concatenate(out)


def test_tries_on_both_sides_of_a_point_are_mirrored_from_the_second_pair_on():
    told = mirror(arrivals(tries(np.random.default_rng(1), np.zeros(WIDTH))))
    assert told[MIRRORED].tolist() == [0.0, 0.0, 0.0] + [1.0, 0.0] * 8 + [1.0]
    assert np.isnan(told[DESCENT]).all()


def test_first_tries_may_all_come_before_the_second_ones():
    told = mirror(arrivals(search(np.random.default_rng(1), None, rounds=1, apart=True)))
    assert told[MIRRORED].tolist() == [0.0] * 13 + [1.0] * 7 + [0.0]
    assert np.isnan(told[DESCENT]).all()


def test_what_swings_to_and_fro_by_small_steps_is_not_mirrored():
    rng = np.random.default_rng(12)
    angle = np.arange(400)[:, None] * 2.0 * np.pi / 48.0
    day = np.sin(angle + rng.uniform(0.0, 6.0, WIDTH)) * rng.uniform(0.5, 2.0, WIDTH)
    for noise in (0.0, 0.02, 0.3):
        rows = day + noise * rng.standard_normal(day.shape)
        assert mirror(arrivals(rows))[MIRRORED].mean() <= 0.005


@pytest.mark.parametrize("still", [False, True])
def test_noise_about_a_point_is_hardly_ever_mirrored_and_repeats_are_not(still: bool):
    noise = np.random.default_rng(2).standard_normal((5_000, WIDTH)) * (0.0 if still else 0.3)
    assert mirror(arrivals(noise))[MIRRORED].mean() <= 0.005


def test_one_pair_that_is_sent_again_and_again_is_no_other_try():
    pair = np.random.default_rng(10).standard_normal((2, WIDTH))
    for order in ([0, 1] * 20, [0, 1, 1, 0] * 10):
        assert mirror(arrivals(pair[order]))[MIRRORED].sum() == 0


def test_a_run_that_ended_long_ago_tells_nothing_of_where_its_sender_went():
    rng = np.random.default_rng(11)
    rows = search(rng, None, rounds=2)
    between = rng.normal(size=(LATELY, WIDTH)) * 5.0
    assert np.isnan(mirror(arrivals(np.concatenate([rows[:21], between, rows[21:]])))[DESCENT]).all()
    assert (~np.isnan(mirror(arrivals(rows))[DESCENT])).sum() == 1


@pytest.mark.parametrize("apart", [False, True])
def test_who_follows_the_slope_moves_steeply_and_who_does_not_moves_as_chance_has_it(apart: bool):
    rng = np.random.default_rng(3)
    steep, blind = [], []
    for _ in range(40):
        steep += mirror(arrivals(search(rng, None, apart=apart)))[DESCENT].tolist()
        step = 0.1 * rng.choice([-1.0, 1.0], WIDTH)
        blind += mirror(arrivals(search(rng, step, apart=apart)))[DESCENT].tolist()
    down, other = (np.array(x)[~np.isnan(x)] for x in (steep, blind))
    assert len(down) == len(other) == 40 * 5
    assert np.median(down) < 0.01
    assert 0.3 < np.median(other) < 0.7
    assert np.mean(other < 0.1) < 0.2


def test_a_centre_that_stays_or_is_another_input_has_made_no_move():
    rng = np.random.default_rng(4)
    for step in (0.0, 2.0 * FAR):
        told = mirror(arrivals(search(rng, np.full(WIDTH, step))))
        assert told[MIRRORED].sum() > 40
        assert np.isnan(told[DESCENT]).all()


def test_tries_that_an_edge_of_the_range_cuts_off_are_still_mirrored():
    rng = np.random.default_rng(6)
    rows = np.maximum(search(rng, None, rounds=5), np.where(np.arange(WIDTH) < 8, 0.0, -np.inf))
    told = mirror(arrivals(rows))
    assert told[MIRRORED].sum() >= 20
    assert np.nanmedian(told[DESCENT]) < 0.1


def test_without_scores_or_where_the_class_changes_no_slope_is_known():
    moved = arrivals(search(np.random.default_rng(7), None))
    moved.notes["sure"] = np.nan
    assert np.isnan(mirror(moved)[DESCENT]).all()
    flipped = arrivals(search(np.random.default_rng(7), None))
    flipped.notes["label"] = np.arange(len(flipped.notes)) % 2
    assert np.isnan(mirror(flipped)[DESCENT]).all()


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("capacity", [40, 160])
def test_it_does_not_matter_where_tries_are_cut(capacity: int, apart: bool):
    rng = np.random.default_rng(8)
    rows = search(rng, None, rounds=12, apart=apart)
    whole = mirror(arrivals(rows, capacity))
    cuts = np.sort(rng.choice(len(rows), 20, replace=False))
    everything = arrivals(rows, capacity)
    held_rows, held_notes = everything.rows[:0], everything.notes[:0]
    found: dict[str, list[np.ndarray]] = {name: [] for name in whole}
    for piece in np.split(np.arange(len(rows)), cuts):
        joined = np.concatenate([held_notes, everything.notes[piece]])
        part = Arrivals(
            np.concatenate([held_rows, everything.rows[piece]]),
            joined,
            np.zeros(len(piece), dtype=np.int64),
            np.full(len(piece), np.inf),
            np.ones(len(piece)),
            0.01,
            capacity,
        )
        for name, values in mirror(part).items():
            found[name].append(values)
        held_rows, held_notes = part.rows[-capacity:], joined[-capacity:]
    for name, values in whole.items():
        np.testing.assert_array_equal(np.concatenate(found[name]), values)


def test_a_few_tries_make_nothing_certain():
    differences = np.array([[1.0, 0.0, 0.0], [1.0, 0.1, 0.0]])
    assert np.isnan(steepness(np.array([-1.0, 0.0, 0.0]), differences, np.array([1.0, 1.0])))
    assert np.isnan(steepness(np.zeros(3), np.eye(3), np.ones(3)))
    many = np.random.default_rng(9).standard_normal((40, 3))
    steep = steepness(np.array([-1.0, 0.0, 0.0]), many, many[:, 0])
    assert steep < 0.01
    assert steepness(np.array([1.0, 0.0, 0.0]), many, many[:, 0]) == pytest.approx(1.0 - steep, abs=1e-6)
