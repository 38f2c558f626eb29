"""Coverage, tempo and self-history: the arithmetic, and what each of them sees."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from detectors.base import Level
from detectors.batch import concatenate
from detectors.extraction.coverage import CELLS, Cells, evenness, rarefied
from detectors.extraction.equals import SIZES, Equals
from detectors.extraction.selfhistory import Itself
from detectors.extraction.tempo import Tempo

pytestmark = pytest.mark.slow

PANES = 12


@pytest.mark.parametrize("m", [1, 2, 3, 5, 8])
def test_rarefied_coverage_is_the_mean_over_all_draws(m):
    counts = np.array([4, 0, 3, 1])
    balls = np.repeat(np.arange(4), counts)
    met = [len(set(balls[list(drawn)])) for drawn in combinations(range(8), m)]
    assert rarefied(counts, m) == pytest.approx(np.mean(met))


def test_evenness_is_the_chance_that_two_queries_differ():
    classes = np.array([3, 2, 1])
    balls = np.repeat(np.arange(3), classes)
    pairs = [balls[i] != balls[j] for i, j in combinations(range(6), 2)]
    assert evenness(classes) == pytest.approx(np.mean(pairs))
    assert evenness(np.array([1])) == 0.0


def test_evenly_spread_queries_visit_more_cells_than_clustered_ones():
    rng = np.random.default_rng(0)
    ordinary = rng.normal(size=(3_000, 6))
    cells = Cells.fit(ordinary, rng)
    everyone = np.ones(200, dtype=bool)
    group = np.zeros(200, dtype=np.int64)
    wide = cells.sums(ordinary[:200], everyone, group, 1)[0]
    narrow = cells.sums(ordinary[0] + 0.1 * rng.normal(size=(200, 6)), everyone, group, 1)[0]
    assert wide.sum() == narrow.sum() == 200
    assert len(wide) == CELLS
    assert rarefied(wide, 100) > 2 * rarefied(narrow, 100)


def test_p_values_of_equals_are_ranks_and_honest():
    rng = np.random.default_rng(1)
    found = []
    for _ in range(2_000):
        honest = rng.normal(size=39)
        found.append(np.exp(Equals.fit([honest.tolist()] * len(SIZES)).log_p(rng.normal(), 0)))
    assert min(found) == pytest.approx(1 / 40)
    for alpha in (0.025, 0.1, 0.5):
        assert np.mean(np.array(found) <= alpha + 1e-9) == pytest.approx(alpha, abs=3 * np.sqrt(alpha / 2_000))
    assert Equals.fit([[1.0, 2.0]] * len(SIZES)).log_p(0.0, 0) == 0.0


def test_equals_know_only_sizes_with_enough_honest_clients():
    equals = Equals.fit([[1.0] * 30, [1.0] * 25, [1.0] * 5, [], [], []])
    assert equals.below(10_000) == 1
    assert equals.below(10) is None
    assert (equals.above(30), equals.above(60)) == (1, None)
    assert Equals.load(equals.to_arrays()).middle(1) == 1.0


def test_clockwork_bursts_and_nights_are_told():
    crowd = clock = burst = Tempo.new()
    rng = np.random.default_rng(2)
    for hour in range(240):
        crowd = crowd.after(int(rng.poisson(20)), 0, 3_600.0 * hour)
        clock = clock.after(1, 0, 3_600.0 * hour) if hour % 2 == 0 else clock
        burst = burst.after(400 if hour % 24 == 3 else 1, 1, 3_600.0 * hour)
    assert clock.irregularity == pytest.approx(0.0)
    assert "clockwork" in {line["name"] for line in clock.facts(crowd)}
    assert crowd.burst == pytest.approx(1.0, abs=0.4)
    assert burst.burst > 50
    assert burst.night_share > 0.9
    assert crowd.night_share == pytest.approx(0.25, abs=0.03)
    assert Tempo.load(burst.to_arrays()).facts(crowd) == burst.facts(crowd)


def test_a_late_pane_is_no_gap():
    tempo = Tempo.new().after(1, 0, 7_200.0).after(1, 0, 3_600.0)
    assert tempo.figures[4] == 0
    assert tempo.figures[3] == 7_200.0


def one_class(rng: np.random.Generator, kit, n: int, label: int) -> np.ndarray:
    centres, mix = kit("_CENTRES"), kit("_MIX")
    return centres[label] + rng.normal(0, 1, (n, 8)) @ mix


def steady(kit, seed: int, name: str, n: int, panes: int):
    """Thirty clients, each of which always asks about a class of its own."""
    rng = np.random.default_rng(seed)
    rows = [one_class(rng, kit, n, i % 3) for i in range(30)]
    return kit("events")(rows, [f"{name}-{i}" for i in range(30)], rng, panes)


@pytest.fixture(scope="module")
def known(kit):
    """Fitted on those thirty."""
    return kit("Service").fit(steady(kit, 1, "known", 200, 100))


def test_a_known_client_that_asks_for_everything_is_unlike_itself_and_not_called_a_thief(kit, known):
    rng = np.random.default_rng(2)
    usual = steady(kit, 3, "known", 60, PANES)
    kept = usual.take(np.array([c != "known-4" for c in usual.client_id]))
    turned = kit("events")([np.concatenate([one_class(rng, kit, 200, k) for k in range(3)])], ["known-4"], rng, PANES)
    batch = concatenate([kept, turned])
    readings = known.readings(batch.take(np.argsort(batch.timestamp, kind="stable")), PANES)
    assert kit("accused")(readings) == set()
    assert kit("accused")(readings, Level.WARNING) == {"known-4"}
    warning = next(r for pane in readings for r in pane if r.level is Level.WARNING)
    assert "unlike its own past" in warning.reason
    assert warning.detail["family"] == "natural-data"
    assert "H7" in {head["name"] for head in warning.detail["heads"]}
    assert kit("accused")(known.readings(usual, PANES), Level.WARNING) == set()


def test_a_known_client_that_asks_only_hard_questions_samples_by_uncertainty(kit, known):
    rng = np.random.default_rng(4)
    usual = steady(kit, 3, "known", 60, PANES)
    kept = usual.take(np.array([c != "known-4" for c in usual.client_id]))
    pool = kit("events")([np.concatenate([one_class(rng, kit, 4_000, k) for k in range(3)])], ["known-4"], rng, PANES)
    hard = np.sort(np.argsort(np.sort(pool.probabilities, axis=1)[:, -1])[:500])
    batch = concatenate([kept, pool.take(hard)])
    readings = known.readings(batch.take(np.argsort(batch.timestamp, kind="stable")), PANES)
    told = [r for pane in readings for r in pane if r.subject.id == "known-4" and r.detail]
    assert told
    assert {r.detail["family"] for r in told} <= {"uncertainty sampling", "natural-data", "random/grid"}
    assert told[0].detail["family"] == "uncertainty sampling"


def test_the_same_turn_by_a_client_without_a_past_is_no_news(kit, known):
    rng = np.random.default_rng(2)
    turned = kit("events")([np.concatenate([one_class(rng, kit, 200, k) for k in range(3)])], ["new"], rng, PANES)
    batch = concatenate([steady(kit, 3, "known", 60, PANES), turned])
    readings = known.readings(batch.take(np.argsort(batch.timestamp, kind="stable")), PANES)
    assert kit("accused")(readings, Level.WARNING) == set()


def test_self_history_survives_storage(service):
    itself = service.detector.study.itself
    again = Itself.load(itself.to_arrays())
    assert again.known.keys() == itself.known.keys()
    assert again.rows is not None
    assert again.rows.tail == itself.rows.tail


def test_few_clients_know_no_wavering_and_accuse_nobody(few_clients):
    assert few_clients.detector.study.itself.rows is None
    assert few_clients.detector.study.coverage.below(10_000) is None
