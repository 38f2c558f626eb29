"""Segments and cohorts: drift in a part of the traffic, and who causes it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detectors.base import MODEL, Level, Pane, Part, Reading, Subject, SubjectType
from detectors.batch import EventBatch
from detectors.budget import AlarmBudget
from detectors.drift.cohorts import MOST_BUCKETS, CohortCode, Cohorts
from detectors.drift.columns import N_BINS
from detectors.drift.marginals import MarginalDrift
from detectors.drift.segments import MOST_SEGMENTS, choose_segments
from detectors.schema import infer_schema
from detectors.sketch import total

PANE_S, PER_PANE = 10.0, 100
NORTH = Subject(SubjectType.SEGMENT, "region=north")


def stream(rng: np.random.Generator, n: int, n_columns: int = 5) -> EventBatch:
    region = rng.choice(np.array(["north", "south", "east"], dtype=object), size=n, p=[0.1, 0.5, 0.4])
    return EventBatch(
        model="m",
        version="",
        event_id=np.arange(n).astype(str).astype(object),
        timestamp=np.arange(n) * PANE_S / PER_PANE,
        client_id=np.array([f"c{c}" for c in rng.integers(0, 30, size=n)], dtype=object),
        numeric_names=tuple(f"x{i}" for i in range(n_columns)),
        numeric=rng.normal(size=(n, n_columns)),
        segments={"region": region},
    )


def shifted(batch: EventBatch, chosen: np.ndarray, by: float) -> EventBatch:
    numeric = batch.numeric.copy()
    numeric[chosen, 0] += by
    return replace(batch, numeric=numeric)


def fitted(reference: EventBatch) -> MarginalDrift:
    schema = infer_schema(reference)
    part = MarginalDrift.fit(reference, schema, PANE_S, seed=0)
    assert isinstance(part, Part)
    return MarginalDrift.build(part, schema, AlarmBudget(1.0, PANE_S))


def judged(detector: MarginalDrift, batch: EventBatch) -> list[Reading]:
    readings, evidence = [], {}
    for i, sketch in enumerate(detector.sketch(batch, np.arange(0, len(batch), PER_PANE))):
        pane = Pane(i * PANE_S, PANE_S, PER_PANE, sketch)
        judgement = detector.judge({s: evidence[s] for s in detector.subjects(pane) if s in evidence}, pane)
        evidence.update(judgement.evidence)
        readings += judgement.readings
    return readings


def alarms(readings: list[Reading]) -> list[Reading]:
    return [reading for reading in readings if reading.level is Level.ALARM]


def test_a_drift_in_a_tenth_of_the_traffic_is_named_by_its_segment() -> None:
    rng = np.random.default_rng(1)
    detector = fitted(stream(rng, 10_000))
    live = stream(rng, 20_000)
    found = alarms(judged(detector, shifted(live, live.segments["region"] == "north", 0.5)))
    assert found[0].subject == NORTH
    assert found[0].detail["columns"][0]["name"] == "x0"
    assert "of region=north" in found[0].reason


def test_a_drift_of_everything_is_one_alarm_of_the_model_that_lists_its_segments() -> None:
    rng = np.random.default_rng(2)
    detector = fitted(stream(rng, 10_000))
    found = alarms(judged(detector, shifted(stream(rng, 6_000), np.arange(6_000), 0.7)))
    assert found
    assert {reading.subject for reading in found} == {MODEL}
    assert {item["segment"] for reading in found for item in reading.detail.get("segments", ())} & {
        "region=south",
        "region=east",
    }
    assert all("cohort" not in reading.detail for reading in found), "nobody causes alone what all do"


def test_one_client_that_causes_a_drift_is_named() -> None:
    rng = np.random.default_rng(3)
    detector = fitted(stream(rng, 10_000))
    live = stream(rng, 6_000)
    culprit = rng.random(6_000) < 0.15
    client = live.client_id.copy()
    client[culprit] = "c7"
    found = alarms(judged(detector, shifted(replace(live, client_id=client), culprit, 2.0)))
    named = [reading for reading in found if "cohort" in reading.detail]
    assert len(named) > len(found) / 2
    assert {reading.detail["cohort"]["type"] for reading in named} == {"client"}
    assert {reading.detail["cohort"]["id"] for reading in named} == {"c7"}
    assert "Client c7 alone causes it" in named[0].reason


@pytest.mark.slow
def test_an_ordinary_stream_raises_no_alarm_in_any_segment() -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        detector = fitted(stream(rng, 5_000))
        assert not alarms(judged(detector, stream(rng, 40_000)))


def test_only_large_segments_are_watched_and_not_too_many() -> None:
    rng = np.random.default_rng(5)
    batch = stream(rng, 20_000)
    many = np.array([f"v{i}" for i in rng.integers(0, 40, size=20_000)], dtype=object)
    tiny = np.array(["odd" if i < 100 else None for i in range(20_000)], dtype=object)
    named = replace(batch, segments={**batch.segments, "many": many, "tiny": tiny})
    chosen = choose_segments(named, 5)
    assert len(chosen) == MOST_SEGMENTS
    assert chosen[:3] == ["region=south", "region=east", "region=north"]
    assert "tiny=odd" not in chosen
    assert len(choose_segments(named, 1_000)) == 4, "few where each has many columns"


def test_segment_and_client_sums_merge_whatever_the_cut() -> None:
    rng = np.random.default_rng(6)
    detector = fitted(stream(rng, 3_000))
    batch = stream(rng, 500)
    whole = detector.sketch(batch, np.array([0]))[0]
    parts = total(detector.sketch(batch, np.array([0, 1, 77, 300, 499])))
    for group in ("clients", "segments"):
        assert whole.keyed[group].keys() == parts.keyed[group].keys()
        assert all(np.array_equal(whole.keyed[group][k], parts.keyed[group][k]) for k in whole.keyed[group])


def test_a_clients_sums_have_one_size_however_many_columns_there_are() -> None:
    rng = np.random.default_rng(7)
    for n_columns in (3, 200):
        detector = fitted(stream(rng, 1_500, n_columns))
        (sketch,) = detector.sketch(stream(rng, 200, n_columns), np.array([0]))
        sizes = {len(vector) for vector in sketch.keyed["clients"].values()}
        assert len(sizes) == 1
        assert sizes.pop() <= 1 + MOST_BUCKETS


def test_a_clients_share_of_a_shift_is_estimated_from_its_buckets() -> None:
    rng = np.random.default_rng(8)
    detector = fitted(stream(rng, 5_000, 100))
    code: CohortCode = detector.cohorts
    batch = shifted(stream(rng, 4_000, 100), np.arange(4_000), 1.0)
    codes = detector.watch.codes(batch)
    vector = code.sums(codes, np.full(4_000, "one", dtype=object))["one"]
    exact, _ = code.shift(0, 0, np.bincount(codes[:, 0], minlength=N_BINS))
    assert code.share_of(0, 0, vector) == pytest.approx(exact, rel=0.25)


def test_the_cohorts_of_a_suspicion_are_bounded() -> None:
    cohorts = Cohorts.none(4)
    for i in range(30):
        cohorts = cohorts.plus({f"c{i}-{k}": np.full(5, k + 1) for k in range(50)})
    assert len(cohorts.names) <= 200
    assert cohorts.vectors[0, 0] == 50


def hourly(rng: np.random.Generator, days: int, shift: float = 0.0) -> EventBatch:
    """Three regions whose column lies far apart, and within each follows the day a little."""
    batch = stream(rng, days * 4_800)
    at = np.sort(rng.uniform(0, days * 86_400.0, len(batch)))
    place = np.select([batch.segments["region"] == name for name in ("north", "south")], [-10.0, 10.0], 0.0)
    numeric = batch.numeric.copy()
    numeric[:, 0] += place + 2 * np.sin(2 * np.pi * at / 86_400.0)
    numeric[batch.segments["region"] == "south", 1] += shift
    return replace(batch, timestamp=at, numeric=numeric)


def test_the_rhythm_of_a_segment_is_no_drift_and_a_shift_beside_it_is() -> None:
    pane_s = 900.0
    rng = np.random.default_rng(6)
    reference = hourly(rng, 6)
    schema = infer_schema(reference)
    part = MarginalDrift.fit(reference, schema, pane_s, seed=0)
    assert isinstance(part, Part)
    detector = MarginalDrift.build(part, schema, AlarmBudget(1.0, pane_s))

    def found(batch: EventBatch) -> list[Reading]:
        pane, starts = np.unique(np.floor(batch.timestamp / pane_s), return_index=True)
        readings, evidence = [], {}
        for start, sketch in zip(pane * pane_s, detector.sketch(batch, starts), strict=True):
            judgement = detector.judge(evidence, Pane(float(start), pane_s, 0, sketch))
            evidence.update(judgement.evidence)
            readings += judgement.readings
        return alarms(readings)

    assert not found(hourly(rng, 4))
    assert any("region=south" in reading.reason or reading.subject == MODEL for reading in found(hourly(rng, 2, 0.4)))
