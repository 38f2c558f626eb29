"""Joint drift on seeded streams with a known onset, and the arithmetic that its promises rest on."""

from __future__ import annotations

from dataclasses import replace
from math import comb

import numpy as np
import pytest
from scipy.signal import lfilter

from detectors import checks
from detectors.base import MODEL, Arrays, Level, Pane, Part, Reading, Unfit
from detectors.batch import EventBatch
from detectors.budget import WEEK_S, AlarmBudget
from detectors.drift.joint import JointDrift
from detectors.drift.moments import MOMENT_ONE, Moments
from detectors.drift.waves import WAVE_ONE, Grid, Waves
from detectors.drift.witness import STRENGTHS, Memory, Normal, bets
from detectors.schema import infer_schema
from tests.detectors.drift.in_time import judged_in_time

PANE_S = 10.0
PER_PANE = 25
NAMES = ("age", "income", "tenure", "balance")


def events(numeric: np.ndarray, embedding: np.ndarray | None = None) -> EventBatch:
    n = len(numeric)
    return EventBatch(
        model="m",
        version="",
        event_id=np.arange(n).astype(str).astype(object),
        timestamp=np.arange(n) * PANE_S / PER_PANE,
        numeric_names=NAMES[: numeric.shape[1]],
        numeric=numeric,
        embedding=embedding,
    )


def people(rng: np.random.Generator, n: int, correlation: float) -> EventBatch:
    """Four standard normal columns, of which age and income are correlated; no single column ever changes."""
    numeric = rng.normal(size=(n, 4))
    numeric[:, 1] = correlation * numeric[:, 0] + np.sqrt(1 - correlation**2) * numeric[:, 1]
    return events(numeric)


def fitted(reference: EventBatch, bound: float = 10_000.0, tolerance: float = 0.02) -> JointDrift:
    schema = infer_schema(reference)
    part = JointDrift.fit(reference, schema, PANE_S, seed=0)
    assert isinstance(part, Part)
    return JointDrift.build(part, schema, AlarmBudget(WEEK_S / PANE_S / bound, PANE_S, {"joint": 1.0}, tolerance))


def judged(detector: JointDrift, *batches: EventBatch) -> tuple[list[list[Reading]], Arrays]:
    evidence, readings = {}, []
    for batch in batches:
        readings.append([])
        for i, sketch in enumerate(detector.sketch(batch, np.arange(0, len(batch), PER_PANE))):
            judgement = detector.judge(evidence, Pane(i * PANE_S, PANE_S, PER_PANE, sketch))
            evidence = judgement.evidence
            readings[-1] += judgement.readings
    return readings, evidence[MODEL]


def events_to_alarm(readings: list[Reading]) -> int:
    return ([reading.level for reading in readings].index(Level.ALARM) + 1) * PER_PANE


def test_a_lost_correlation_is_found_and_the_reason_names_the_pair() -> None:
    rng = np.random.default_rng(1)
    detector = fitted(people(rng, 2_000, 0.6))
    (before, after), _ = judged(detector, people(rng, 1_000, 0.6), people(rng, 1_000, 0.0))
    assert all(reading.level is Level.OK for reading in before)
    assert events_to_alarm(after) <= 150
    alarm = next(reading for reading in after if reading.level is Level.ALARM)
    assert "correlation of age and income changed from 0.58 to -0.24" in alarm.reason
    assert [(pair["a"], pair["b"]) for pair in alarm.detail["pairs"]] == [("age", "income")]
    assert alarm.detail["columns"] == []
    assert alarm.effect >= alarm.minimum_effect


def test_a_changed_embedding_is_found_though_the_features_stay() -> None:
    rng = np.random.default_rng(2)
    turned = np.linalg.qr(rng.normal(size=(16, 16)))[0]
    scale = np.linspace(3.0, 0.3, 16)

    def batch(n: int, change: np.ndarray | None = None) -> EventBatch:
        embedding = rng.normal(size=(n, 16)) * scale
        return events(rng.normal(size=(n, 1)), embedding if change is None else embedding @ change)

    detector = fitted(batch(2_000))
    (before, after), _ = judged(detector, batch(1_000), batch(1_000, turned))
    assert all(reading.level is Level.OK for reading in before)
    assert events_to_alarm(after) <= 150
    alarm = next(reading for reading in after if reading.level is Level.ALARM)
    assert "the embedding as a whole changed" in alarm.reason


@pytest.mark.slow
def test_honest_streams_raise_no_more_alarms_than_the_budget_allows() -> None:
    alarms = 0
    for seed in range(4):
        rng = np.random.default_rng([3, seed])
        detector = fitted(people(rng, 600, 0.6), bound=200.0, tolerance=0.0)
        (readings,), _ = judged(detector, people(rng, 300 * PER_PANE, 0.6))
        alarms += sum(reading.level is Level.ALARM for reading in readings)
    assert alarms <= 4 * 300 / 200


@pytest.mark.slow
@pytest.mark.parametrize("phi", [0.5, 0.9])
def test_events_that_linger_raise_about_as_many_alarms_as_the_budget_allows(phi: float) -> None:
    """First-order autoregression, panes shorter than it remembers; twelve alarms are allowed."""
    alarms = 0
    for seed in range(4):
        noise = np.random.default_rng([13, seed]).normal(size=(2_000 + 300 * PER_PANE, 4))
        values = lfilter([np.sqrt(1 - phi**2)], [1.0, -phi], noise, axis=0)
        detector = fitted(events(values[:2_000]), bound=100.0)
        (readings,), _ = judged(detector, events(values[2_000:]))
        alarms += sum(reading.level is Level.ALARM for reading in readings)
    assert alarms <= 1.5 * 4 * 300 / 100


def test_a_lasting_change_keeps_alarming() -> None:
    rng = np.random.default_rng(4)
    detector = fitted(people(rng, 5_000, 0.6))
    (readings,), _ = judged(detector, people(rng, 2_000, 0.0))
    assert sum(reading.level is Level.ALARM for reading in readings) >= 4


@pytest.mark.slow
def test_a_drift_alarms_to_its_end_and_2_000_events_later_all_is_calm() -> None:
    """Ten times as long as the reference: whatever joins the pool is learned by then."""
    rng = np.random.default_rng(11)
    detector = fitted(people(rng, 2_000, 0.6))
    (during, after), _ = judged(detector, people(rng, 20_000, 0.0), people(rng, 10_000, 0.6))
    assert any(reading.level is Level.ALARM for reading in during[-40:])
    assert not any(reading.level is Level.ALARM for reading in after[80:])


@pytest.mark.parametrize("pane_n", [1, 20])
@pytest.mark.parametrize("tolerance", [0.0, 0.1])
def test_a_bet_earns_no_more_than_one_on_average_while_nothing_changes(pane_n: int, tolerance: float) -> None:
    """Exact over an event of two values, ±1, and a pool so large that its mean is known."""
    rows = np.array([[-1.0], [1.0]] * 20_000, dtype=np.float32)
    normal = Normal.of(1e12, np.zeros(1), rows, 1.0, 1.0)
    live = np.array([[10.0, 4.0]])
    heads = np.arange(pane_n + 1)
    chance = np.array([comb(pane_n, int(k)) / 2**pane_n for k in heads])
    pane_sums = 2.0 * heads - pane_n
    earned = np.stack(
        [
            bets(normal, 1e12, np.zeros(1), live, [Memory(50.0)], pane_n, np.array([s]), tolerance).log_ratio
            for s in pane_sums
        ]
    )
    mean = chance @ np.exp(earned)
    assert mean.shape == (len(STRENGTHS),)
    assert np.all(mean <= 1.0 + 1e-9)
    assert tolerance > 0 or np.all(mean >= 0.98)


def test_a_finite_reference_does_not_make_a_bet_profitable() -> None:
    """Monte Carlo over references of 100 normal events and panes of 50: the pool's error is paid for."""
    rng = np.random.default_rng(5)
    earned = []
    for _ in range(4_000):
        reference, past, pane = rng.normal(size=(100, 1)), rng.normal(size=(50, 1)), rng.normal(size=50)
        sample = (reference - reference.mean()).astype(np.float32)
        normal = Normal.of(100.0, reference.mean(axis=0), sample, 1.0, 1.0)
        pool = np.concatenate([reference, past]).mean(axis=0)
        live = np.array([[50.0, past.sum()]])
        earned.append(bets(normal, 150.0, pool, live, [Memory(50.0)], 50, np.array([pane.sum()]), 0.0).log_ratio[:2])
    mean = np.exp(np.array(earned)).mean(axis=0)
    error = np.exp(np.array(earned)).std(axis=0) / np.sqrt(len(earned))
    assert np.all(mean <= 1.0 + 3 * error)


def test_means_squares_and_products_are_told_apart() -> None:
    means, squares, products = Moments(3, paired=True).parts
    rows = np.array([[1.0, 2.0, 3.0]], dtype=np.float32) * 8
    moments = Moments(3, paired=True).of(rows)[0] / MOMENT_ONE * 16
    assert moments[means].tolist() == [4, 8, 12]
    assert moments[squares].tolist() == [1, 4, 9]
    assert moments[products].tolist() == [2, 3, 6]
    assert [part.tolist() for part in Moments(3, paired=False).parts] == [[0, 1, 2]]


def test_a_witness_bets_on_nothing_but_its_part() -> None:
    rng = np.random.default_rng(12)
    normal = Normal.of(1e6, np.zeros(2), rng.normal(size=(500, 2)).astype(np.float32), 1.0, 1.0)
    live = np.array([[50.0, 40.0, 0.0]])
    first, other = (
        bets(normal, 1e6, np.zeros(2), live, [Memory(50.0, part=np.array([i]))], 10.0, np.array([8.0, 8.0]), 0.0)
        for i in (0, 1)
    )
    assert first.log_ratio.max() > 1.0
    assert first.moved[0] == pytest.approx(8.0, rel=0.1)
    assert not other.log_ratio.any(), "the second feature has not moved so far"


def test_sums_of_waves_and_moments_are_exact_however_rows_are_cut() -> None:
    rng = np.random.default_rng(6)
    rows = rng.normal(size=(700, 30)) * 1e3
    steps, _ = Grid.fit(rows).steps(rows)
    for features in (Waves.fit(steps, 64, seed=0), Moments(30, paired=True)):
        whole = features.sums(steps)
        cut = sum((features.sums(steps[a : a + 13]) for a in range(0, 700, 13)), np.zeros_like(whole))
        assert np.array_equal(whole, cut)
        assert np.array_equal(whole, features.of(steps).sum(axis=0))


def test_waves_are_those_of_exact_integer_arithmetic() -> None:
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(300, 200))
    steps, _ = Grid.fit(rows).steps(rows)
    waves = Waves.fit(steps, 32, seed=0)
    phase = steps.astype(np.int64) @ waves.directions.astype(np.int64)
    turn = (phase + 2**15) % 2**16 - 2**15
    expected = np.where(turn < 0, -turn - 1, turn)
    assert np.array_equal(waves.of(steps)[:, :16], expected - WAVE_ONE)


def test_sketches_with_missing_values_and_an_embedding_add_up() -> None:
    rng = np.random.default_rng(8)
    numeric = rng.normal(size=(400, 4))
    numeric[rng.random((400, 4)) < 0.2] = np.nan
    numeric[50:60] = np.nan
    numeric[70, 0] = np.inf
    batch = events(numeric, rng.normal(size=(400, 8)))
    detector = fitted(batch)
    checks.check_sketches_add_up(detector, batch, [[0, 55], list(range(0, 400, 7))])
    assert (
        detector.sketch(batch, np.array([0]))[0].totals["features waves"][0]
        == 400 - np.isnan(numeric).all(axis=1).sum()
    )


def test_evidence_does_not_grow_with_the_stream() -> None:
    rng = np.random.default_rng(9)
    detector = fitted(people(rng, 1_000, 0.3))
    _, short = judged(detector, people(rng, 100, 0.3))
    _, long = judged(detector, people(rng, 3_000, 0.3))
    assert {k: np.shape(v) for k, v in short.items()} == {k: np.shape(v) for k, v in long.items()}
    assert sum(np.asarray(v).nbytes for v in long.values()) < 128_000


def test_a_single_column_or_too_few_events_are_unfit_with_a_reason() -> None:
    rng = np.random.default_rng(10)
    for batch in (events(rng.normal(size=(1_000, 1))), people(rng, 150, 0.0)):
        unfit = JointDrift.fit(batch, infer_schema(batch), PANE_S, seed=0)
        assert isinstance(unfit, Unfit)
        assert "200 reference events" in unfit.reason


def hourly(rng: np.random.Generator, days: float, start_day: float = 0.0, tied: float = 0.0) -> EventBatch:
    """An hour column, one that follows it, and two more that are correlated by ``tied``; 2,400 events a day."""
    n = round(days * 2_400)
    at = np.sort(rng.uniform(start_day, start_day + days, n))
    numeric = rng.normal(size=(n, 4))
    numeric[:, 0] = np.floor(24 * (at % 1))
    numeric[:, 1] += 3 * np.sin(2 * np.pi * at)
    numeric[:, 3] = tied * numeric[:, 2] + np.sqrt(1 - tied**2) * numeric[:, 3]
    return replace(events(numeric), timestamp=at * 86_400)


def test_a_rhythm_of_the_day_is_normal_and_a_correlation_beside_it_is_found() -> None:
    rng = np.random.default_rng(31)
    pane_s = 900.0
    reference = hourly(rng, 6)
    schema = infer_schema(reference)
    part = JointDrift.fit(reference, schema, pane_s, seed=0)
    assert isinstance(part, Part)
    detector = JointDrift.build(part, schema, AlarmBudget(1.0, pane_s))
    quiet = judged_in_time(detector, hourly(rng, 5, start_day=6), pane_s)
    assert all(reading.level is not Level.ALARM for reading in quiet)
    changed = judged_in_time(detector, hourly(rng, 1, start_day=6, tied=0.6), pane_s)
    assert next(i for i, reading in enumerate(changed) if reading.level is Level.ALARM) < 48
