"""Seeded traffic of an honest model service: a day's season, bursts, a volume that remembers itself, retries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from detectors.base import Arrays, Pane, Part, Reading, Subject
from detectors.batch import EventBatch, concatenate
from detectors.budget import AlarmBudget
from detectors.quality.detector import QualityDetector
from detectors.schema import infer_schema

DAY_S = 86_400.0
PANE_S = 300.0
START = 20_000 * DAY_S
CITIES = np.array(["Bern", "Genf", "Basel", "Chur", "Thun"], dtype=object)
Change = Callable[[EventBatch, np.random.Generator], EventBatch]


def volumes(days: float, seed: int, mean: float = 40.0, pane_s: float = PANE_S, season: float = 0.7) -> np.ndarray:
    """(panes,) events a pane: a daily sine, an AR(1) of 0.9 in the logarithm, and bursts of single clients."""
    rng = np.random.default_rng(seed)
    n = int(days * DAY_S / pane_s)
    hour = np.arange(n) * pane_s / DAY_S
    log_level = np.zeros(n)
    for i in range(1, n):
        log_level[i] = 0.9 * log_level[i - 1] + rng.normal(scale=0.1)
    rate = mean * (1 + season * np.sin(2 * np.pi * hour)) * np.exp(log_level)
    bursts = (rng.random(n) < 0.02) * rng.poisson(mean / 2, size=n)
    return rng.poisson(rate) + bursts


def pane_events(start: float, n: int, rng: np.random.Generator, pane_s: float = PANE_S) -> EventBatch:
    """One pane's events: three numbers (one of them missing in 3 %), two categories, a latency, 1 % retries."""
    numeric = rng.normal(size=(n, 3))
    numeric[rng.random(n) < 0.03, 2] = np.nan
    batch = EventBatch(
        model="m",
        version="",
        event_id=np.array([f"{start:.0f}-{i}" for i in range(n)], dtype=object),
        timestamp=start + np.sort(rng.random(n)) * pane_s * 0.999,
        client_id=np.array([f"c{i}" for i in rng.integers(0, 50, size=n)], dtype=object),
        numeric_names=("amount", "age", "score"),
        numeric=numeric,
        mixed={"city": CITIES[rng.integers(0, 5, size=n)], "kind": rng.choice(np.array(["a", "b"], dtype=object), n)},
        prediction=rng.choice(np.array(["yes", "no"], dtype=object), n),
        latency_ms=rng.lognormal(3.0, 0.5, size=n),
    )
    return repeated(batch, 0.01, rng)


def repeated(batch: EventBatch, share: float, rng: np.random.Generator) -> EventBatch:
    """The same events, each with a chance of ``share`` of coming once more."""
    again = np.flatnonzero(rng.random(len(batch)) < share)
    return batch.take(np.sort(np.concatenate([np.arange(len(batch)), again])))


def stream(
    counts: Sequence[int], seed: int, first: float = START, change: Change | None = None, pane_s: float = PANE_S
) -> Iterator[tuple[float, EventBatch]]:
    """(start, events) of each pane that has any."""
    rng = np.random.default_rng(seed)
    for i, n in enumerate(counts):
        if n:
            start = first + i * pane_s
            batch = pane_events(start, int(n), rng, pane_s)
            yield start, batch if change is None else change(batch, rng)


def whole(panes: Iterator[tuple[float, EventBatch]]) -> EventBatch:
    """All events of the panes as one batch."""
    return concatenate([batch for _, batch in panes])


def fitted(reference: EventBatch, alarms_per_week: float = 1.0, pane_s: float = PANE_S) -> QualityDetector:
    """The detector of a reference, on its own share of a whole model's budget."""
    schema = infer_schema(reference)
    part = QualityDetector.fit(reference, schema, pane_s, 0)
    assert isinstance(part, Part)
    return QualityDetector.build(part, schema, AlarmBudget(alarms_per_week, pane_s))


def judged(
    detector: QualityDetector,
    panes: Iterator[tuple[float, EventBatch]],
    evidence: Mapping[Subject, Arrays] | None = None,
    pane_s: float = PANE_S,
) -> Iterator[tuple[float, Reading]]:
    """(pane start, reading) of every reading, panes judged in order."""
    kept = dict(evidence or {})
    for start, batch in panes:
        (sketch,) = detector.sketch(batch, np.array([0]))
        judgement = detector.judge(kept, Pane(start, pane_s, len(batch), sketch))
        kept.update(judgement.evidence)
        for reading in judgement.readings:
            yield start, reading


def without(name: str, share: float = 1.0) -> Change:
    """A change that loses ``share`` of a number's values."""

    def change(batch: EventBatch, rng: np.random.Generator) -> EventBatch:
        numeric = batch.numeric.copy()
        numeric[rng.random(len(batch)) < share, batch.numeric_names.index(name)] = np.nan
        return replace(batch, numeric=numeric)

    return change


def renamed(old: str, new: str) -> Change:
    """A change of a number's name."""

    def change(batch: EventBatch, rng: np.random.Generator) -> EventBatch:
        return replace(batch, numeric_names=tuple(new if name == old else name for name in batch.numeric_names))

    return change
