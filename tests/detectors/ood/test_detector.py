"""The OOD detector: exact sketches, silence in ordinary and mildly drifting traffic, speed when strangers come."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.arrays import pack_arrays, unpack_arrays
from detectors.base import MODEL, Kind, Level, Pane, Part, Unfit
from detectors.batch import EventBatch
from detectors.budget import AlarmBudget
from detectors.ood.detector import OodDetector
from detectors.ood.tally import MAX_KEYS, N_BINS, RANGES, Bets, Senders, bin_of, dispersion_of
from detectors.schema import infer_schema
from detectors.sketch import Sketch, total

PANE_S = 10.0
BUDGET = AlarmBudget(alarms_per_week=1.0, pane_s=PANE_S)
WIDTH = 6


def events(n: int, rng: np.random.Generator, start: float = 0.0, scale: float = 1.0, clients: int = 8) -> EventBatch:
    return EventBatch(
        model="m",
        version="1",
        event_id=np.array([f"e{i}" for i in range(n)], dtype=object),
        timestamp=start + np.arange(n) * PANE_S / 100,
        client_id=np.array([f"cam-{i}" for i in rng.integers(clients, size=n)], dtype=object),
        numeric_names=tuple(f"f{i}" for i in range(WIDTH)),
        numeric=rng.normal(size=(n, WIDTH)) * scale,
    )


def with_strangers(batch: EventBatch, rng: np.random.Generator, share: float, client: str | None = None) -> EventBatch:
    strange = rng.random(len(batch)) < share
    batch.numeric[strange] = rng.normal(size=(int(strange.sum()), WIDTH)) * 6
    if client is not None:
        batch.client_id[strange] = client
    return batch


@pytest.fixture(scope="module")
def detector() -> OodDetector:
    reference = events(3_000, np.random.default_rng(0))
    part = OodDetector.fit(reference, infer_schema(reference), PANE_S, 0)
    assert isinstance(part, Part)
    return OodDetector.build(part, infer_schema(reference), BUDGET)


def panes(detector: OodDetector, batch: EventBatch) -> list[Pane]:
    starts = np.arange(0, len(batch), 100)
    sketches = detector.sketch(batch, starts)
    return [Pane(float(batch.timestamp[at]), PANE_S, 100, s) for at, s in zip(starts, sketches, strict=True)]


def judged(detector: OodDetector, stream: list[Pane]):
    evidence, readings = {}, []
    for pane in stream:
        result = detector.judge(evidence, pane)
        evidence = {MODEL: unpack_arrays(pack_arrays(result.evidence[MODEL]))}
        readings += result.readings
    return evidence, readings


@pytest.mark.parametrize("seed", range(4))
def test_any_cut_of_a_stream_gives_the_same_sketch(detector, seed):
    rng = np.random.default_rng(seed)
    batch = with_strangers(events(1_500, rng), rng, 0.2)
    whole = detector.sketch(batch, np.array([0]))[0]
    cuts = np.sort(rng.choice(np.arange(1, 1_500), 12, replace=False))
    parts = [detector.sketch(batch.take(i), np.array([0]))[0] for i in np.split(np.arange(1_500), cuts)]
    rng.shuffle(parts)
    assert total(parts).to_bytes() != b""
    for joined in (total(parts), total(detector.sketch(batch, np.concatenate([[0], cuts])))):
        assert {k: v.tolist() for k, v in joined.totals.items()} == {k: v.tolist() for k, v in whole.totals.items()}
        assert {k: v.tolist() for k, v in joined.keyed["clients"].items()} == {
            k: v.tolist() for k, v in whole.keyed["clients"].items()
        }


@pytest.mark.slow
def test_ordinary_traffic_stays_within_the_budget(detector):
    """40 streams of 150 panes: 6,000 panes, where the budget of this kind expects at most 0.02 alarms."""
    levels = []
    for seed in range(40):
        rng = np.random.default_rng(1_000 + seed)
        _, readings = judged(detector, panes(detector, events(15_000, rng)))
        levels += [reading.level for reading in readings]
    assert levels.count(Level.ALARM) == 0
    assert set(levels) <= {Level.OK, Level.WARNING}


def test_a_mild_drift_is_not_out_of_distribution(detector):
    """Inputs spread a tenth wider double or treble the share of small p-values: tolerated."""
    rng = np.random.default_rng(5)
    stream = panes(detector, events(20_000, rng, scale=1.1))
    bins = total(pane.sketch for pane in stream).totals["bins"]
    assert bins[: RANGES[1]].sum() / bins.sum() > 0.015
    assert all(reading.level is not Level.ALARM for reading in judged(detector, stream)[1])


@pytest.mark.slow
@pytest.mark.parametrize(("share", "within"), [(0.5, 1), (0.1, 8), (0.05, 25)])
def test_strangers_raise_an_alarm_soon(detector, share, within):
    """Panes of 100 events, alarm budget one a week."""
    delays = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        stream = panes(detector, events(2_000, rng)) + panes(
            detector, with_strangers(events(4_000, rng, start=20 * PANE_S), rng, share)
        )
        _, readings = judged(detector, stream)
        alarms = [i for i, reading in enumerate(readings) if reading.level is Level.ALARM]
        assert alarms
        assert alarms[0] >= 20
        delays.append(alarms[0] - 19)
    assert np.median(delays) <= within


def test_an_alarm_says_what_and_who(detector):
    rng = np.random.default_rng(1)
    stream = panes(detector, with_strangers(events(3_000, rng), rng, 0.15, client="cam-x"))
    evidence, readings = judged(detector, stream)
    alarm = next(reading for reading in readings if reading.level is Level.ALARM)
    assert alarm.kind is Kind.OOD
    assert alarm.subject == MODEL
    assert alarm.log_evidence >= alarm.log_threshold
    assert alarm.effect >= alarm.minimum_effect
    assert "client cam-x alone explains it" in alarm.reason
    assert "stranger than 99 in 100 reference inputs (1 % expected)" in alarm.reason
    assert alarm.detail["clients"][0]["client"] == "cam-x"
    assert alarm.detail["n_strange"] == round(alarm.detail["share_strange"] * alarm.detail["n_events"])
    assert len(alarm.detail["p_bins"]) == len(alarm.detail["current"]) == N_BINS
    assert sum(alarm.detail["reference"]) == pytest.approx(1)
    assert alarm.since is not None
    assert alarm.since <= stream[-1].start
    assert evidence[MODEL]["n"][0] >= 1, "alarms are counted"


def test_an_alarm_empties_the_evidence(detector):
    rng = np.random.default_rng(1)
    pane = panes(detector, with_strangers(events(100, rng), rng, 0.9))[0]
    result = detector.judge({}, pane)
    assert result.readings[0].level is Level.ALARM
    assert np.all(result.evidence[MODEL]["log_evidence"] == -np.inf)
    assert result.evidence[MODEL]["counts"].sum() == 0


def test_a_calm_reading_is_small_and_dry(detector):
    rng = np.random.default_rng(1)
    _, readings = judged(detector, panes(detector, events(500, rng)))
    assert [reading.level for reading in readings] == [Level.OK] * 5
    assert all(reading.detail == {} and "tolerated" in reading.reason for reading in readings)


def test_few_events_and_empty_panes_are_warming(detector):
    reading = detector.judge({}, Pane(0.0, PANE_S, 0, Sketch())).readings[0]
    assert reading.level is Level.WARMING
    assert np.isfinite(reading.log_evidence)
    batch = events(5, np.random.default_rng(0))
    reading = detector.judge({}, Pane(0.0, PANE_S, 5, detector.sketch(batch, np.array([0]))[0])).readings[0]
    assert reading.level is Level.WARMING
    assert detector.subjects(Pane(0.0, PANE_S, 0, Sketch())) == (MODEL,)


def test_events_that_cannot_be_scored_are_counted_and_not_judged(detector):
    batch = events(50, np.random.default_rng(0))
    batch.numeric[:] = np.nan
    sketch = detector.sketch(batch, np.array([0]))[0]
    assert sketch.totals["basis"].tolist() == [50, 0, 0, 0]
    assert sketch.totals["bins"].sum() == 0
    assert sketch.keyed["clients"] == {}


def test_noisy_devices_in_the_reference_temper_the_evidence():
    rng = np.random.default_rng(0)
    pane = np.repeat(np.arange(100), 100)
    client = np.tile(np.repeat(np.arange(10), 10), 100)
    even = rng.random(10_000)
    noisy = np.where((client == 3) & (rng.random(100)[pane] < 0.3), even * 0.02, even)
    assert np.all(dispersion_of(even, pane, client) < 1.5)
    assert dispersion_of(noisy, pane, client)[1] > 2
    strict, lax = (Bets.design(5_000, np.full(3, d)) for d in (1.0, 4.0))
    assert np.all(lax.log_ratios[:, 0] < strict.log_ratios[:, 0])


@pytest.mark.parametrize("n_held_out", [100, 500, 5_000])
def test_every_bet_is_fair_up_to_its_tolerated_rate(n_held_out):
    """E[L] <= 1 for every rate of p <= alpha from 0 to alpha, with the overdispersion's temper."""
    bets = Bets.design(n_held_out, np.array([1.0, 1.3, 2.0]))
    assert bets.weights.sum() == pytest.approx(1)
    for alpha, log_ratio in zip(bets.alpha, bets.log_ratios, strict=True):
        inside = np.arange(N_BINS) < RANGES[alpha]
        for rate in (0.0, (0.001, 0.01, 0.05)[alpha], (0.008, 0.03, 0.1)[alpha]):
            share = np.where(inside, rate / inside.sum(), (1 - rate) / (~inside).sum())
            assert np.sum(share * np.exp(log_ratio)) <= 1 + 1e-9


def test_small_references_need_more_strangers():
    """The extremes of few held-out events are uncertain, so bets on the smallest p-values start from a higher rate."""
    small, large = (Bets.design(n, np.ones(3)) for n in (200, 5_000))
    first = np.flatnonzero(large.alpha == 0)[0]
    assert 0 < small.log_ratios[first, 0] < large.log_ratios[first, 0]


def test_p_values_at_an_edge_belong_below_it():
    assert bin_of(np.array([0.0005, 0.001, 0.01, 0.05, 0.0500001, 1.0])).tolist() == [2, 3, 6, 8, 9, 11]


def test_client_counts_are_bounded_and_keep_the_strangest():
    clients = Senders.none()
    for i in range(40):
        clients = clients.plus({f"c{i}-{j}": np.array([10, j, 0]) for j in range(10)})
    assert len(clients.names) == MAX_KEYS
    assert clients.counts[:40, 1].tolist() == [9] * 40


def test_a_model_that_logs_no_inputs_is_unfit():
    batch = events(100, np.random.default_rng(0))
    bare = EventBatch("m", "1", batch.event_id, batch.timestamp)
    assert isinstance(OodDetector.fit(bare, infer_schema(bare), PANE_S, 0), Unfit)


def tabular(n: int, seed: int, strange: float = 0.0) -> EventBatch:
    """Two segments; strange events have an amount out of all bounds, a job that never was, and a region that is new."""
    rng = np.random.default_rng(seed)
    odd = rng.random(n) < strange
    amount = np.where(odd, 900.0, rng.normal(10, 2, size=n))
    region = np.where(odd, "moon", rng.choice(["north", "south"], n)).astype(object)
    return EventBatch(
        model="m",
        version="1",
        event_id=np.array([f"e{i}" for i in range(n)], dtype=object),
        timestamp=np.arange(n) * PANE_S / 100,
        numeric_names=("amount", "age"),
        numeric=np.stack([amount, rng.normal(40, 10, size=n)], axis=1),
        mixed={"job": np.where(odd, "alien", rng.choice(["clerk", "cook"], n)).astype(object)},
        embedding=rng.normal(size=(n, 6)),
        segments={"region": region},
    )


@pytest.fixture(scope="module")
def told() -> OodDetector:
    reference = tabular(2_000, 0)
    part = OodDetector.fit(reference, infer_schema(reference), PANE_S, 0)
    assert isinstance(part, Part)
    return OodDetector.build(part, infer_schema(reference), BUDGET)


def alarm_over(detector: OodDetector, batch: EventBatch):
    return next(r for r in judged(detector, panes(detector, batch))[1] if r.level is Level.ALARM)


def test_an_alarm_says_which_columns_are_strange_and_how_far(told):
    alarm = alarm_over(told, tabular(1_000, 1, strange=0.2))
    by_name = {item["name"]: item for item in alarm.detail["strange_columns"]}
    assert "sd above the reference rows nearest" in by_name["amount"]["words"]
    assert by_name["job"]["words"] == "job has values that were never seen"
    assert by_name["amount"]["share"] > 0.9
    assert by_name["age"]["share"] < 0.2 if "age" in by_name else True
    assert "amount is" in alarm.reason
    assert alarm.detail["because"][0]["words"].startswith("its features")


def test_an_alarm_says_which_segments_and_new_values_of_a_key_are_one(told):
    segments = alarm_over(told, tabular(1_000, 1, strange=0.2)).detail["strange_segments"]
    assert segments[0]["segment"] == "region=(new)"
    assert segments[0]["n_strange"] > 0.9 * segments[0]["n"]
    assert {item["segment"] for item in segments} <= {"region=(new)", "region=north", "region=south"}


def test_missing_inputs_are_said_in_calm_readings_and_in_alarms(told):
    batch = tabular(1_000, 1, strange=0.2)
    batch.embedding[:] = np.where(np.arange(1_000)[:, None] % 2, batch.embedding, np.nan)
    alarm = alarm_over(told, batch)
    assert "50 % lack embedding, and are scored by what is left" in alarm.reason
    (missing,) = alarm.detail["inputs_missing"]
    assert missing["input"] == "embedding"
    assert missing["share"] == pytest.approx(0.5, abs=0.1)
    calm = tabular(500, 2)
    calm.embedding[:] = np.nan
    assert "100 % lack embedding" in judged(told, panes(told, calm))[1][-1].reason


def test_events_are_called_one_by_one_at_a_false_discovery_rate(told):
    alarm = alarm_over(told, tabular(1_000, 1, strange=0.2))
    assert 0.8 * alarm.detail["n_strange"] <= alarm.detail["n_one_by_one"] <= alarm.detail["n_events"]
    assert alarm.detail["false_discovery_rate"] == 0.1


def test_the_strangest_events_of_every_slice_are_exhibited_and_the_sketch_is_the_same(told):
    batch = tabular(400, 3, strange=0.1)
    starts = np.array([0, 150, 300])
    shown = told.exhibit(batch, starts)
    for exhibit, sketch, (a, b) in zip(
        shown, told.sketch(batch, starts), ((0, 150), (150, 300), (300, 400)), strict=True
    ):
        assert exhibit.sketch.to_bytes() == sketch.to_bytes()
        assert 1 <= len(exhibit.events) <= 10
        assert all(a <= event.position < b for event in exhibit.events)
        assert [event.score for event in exhibit.events] == sorted((e.score for e in exhibit.events), reverse=True)
    worst = shown[0].events[0]
    assert worst.event_id == batch.event_id[worst.position]
    assert {name for name, _, _ in worst.columns} >= {"amount", "job"}
    assert {name: words for name, _, words in worst.columns}["job"] == "never seen"
    assert worst.because
