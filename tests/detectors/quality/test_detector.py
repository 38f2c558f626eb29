"""Honest traffic with a day's season, bursts and memory raises nothing for weeks; what breaks is found and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from detectors.base import MODEL, Arrays, Level, Pane, Reading, Subject, SubjectType
from detectors.batch import EventBatch
from detectors.quality.detector import QualityDetector
from tests.detectors.quality.traffic import (
    DAY_S,
    PANE_S,
    START,
    Change,
    fitted,
    judged,
    renamed,
    repeated,
    stream,
    volumes,
    whole,
    without,
)

REFERENCE_DAYS = 3


@pytest.fixture(scope="module")
def detector() -> QualityDetector:
    first = START - REFERENCE_DAYS * DAY_S
    return fitted(whole(stream(volumes(REFERENCE_DAYS, 1), 2, first=first)))


def first_alarm(detector: QualityDetector, counts: np.ndarray, change: Change | None = None) -> tuple[int, Reading]:
    """Panes until the first alarm, and the alarm."""
    for start, reading in judged(detector, stream(counts, 5, change=change)):
        if reading.level is Level.ALARM:
            return round((start - START) / PANE_S) + 1, reading
    raise AssertionError("no alarm")


@pytest.mark.slow
def test_four_honest_weeks_raise_nothing() -> None:
    for seed in (11, 12):
        first = START - REFERENCE_DAYS * DAY_S
        mean = 15.0
        detector = fitted(whole(stream(volumes(REFERENCE_DAYS, seed, mean), seed, first=first)))
        alarms = [r for _, r in judged(detector, stream(volumes(28, seed + 100, mean), seed)) if r.level is Level.ALARM]
        assert alarms == []


def thinned(share: float) -> np.ndarray:
    return np.random.default_rng(6).binomial(volumes(1, 4), share)


def slower(batch: EventBatch, rng: np.random.Generator) -> EventBatch:
    assert batch.latency_ms is not None
    return replace(batch, latency_ms=2 * batch.latency_ms)


def as_text(batch: EventBatch, rng: np.random.Generator) -> EventBatch:
    values = np.array([f"{value:.2f}" for value in batch.numeric[:, 1]], dtype=object)
    kept = batch.numeric[:, [0, 2]]
    return replace(batch, numeric=kept, numeric_names=("amount", "score"), mixed={**batch.mixed, "age": values})


def new_city(batch: EventBatch, rng: np.random.Generator) -> EventBatch:
    city = batch.mixed["city"].copy()
    city[rng.random(len(batch)) < 0.3] = "Zug"
    return replace(batch, mixed={**batch.mixed, "city": city})


def nothing_numeric(batch: EventBatch, rng: np.random.Generator) -> EventBatch:
    return replace(batch, numeric=np.full_like(batch.numeric, np.nan))


def twice(batch: EventBatch, rng: np.random.Generator) -> EventBatch:
    return repeated(batch, 0.1, rng)


@pytest.mark.parametrize(
    ("counts", "change", "panes", "subject", "cause", "words"),
    [
        (lambda: thinned(0.2), None, 60, "", "volume", "Volume fell to"),
        (lambda: 4 * volumes(1, 4), None, 60, "", "volume", "Volume rose to"),
        (lambda: volumes(1, 4), without("amount", 0.2), 4, "amount", "columns", "Column amount is missing in"),
        (lambda: volumes(1, 4), without("amount"), 2, "amount", "columns", "Column amount has vanished"),
        (lambda: volumes(1, 4), renamed("amount", "sum"), 3, "", "schema", "carry a feature that the reference"),
        (lambda: volumes(1, 4), nothing_numeric, 3, "", "columns", "Column"),
        (lambda: volumes(1, 4), as_text, 3, "age", "columns", "Column age has changed its type"),
        (lambda: volumes(1, 4), new_city, 5, "city", "columns", "Column city has values never seen before"),
        (lambda: volumes(1, 4), twice, 20, "", "duplicates", "carry an id that came before"),
        (lambda: volumes(1, 4), slower, 3, "", "latency", "Half of the answers take more than"),
    ],
    ids=["a fifth", "fourfold", "nulls", "vanished", "renamed", "all", "type", "unseen", "duplicates", "latency"],
)
def test_what_breaks_is_found_and_named(
    detector: QualityDetector,
    counts: Callable[[], np.ndarray],
    change: Change | None,
    panes: int,
    subject: str,
    cause: str,
    words: str,
) -> None:
    delay, alarm = first_alarm(detector, counts(), change)
    assert delay <= panes
    assert alarm.subject == (Subject(SubjectType.FEATURE, subject) if subject else MODEL)
    assert alarm.detail["cause"] == cause
    assert words in alarm.reason
    assert alarm.detail["checks"][0]["evidence_share"] > 0


def test_columns_that_break_together_are_one_incident_of_the_model(detector: QualityDetector) -> None:
    _, alarm = first_alarm(detector, volumes(1, 4), nothing_numeric)
    assert {change["name"] for change in alarm.detail["columns"]} == {"amount", "age", "score"}


def test_two_causes_at_once_are_both_told(detector: QualityDetector) -> None:
    def both(batch: EventBatch, rng: np.random.Generator) -> EventBatch:
        return slower(without("amount")(batch, rng), rng)

    panes = islice(stream(volumes(1, 4), 5, change=both), 10)
    alarms = {(r.subject.id, r.detail["cause"]) for _, r in judged(detector, panes) if r.level is Level.ALARM}
    assert alarms == {("amount", "columns"), ("", "latency")}


def test_a_log_that_ends_inside_a_pane_raises_nothing(detector: QualityDetector) -> None:
    counts = volumes(1, 8)[:100]
    counts[0], counts[-1] = 1, 1
    assert all(r.level is not Level.ALARM for _, r in judged(detector, stream(counts, 9)))


def test_traffic_logged_at_a_tenth_is_not_a_fall_when_it_says_so(detector: QualityDetector) -> None:
    def sampled(batch: EventBatch, rng: np.random.Generator) -> EventBatch:
        return replace(batch, sampling_rate=np.full(len(batch), 0.1))

    panes = islice(stream(thinned(0.1), 5, change=sampled), 150)
    assert all(r.level is not Level.ALARM for _, r in judged(detector, panes))


def test_labels_that_come_alone_are_neither_volume_nor_missing_features(detector: QualityDetector) -> None:
    def with_labels(batch: EventBatch, rng: np.random.Generator) -> EventBatch:
        n = len(batch)
        absent = np.full(n, None, dtype=object)
        return EventBatch(
            model="m",
            version="",
            event_id=np.concatenate([batch.event_id, batch.event_id]),
            timestamp=np.concatenate([batch.timestamp, batch.timestamp]),
            numeric_names=batch.numeric_names,
            numeric=np.concatenate([batch.numeric, np.full_like(batch.numeric, np.nan)]),
            mixed={name: np.concatenate([values, absent]) for name, values in batch.mixed.items()},
            client_id=np.concatenate([batch.client_id, batch.client_id]),
            prediction=np.concatenate([batch.prediction, absent]),
            label=np.concatenate([absent, np.full(n, "yes", dtype=object)]),
        )

    panes = islice(stream(volumes(1, 4), 5, change=with_labels), 100)
    assert all(r.level is not Level.ALARM for _, r in judged(detector, panes))


def state_after(detector: QualityDetector, panes: int, seed: int = 4) -> tuple[dict[Subject, Arrays], float]:
    """The evidence after so many panes, and where they end."""
    kept: dict[Subject, Arrays] = {}
    for start, batch in islice(stream(volumes(1, seed), 5), panes):
        (sketch,) = detector.sketch(batch, np.array([0]))
        kept.update(detector.judge(kept, Pane(start, PANE_S, len(batch), sketch)).evidence)
    return kept, start + PANE_S


def test_silence_is_an_alarm_after_three_panes_whenever_it_is_asked(detector: QualityDetector) -> None:
    evidence, end = state_after(detector, 40)
    assert detector.judge_silence(evidence, end + 2 * PANE_S) is None
    found = [detector.judge_silence(evidence, end + panes * PANE_S) for panes in (3, 4, 1_000, 1_000_000)]
    assert {silence.pane_start for silence in found if silence} == {end + 2 * PANE_S}
    assert len({silence.judgement.readings[0].reason for silence in found if silence}) == 1
    told = {**evidence, **found[0].judgement.evidence}
    assert detector.judge_silence(told, end + 1e9) is None


def test_a_gap_is_an_alarm_of_the_pane_that_ends_it(detector: QualityDetector) -> None:
    counts = volumes(1, 4)[:120]
    counts[60:100] = 0
    alarms = [(s, r) for s, r in judged(detector, stream(counts, 5)) if r.level is Level.ALARM]
    assert [(round((s - START) / PANE_S), r.detail["cause"]) for s, r in alarms] == [(100, "silence")]


@pytest.mark.slow
def test_a_model_that_rests_by_nature_is_not_silent() -> None:
    """Ten minutes of work, two hours of rest: what the reference did, its stream may do."""

    def counts(days: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        out = np.zeros(int(days * DAY_S / PANE_S), dtype=np.int64)
        at = 0
        while at < len(out):
            out[at : at + 2] = rng.poisson(40, size=len(out[at : at + 2]))
            at += 2 + rng.integers(12, 36)
        return out

    detector = fitted(whole(stream(counts(3, 1), 2, first=START - 3 * DAY_S)))
    assert all(r.level is not Level.ALARM for _, r in judged(detector, stream(counts(28, 3), 4)))
    evidence, end = {}, START
    for start, batch in stream(counts(1, 5), 6):
        (sketch,) = detector.sketch(batch, np.array([0]))
        evidence.update(detector.judge(evidence, Pane(start, PANE_S, len(batch), sketch)).evidence)
        end = start + PANE_S
    silence = detector.judge_silence(evidence, end + 30 * DAY_S)
    assert silence is not None
    assert 3 * 3_600 < silence.pane_start - end < 18 * 3_600


@pytest.mark.slow
def test_a_night_without_traffic_is_no_silence() -> None:
    def days(n: int, seed: int) -> np.ndarray:
        counts = np.random.default_rng(seed).poisson(20, size=int(n * DAY_S / PANE_S))
        counts[(np.arange(len(counts)) * PANE_S % DAY_S) < 8 * 3_600] = 0
        return counts

    detector = fitted(whole(stream(days(4, 1), 2, first=START - 4 * DAY_S)))
    panes = list(stream(days(14, 3), 4))
    assert all(r.level is not Level.ALARM for _, r in judged(detector, iter(panes)))


def test_names_that_a_sender_makes_up_do_not_fill_the_sketch(detector: QualityDetector) -> None:
    (_, batch) = next(stream(volumes(1, 4), 5))
    made_up = {f"{i}-{'x' * 500}": np.full(len(batch), "v", dtype=object) for i in range(3_000)}
    (sketch,) = detector.sketch(replace(batch, mixed={**batch.mixed, **made_up}), np.array([0]))
    names = sketch.part("schema").keyed["names"]
    assert len(names) == 32
    assert max(map(len, names)) == 80
    assert len(sketch.to_bytes()) < 20_000
