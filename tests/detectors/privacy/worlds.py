"""A seeded stream whose events were looked up among training rows already: honest clients, and probes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detectors.base import Arrays, Level, Pane, Part, Reading, Subject, SubjectType
from detectors.batch import EventBatch, FloatArray, concatenate
from detectors.budget import AlarmBudget, shares_of
from detectors.privacy.detector import PrivacyDetector
from detectors.privacy.hashes import N_QUERY_CELLS, N_RECORD_CELLS, QUERY_CELL, RECORD_CELL, TRAINING_HIT
from detectors.schema import infer_schema

PANE_S = 600.0
DAY_S = 86_400.0


def client(
    name: str, times: FloatArray, hit: FloatArray, cell: FloatArray | None = None, record: FloatArray | None = None
) -> EventBatch:
    """Events of one client; ``hit`` is 0, 1 (near) or 2 (exact)."""
    rng = np.random.default_rng([len(times), *name.encode()])
    n = len(times)
    return EventBatch(
        model="m",
        version="",
        event_id=np.array([f"{name}-{i}" for i in range(n)], dtype=object),
        timestamp=np.asarray(times, dtype=np.float64),
        client_id=np.full(n, name, dtype=object),
        numeric_names=("x",),
        numeric=rng.normal(size=(n, 1)),
        annotations={
            TRAINING_HIT: np.asarray(hit, dtype=np.float64),
            QUERY_CELL: rng.integers(0, N_QUERY_CELLS, n).astype(np.float64) if cell is None else cell,
            RECORD_CELL: rng.integers(0, N_RECORD_CELLS, n).astype(np.float64) if record is None else record,
        },
    )


def honest(n_clients: int, seed: int, first_day: int, n_days: int, newcomer: bool = False) -> EventBatch:
    """Honest clients, unlike in volume and in how often they ask for what the model was trained on.

    Besides them ``health`` (one training row every five minutes), ``rescorer`` (every night two thousand records, nine
    in ten of them training rows) and, where asked for, ``big``, ten times as busy as others.
    """
    traits, rng = np.random.default_rng(seed), np.random.default_rng([seed, first_day])
    start, span = first_day * DAY_S, n_days * DAY_S
    parts = []
    for i in range(n_clients):
        volume, rate = 40.0 * np.exp(traits.normal()), traits.beta(0.3, 40.0)
        n = int(rng.poisson(volume * n_days))
        times = np.sort(start + rng.uniform(0, span, n))
        parts.append(client(f"c{i}", times, _hits(rng, n, rate)))
    ticks = np.arange(start, start + span, 300.0)
    parts.append(client("health", ticks, np.full(len(ticks), 2.0), np.full(len(ticks), 7.0)))
    for day in range(first_day, first_day + n_days):
        night = np.sort(day * DAY_S + rng.uniform(0, 3_600, 2_000))
        parts.append(client("rescorer", night, np.where(rng.random(2_000) < 0.9, 2.0, 0.0)))
    if newcomer:
        times = np.sort(start + rng.uniform(0, span, 400 * n_days))
        parts.append(client("big", times, _hits(rng, len(times), 0.01)))
    return joined(parts)


def probe(name: str, start: float, n: int, share: float, seed: int = 0) -> EventBatch:
    """Queries a minute apart, of which a share are training rows."""
    rng = np.random.default_rng(seed)
    return client(name, start + 60.0 * np.arange(n), np.where(rng.random(n) < share, 2.0, 0.0))


def walk(name: str, start: float, n: int, share: float, seed: int = 0) -> EventBatch:
    """Queries around one training row, near it but never the row itself."""
    rng = np.random.default_rng(seed)
    return client(name, start + 60.0 * np.arange(n), np.where(rng.random(n) < share, 1.0, 0.0), record=np.full(n, 3.0))


def _hits(rng: np.random.Generator, n: int, rate: float) -> FloatArray:
    drawn = rng.random(n)
    return np.where(drawn < rate, 2.0, np.where(drawn < 2.0 * rate, 1.0, 0.0))


def joined(parts: Sequence[EventBatch]) -> EventBatch:
    """One batch in order of time, annotations kept."""
    some = [part for part in parts if len(part)]
    whole = concatenate(some).annotate(
        **{name: np.concatenate([p.annotations[name] for p in some]) for name in some[0].annotations}
    )
    return whole.take(np.argsort(whole.timestamp, kind="stable"))


def fitted(reference: EventBatch) -> PrivacyDetector:
    schema = infer_schema(reference)
    part = PrivacyDetector.fit(reference, schema, PANE_S, 0)
    assert isinstance(part, Part), part
    return PrivacyDetector.build(part, schema, AlarmBudget(1.0, PANE_S, shares_of(["drift", "privacy"])))


def play(detector: PrivacyDetector, events: EventBatch) -> dict[str, list[tuple[float, Reading]]]:
    """Client → its alarms, with the time at which each was raised."""
    pane = np.floor(events.timestamp / PANE_S).astype(np.int64)
    starts = np.flatnonzero(np.diff(pane, prepend=-1))
    sizes = np.diff(np.append(starts, len(events)))
    evidence: dict[Subject, Arrays] = {}
    alarms: dict[str, list[tuple[float, Reading]]] = {}
    for start, n, sketch in zip(pane[starts], sizes, detector.sketch(events, starts), strict=True):
        item = Pane(float(start * PANE_S), PANE_S, int(n), sketch)
        wanted = {s: evidence[s] for s in detector.subjects(item) if s in evidence}
        judged = detector.judge(wanted, item)
        evidence.update(judged.evidence)
        for reading in judged.readings:
            if reading.subject.type is SubjectType.CLIENT and reading.level is Level.ALARM:
                alarms.setdefault(reading.subject.id, []).append((item.start + item.width_s, reading))
    return alarms
