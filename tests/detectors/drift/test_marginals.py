"""Drift on seeded streams with a known onset: silence before it, an alarm soon after it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.base import MODEL, Level, Pane, Part, Reading, Unfit
from detectors.batch import EventBatch
from detectors.budget import AlarmBudget
from detectors.drift.marginals import MarginalDrift
from detectors.schema import infer_schema
from detectors.sketch import Sketch, total

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


def fitted(reference: EventBatch, alarms_per_week: float = 1.0) -> MarginalDrift:
    schema = infer_schema(reference)
    part = MarginalDrift.fit(reference, schema, PANE_S, seed=0)
    assert isinstance(part, Part)
    return MarginalDrift.build(part, schema, AlarmBudget(alarms_per_week, PANE_S))


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
