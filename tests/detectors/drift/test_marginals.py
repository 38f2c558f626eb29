"""Drift on seeded streams with a known onset: silence before it, an alarm soon after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from detectors.base import MODEL, Arrays, Level, Pane, Part, Reading, Subject, Unfit
from detectors.batch import EventBatch
from detectors.budget import DEFAULT_TOLERANCE, AlarmBudget
from detectors.drift.marginals import MarginalDrift
from detectors.schema import infer_schema
from detectors.sketch import Sketch, total
from tests.detectors.drift.in_time import judged_in_time

PANE_S = 10.0
PER_PANE = 50


def stream(rng: np.random.Generator, n: int, **changes: float) -> EventBatch:
    numeric = rng.normal(size=(n, 6)) * changes.get("scale", 1.0)
    numeric[:, 0] += changes.get("shift", 0.0)
    numeric[rng.random(n) < 0.02 + changes.get("missing", 0.0), 1] = np.nan
    colours = np.array(["red", "green", "blue", "violet"], dtype=object)
    swap = changes.get("swap", 0.0)
    colour = rng.choice(colours, size=n, p=[0.5 - swap, 0.3 + swap, 0.15, 0.05])
    colour[rng.random(n) < changes.get("unseen", 0.0)] = "infrared"
    wins = rng.random(n) < 0.3 + changes.get("predicted", 0.0)
    return EventBatch(
        model="m",
        version="",
        event_id=np.arange(n).astype(str).astype(object),
        timestamp=np.arange(n) * PANE_S / PER_PANE,
        numeric_names=tuple(f"x{i}" for i in range(6)),
        numeric=numeric,
        mixed={"colour": colour},
        prediction=np.where(wins, "yes", "no").astype(object),
    )


def fitted(reference: EventBatch, alarms_per_week: float = 1.0, tolerance: float = DEFAULT_TOLERANCE) -> MarginalDrift:
    schema = infer_schema(reference)
    part = MarginalDrift.fit(reference, schema, PANE_S, seed=0)
    assert isinstance(part, Part)
    return MarginalDrift.build(part, schema, AlarmBudget(alarms_per_week, PANE_S, tolerance=tolerance))


def judged(detector: MarginalDrift, batch: EventBatch) -> list[Reading]:
    readings, evidence = [], {}
    starts = np.arange(0, len(batch), PER_PANE)
    for i, sketch in enumerate(detector.sketch(batch, starts)):
        judgement = detector.judge(evidence, Pane(i * PANE_S, PANE_S, PER_PANE, sketch))
        evidence = judgement.evidence
        readings += judgement.readings
    return readings


def test_an_unchanged_stream_raises_no_alarm() -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        detector = fitted(stream(rng, 3_000))
        levels = {reading.level for reading in judged(detector, stream(rng, 30_000))}
        assert Level.ALARM not in levels


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"shift": 0.75}, "x0"),
        ({"scale": 1.6}, "x"),
        ({"missing": 0.15}, "x1"),
        ({"swap": 0.2}, "colour"),
        ({"unseen": 0.08}, "colour"),
        ({"predicted": 0.25}, "prediction"),
    ],
)
def test_a_change_is_found_within_1500_events_and_named(change: dict[str, float], column: str) -> None:
    rng = np.random.default_rng(11)
    detector = fitted(stream(rng, 5_000))
    readings = judged(detector, stream(rng, 1_500, **change))
    alarms = [reading for reading in readings if reading.level is Level.ALARM]
    assert alarms, [round(reading.log_evidence, 1) for reading in readings]
    assert alarms[0].detail["columns"][0]["name"].startswith(column)
    assert alarms[0].effect >= alarms[0].minimum_effect


def test_a_drift_inside_the_tolerance_raises_no_alarm() -> None:
    rng = np.random.default_rng(5)
    detector = fitted(stream(rng, 20_000))
    readings = judged(detector, stream(rng, 30_000, shift=0.08))
    assert all(reading.level is not Level.ALARM for reading in readings)


@pytest.mark.parametrize(("tolerance", "alarms"), [(0.0, True), (0.02, False)])
def test_without_tolerance_a_rare_flag_that_moves_less_than_a_hundredth_counts(tolerance: float, alarms: bool) -> None:
    """From 0.5 % of events to 1.2 %."""
    rng = np.random.default_rng(14)
    reference, live = stream(rng, 20_000), stream(rng, 20_000)
    reference.numeric[:, 0] = rng.random(len(reference)) < 0.005
    live.numeric[:, 0] = rng.random(len(live)) < 0.012
    readings = judged(fitted(reference, tolerance=tolerance), live)
    loud = [reading for reading in readings if reading.level is Level.ALARM]
    assert bool(loud) == alarms
    assert all(reading.effect < 0.012 and reading.minimum_effect == 0.0 for reading in loud[:1])


def test_sketches_merge_exactly_whatever_the_cut() -> None:
    rng = np.random.default_rng(2)
    detector = fitted(stream(rng, 2_000))
    batch = stream(rng, 1_000)
    whole = detector.sketch(batch, np.array([0]))[0]
    for cuts in ([0, 500], [0, 1, 999], [0, 333, 334, 700]):
        parts = detector.sketch(batch, np.array(cuts))
        order = rng.permutation(len(parts))
        assert np.array_equal(total(parts[i] for i in order).totals["bins"], whole.totals["bins"])
    again = Sketch.from_bytes(whole.to_bytes())
    assert np.array_equal(again.totals["bins"], whole.totals["bins"])


def test_what_the_reference_never_saw_is_counted_not_raised() -> None:
    rng = np.random.default_rng(3)
    detector = fitted(stream(rng, 1_000))
    odd = stream(rng, 60)
    numeric = odd.numeric.copy()
    numeric[:20] = np.inf
    numeric[20:40] = np.nan
    wild = EventBatch(
        model="m",
        version="",
        event_id=odd.event_id,
        timestamp=odd.timestamp,
        numeric_names=("x0", "colour", "new column"),
        numeric=numeric[:, :3],
        mixed={"x1": np.array(["text"] * 30 + [None] * 10 + [True] * 20, dtype=object)},
    )
    (sketch,) = detector.sketch(wild, np.array([0]))
    assert sketch.totals["bins"].sum(axis=1).tolist() == [50] * len(detector.watch.columns), "ten log nothing at all"


def test_readings_repeat_exactly() -> None:
    rng = np.random.default_rng(4)
    detector = fitted(stream(rng, 2_000))
    live = stream(rng, 2_000, shift=0.5)
    assert judged(detector, live) == judged(detector, live)


def test_a_budget_of_more_alarms_asks_for_less_evidence() -> None:
    reference = stream(np.random.default_rng(0), 500)
    daily, weekly = fitted(reference, 7.0), fitted(reference, 1.0)
    assert weekly.whole.log_threshold - daily.whole.log_threshold == pytest.approx(np.log(7.0))


def test_evidence_outlives_a_change_of_the_budget_or_else_starts_anew() -> None:
    """With another tolerance there may be another number of bets; what was learned of ordinary traffic stays."""
    rng = np.random.default_rng(15)
    reference, live = stream(rng, 20_000), stream(rng, 1_000)
    strict, lenient = fitted(reference, tolerance=0.0), fitted(reference)
    n_bets = [len(detector.whole.chart.bets.weight) for detector in (strict, lenient)]
    assert n_bets[0] != n_bets[1]
    evidence: Mapping[Subject, Arrays] = {}
    sketches = strict.sketch(live, np.arange(0, len(live), PER_PANE))
    for i, sketch in enumerate(sketches[:-1]):
        evidence = strict.judge(evidence, Pane(i * PANE_S, PANE_S, PER_PANE, sketch)).evidence
    last = Pane(len(live) / PER_PANE * PANE_S, PANE_S, PER_PANE, sketches[-1])
    for detector, kept in ((strict, n_bets[0]), (lenient, n_bets[1])):
        arrays = detector.judge(evidence, last).evidence[MODEL]
        assert arrays["log_evidence"].shape == (2, kept)
        assert (arrays["live"] + arrays["waiting"])[0, 0].sum() == len(live)


def test_a_tiny_reference_is_refused_with_the_reason() -> None:
    reference = stream(np.random.default_rng(0), 30)
    refused = MarginalDrift.fit(reference, infer_schema(reference), PANE_S, seed=0)
    assert isinstance(refused, Unfit)
    assert "at least 50" in refused.reason


def test_evidence_resets_after_an_alarm_and_rises_again_while_the_drift_lasts() -> None:
    rng = np.random.default_rng(8)
    detector = fitted(stream(rng, 2_000))
    readings = judged(detector, stream(rng, 5_000, shift=1.0))
    alarms = [i for i, reading in enumerate(readings) if reading.level is Level.ALARM]
    assert len(alarms) > 5
    assert readings[0].subject == MODEL


def test_labels_that_come_alone_are_not_missing_features() -> None:
    rng = np.random.default_rng(6)
    detector = fitted(stream(rng, 3_000))
    live = stream(rng, 5_000)
    alone = rng.random(len(live)) < 0.4
    numeric, colour, prediction = live.numeric.copy(), live.mixed["colour"].copy(), live.prediction.copy()
    numeric[alone] = np.nan
    colour[alone] = None
    prediction[alone] = None
    label = np.full(len(live), None, dtype=object)
    label[alone] = "yes"
    late = replace(live, numeric=numeric, mixed={"colour": colour}, prediction=prediction, label=label)
    assert all(reading.level is Level.OK for reading in judged(detector, late))


def test_the_reason_says_that_values_are_missing() -> None:
    rng = np.random.default_rng(12)
    detector = fitted(stream(rng, 5_000))
    readings = judged(detector, stream(rng, 1_500, missing=0.25))
    alarm = next(reading for reading in readings if reading.level is Level.ALARM)
    assert "x1 is missing in 2" in alarm.reason


def breathing(rng: np.random.Generator, days: float, shift: float = 0.0, start_day: float = 0.0) -> EventBatch:
    """Two columns with a daily wave of one sd, 2,400 events a day."""
    n = round(days * 2_400)
    at = np.sort(rng.uniform(start_day * 86_400, (start_day + days) * 86_400, n))
    wave = np.sin(2 * np.pi * at / 86_400)
    numeric = rng.normal(size=(n, 3)) + np.stack([wave + shift, wave, np.zeros(n)], axis=1)
    return EventBatch(
        model="m",
        version="",
        event_id=np.arange(n).astype(str).astype(object),
        timestamp=at,
        numeric_names=("x0", "x1", "x2"),
        numeric=numeric,
    )


def test_a_daily_wave_is_normal_and_a_shift_of_all_hours_is_not() -> None:
    rng = np.random.default_rng(21)
    pane_s = 900.0
    reference = breathing(rng, 8)
    schema = infer_schema(reference)
    part = MarginalDrift.fit(reference, schema, pane_s, seed=0)
    assert isinstance(part, Part)
    detector = MarginalDrift.build(part, schema, AlarmBudget(1.0, pane_s))
    assert detector.seasons.n_strata >= 2
    quiet = judged_in_time(detector, breathing(rng, 7, start_day=8), pane_s)
    assert all(reading.level is not Level.ALARM for reading in quiet)
    moved = judged_in_time(detector, breathing(rng, 2, shift=0.5, start_day=8), pane_s)
    assert next(i for i, reading in enumerate(moved) if reading.level is Level.ALARM) < 30


def test_panes_that_differ_more_than_panes_did_are_found_though_their_mean_stays() -> None:
    """Each pane has an offset of its own, larger now than in the reference; over all panes the columns are the same."""
    rng = np.random.default_rng(22)

    def restless(n_panes: int, sd: float) -> EventBatch:
        batch = stream(rng, n_panes * PER_PANE)
        offset = np.repeat(rng.normal(scale=sd, size=(n_panes, 6)), PER_PANE, axis=0)
        return replace(batch, numeric=np.sqrt(1 - sd**2) * np.nan_to_num(batch.numeric) + offset)

    detector = fitted(restless(200, 0.2))
    assert all(reading.level is not Level.ALARM for reading in judged(detector, restless(400, 0.2)))
    alarms = [r for r in judged(detector, restless(200, 0.8)) if r.level is Level.ALARM]
    assert alarms
    assert "pane-to-pane variation" in {item["name"] for alarm in alarms for item in alarm.detail["columns"]}


def test_a_drift_that_goes_on_is_never_quiet_between_its_alarms() -> None:
    """Quiet is evidence a hundredfold below the alarm line: there an incident would begin to resolve."""
    rng = np.random.default_rng(23)
    detector = fitted(stream(rng, 20_000))
    readings = judged(detector, stream(rng, 20_000, shift=0.3))
    first = next(i for i, reading in enumerate(readings) if reading.level is Level.ALARM)
    after = readings[first:]
    assert sum(reading.level is Level.ALARM for reading in after) >= 5
    assert all(reading.log_evidence >= reading.log_threshold - np.log(100.0) for reading in after)
