"""The drift benchmark itself: its peers are river's, its arithmetic is right, and every piece of it runs."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from river import drift as river_drift
from scipy.stats import ks_2samp

from detectors.drift.marginals import MarginalDrift
from tests.benchmarks.drift import delay, joint, run_length, speed
from tests.benchmarks.drift.figures import Lengths, Rate, Section
from tests.benchmarks.drift.peers import Traced, ks_distances, ks_p_values, kswin_path, matched
from tests.benchmarks.drift.run_length import FACTORS, LOOKS, Cell, covering, false_alarms, settled
from tests.benchmarks.drift.streams import SHAPES, Change, MixedWorld, World
from tests.benchmarks.drift.watched import ORIGIN, Pace
from tests.benchmarks.report import Report


def test_the_kswin_of_the_grid_alarms_where_rivers_does() -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        reference = rng.normal(size=100)
        live = np.concatenate([rng.normal(size=60), np.round(rng.normal(size=200) + 1.0, 1)])
        theirs = river_drift.KSWIN(alpha=1e-4, seed=seed)
        for value in reference:
            theirs.update(value)
        path = kswin_path(reference, live, seed)
        for i, value in enumerate(live):
            theirs.update(value)
            assert theirs.drift_detected == (path[i] >= -np.log(1e-4)), i
            if theirs.drift_detected:
                break
        else:
            pytest.fail("a shift of one sd is found")


def test_the_ks_distance_is_that_of_scipy_ties_included() -> None:
    rng = np.random.default_rng(1)
    reference = np.sort(np.round(rng.normal(size=300), 1))
    windows = np.round(rng.normal(size=(20, 50)), 1)
    expected = [ks_2samp(reference, window).statistic for window in windows]
    assert ks_distances(reference, windows) == pytest.approx(expected)


def test_ks_p_values_are_close_to_those_of_scipy_and_leave_missing_values_out() -> None:
    rng = np.random.default_rng(8)
    reference = np.append(rng.normal(size=3_000), np.nan)
    windows = [np.append(rng.normal(size=n) + shift, np.nan) for n in (20, 50, 200) for shift in (0.0, 0.3)]
    expected = [ks_2samp(reference[:-1], window[:-1]).pvalue for window in windows]
    assert ks_p_values(reference, windows) == pytest.approx(expected, rel=0.1)
    assert ks_p_values(reference, [np.array([np.nan])])[0] == 1.0


def test_the_sliding_mmd_is_the_mmd_of_each_window() -> None:
    rng = np.random.default_rng(2)
    reference, live = rng.normal(size=(40, 2)), rng.normal(size=(25, 2))
    width = np.median([np.linalg.norm(a - b) for a, b in itertools.combinations(reference, 2)])

    def mean_kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.mean(np.exp(-((a[:, None] - b[None]) ** 2).sum(-1) / (2 * width**2))))

    path = joint.mmd_path(reference, live, window=10)
    assert not path[:9].any()
    for end in (10, 17, 25):
        window = live[end - 10 : end]
        squared = mean_kernel(window, window) - 2 * mean_kernel(window, reference) + mean_kernel(reference, reference)
        assert path[end - 1] == pytest.approx(squared)


def test_matching_finds_the_strength_of_the_wanted_run_length() -> None:
    """The largest of n uniforms first exceeds 1 - 1/100 after 100 events on average."""
    rng = np.random.default_rng(4)
    clean = [(np.empty(0), rng.random(2_000)) for _ in range(400)]
    peer = Traced("uniform", lambda reference, live: live, strongest=1.0)
    found = matched(peer, clean, wanted=100.0, steps=30)
    assert found.run_length.mean == pytest.approx(100.0, rel=0.01)
    assert found.strength == pytest.approx(0.99, abs=0.002)


def test_the_poisson_interval_is_exact() -> None:
    """Garwood's interval for 10 counts is 4.795 to 18.39; none seen leaves at most 3.689."""
    rate = Rate(alarms=10, allowed=10.0, panes=1)
    assert (rate.low, rate.high) == (pytest.approx(0.4795, abs=1e-4), pytest.approx(1.839, abs=1e-3))
    assert Rate(0, 1.0, 1).high == pytest.approx(3.689, abs=1e-3)


def test_a_cell_is_played_on_only_while_its_rate_is_open() -> None:
    independent, dependent = Cell(200, 1, 10), Cell(5_000, 5, 50, phi=0.5)

    def ends(alarms: int, cell: Cell = independent, vacuous_counts: bool = True) -> bool:
        return settled(cell, Rate(alarms, 24.0, 1, error=0.05 / len(LOOKS)), vacuous_counts)

    assert ends(12), "the upper limit is below the budget, and the rate is a fifth of it"
    assert not ends(20), "0.83 of the budget may yet be above it"
    assert ends(45), "above the budget without doubt"
    assert not ends(3)
    assert ends(3, vacuous_counts=False)
    assert settled(independent, Rate(3, 96.0, 1), vacuous_counts=True), "vacuous without doubt"
    assert ends(20, dependent)


def test_further_looks_go_on_where_the_first_one_ended() -> None:
    cell = Cell(200, 1, 10, bound=50.0)
    (first,) = false_alarms(cell, (0.0,), allowed=4.0, seed=1).values()
    (last,) = false_alarms(cell, (0.0,), allowed=4.0, seed=1, looks=LOOKS).values()
    assert last.panes in (400, 800), "so few alarms settle nothing at once"
    assert last.alarms >= first.alarms
    assert last.error == pytest.approx(first.error / 3)


def test_censored_run_lengths_count_the_time_that_was_watched() -> None:
    length = Lengths.of_runs(np.array([50.0, np.inf, 150.0]), horizon=200.0)
    assert length.mean == 200.0
    assert not np.isfinite(Lengths.of_runs(np.array([np.inf]), 10.0).mean)


def test_delays_leave_out_what_alarmed_before_the_onset() -> None:
    length = delay.delays_of(np.array([40.0, 110.0, 130.0, np.inf]), onset=100, horizon=50)
    assert length.mean == pytest.approx((10 + 30 + 50) / 3)
    assert (length.early, length.found) == (0.25, pytest.approx(2 / 3))


def test_the_covering_design_holds_every_pair_that_can_be_played() -> None:
    cells = covering()
    seen = {pair for cell in cells for pair in itertools.combinations(_levels(cell), 2)}
    for one, other in itertools.combinations(FACTORS, 2):
        for a, b in itertools.product(FACTORS[one], FACTORS[other]):
            impossible = {one: a, other: b}.get("columns") == 1 and {one: a, other: b}.get("rho")
            assert impossible or ((one, a), (other, b)) in seen, (one, a, other, b)
    assert len(cells) < 40


def test_autocorrelated_streams_go_on_from_piece_to_piece() -> None:
    world = World(np.random.default_rng(5), columns=1, phi=0.9)
    pieces = np.concatenate([world.draw(50).numeric[:, 0] for _ in range(400)])
    assert np.corrcoef(pieces[:-1], pieces[1:])[0, 1] == pytest.approx(0.9, abs=0.02)
    assert np.corrcoef(pieces[49:-1:50], pieces[50::50])[0, 1] == pytest.approx(0.9, abs=0.06)
    assert pieces.std() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_keeps_its_shape_whatever_the_correlation(shape: str) -> None:
    rows = World(np.random.default_rng(6), columns=3, shape=shape, rho=0.95).draw(2_000)
    drawn = rows.categories if shape == "zipf" else rows.numeric
    assert drawn.shape == (2_000, 3)
    if shape == "bernoulli":
        assert rows.numeric.mean() == pytest.approx(0.01, abs=0.006)
    if shape == "zipf":
        assert np.mean(rows.categories == "v0") == pytest.approx(0.102, abs=0.02)


def test_references_end_where_streams_begin() -> None:
    pace = Pace(per_pane=4, pane_s=600.0)
    assert pace.times(-4, 4).max() < ORIGIN < pace.times(0, 1)[0]
    assert np.unique(np.floor(pace.times(-8, 8) / 600.0), return_counts=True)[1].tolist() == [4, 4]


def test_mixed_columns_miss_some_of_everything() -> None:
    rows = MixedWorld(np.random.default_rng(7), phi=0.5).draw(3_000)
    assert rows.numeric.shape[1] + rows.categories.shape[1] == 30
    assert np.isnan(rows.numeric).mean() == pytest.approx(0.03, abs=0.005)
    assert np.mean(rows.categories == None) == pytest.approx(0.03, abs=0.005)  # noqa: E711


@pytest.mark.slow
def test_a_cell_of_every_kind_is_measured() -> None:
    kinds = (
        Cell(200, 1, 10, "zipf"),
        Cell(200, 2, 10, phi=0.5),
        Cell(200, 1, 10, edge="mass"),
        Cell(288, 1, 1, season=1.0),
    )
    for cell in kinds:
        rates = false_alarms(cell, (0.0, 0.02), allowed=0.5, seed=1)
        assert set(rates) == {0.0, 0.02}
        assert all(rate.panes == 100 for rate in rates.values())
        assert rates == false_alarms(cell, (0.0, 0.02), allowed=0.5, seed=1), "the seed fixes the rate"


@pytest.mark.slow
def test_every_section_of_the_report_runs_and_prints() -> None:
    small = delay.Effort(clean_runs=4, clean_lengths=0.5, runs=4, horizon=100)
    sections = [
        run_length.section(Cell(200, 1, 10), 1.0, looks=(1, 2), seed=1),
        run_length.mixed_section(0.5, weeks=1, seed=1),
        delay.one_column_section(500, (Change("shift", 2.0),), small, seed=1),
        delay.one_column_section(500, (Change("swap"), Change("new")), small, seed=1),
        delay.usual_section((Change("shift", 1.0),), runs=2, clean_events=0, seed=1),
        delay.wide_section(0.5, clean_runs=1, runs=1, seed=1),
        delay.defaults_section(500, delay.Effort(clean_runs=2, clean_lengths=0.2, runs=2, horizon=50), seed=1),
        joint.section(MarginalDrift, joint.JOINT_CHANGES[2:3], clean_runs=2, runs=2, horizon=60, seed=1),
        speed.section(quick=True, seed=1),
    ]
    assert all(section.figures for section in sections)
    whole = sum(sections, Section())
    report = Report("drift", whole.figures, whole.goals)
    assert json.loads(json.dumps(report.to_json()))["name"] == "drift"
    assert "river ADWIN" in report.to_text()
    shown = [figure for name, figure in whole.figures.items() if "mean +2 sd, Vedette" in name]
    assert shown
    assert all(figure.mean < 100 for figure in shown), "two sd are found within the horizon"


def _levels(cell: Cell) -> list[tuple[str, object]]:
    return [(name, getattr(cell, name)) for name in FACTORS]


def test_a_race_goes_on_until_the_streams_decide() -> None:
    """Told apart at once, streams are not doubled; equals are looked at as often as the effort allows."""

    def asked(other: float) -> list[range]:
        race = delay.Race({"river twin": _Fixed(other)}, _Fixed(110.0))  # type: ignore[dict-item, arg-type]
        batches: list[range] = []

        def streams(runs: range) -> list:
            batches.append(runs)
            return [(np.full(60, 0.1 * run), np.zeros(1)) for run in runs]

        race.all(streams, False, delay.Effort(clean_runs=1, clean_lengths=1.0, runs=4, horizon=50, looks=3))
        return batches

    assert asked(140.0) == [range(4)]
    assert asked(110.0) == [range(4), range(4, 8), range(8, 16)]


class _Fixed:
    """First alarms around one event, whatever the streams; scattered so that no two runs agree."""

    def __init__(self, at: float) -> None:
        self._at = at

    def firsts(self, streams: list) -> np.ndarray:
        return self._at + np.random.default_rng(int(self._at)).normal(size=len(streams))
