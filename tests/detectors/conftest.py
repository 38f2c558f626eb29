"""A small service with three predicted classes, honest clients and thieves, all seeded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from detectors.base import Arrays, Level, Pane, Part, Reading, Subject, SubjectType
from detectors.batch import EventBatch
from detectors.budget import AlarmBudget
from detectors.extraction.detector import ExtractionDetector
from detectors.schema import Schema, infer_schema
from detectors.sketch import Sketch

START = 1.7e9
PANE_S = 60.0
WIDTH = 8
_CENTRES = np.random.default_rng(99).normal(0, 2.0, size=(3, WIDTH))
_MIX = np.random.default_rng(98).normal(0, 0.5, size=(WIDTH, WIDTH)) + np.eye(WIDTH)


def honest_rows(rng: np.random.Generator, n: int) -> np.ndarray:
    """Class-skewed rows of one client with an offset of its own."""
    label = rng.choice(3, n, p=rng.dirichlet([2.0, 2.0, 2.0]))
    return _CENTRES[label] + rng.normal(0, 1, (n, WIDTH)) @ _MIX + rng.normal(0, 0.15, WIDTH)


def thief_rows(rng: np.random.Generator, n: int) -> np.ndarray:
    """Rows drawn evenly over the whole range of every column."""
    return rng.uniform(-7, 7, (n, WIDTH))


def events(rows: Sequence[np.ndarray], clients: Sequence[str], rng: np.random.Generator, panes: int) -> EventBatch:
    """All clients' rows spread over ``panes`` panes of 60 s, in time order."""
    x = np.concatenate(rows)
    at = np.concatenate([np.sort(rng.uniform(0, panes * PANE_S, len(r))) for r in rows])
    order = np.argsort(at, kind="stable")
    x, at = x[order], at[order]
    gaps = -0.5 * ((x[:, None, :] - _CENTRES) ** 2).sum(axis=2)
    scores = np.exp(gaps - gaps.max(axis=1, keepdims=True))
    scores /= scores.sum(axis=1, keepdims=True)
    return EventBatch(
        model="m",
        version="1",
        event_id=np.array([str(i) for i in range(len(x))], dtype=object),
        timestamp=START + at,
        client_id=np.repeat(np.array(clients, dtype=object), [len(r) for r in rows])[order],
        numeric_names=tuple(f"x{j}" for j in range(WIDTH)),
        numeric=x,
        probabilities=scores,
        classes=("a", "b", "c"),
        prediction=np.array(["abc"[i] for i in scores.argmax(axis=1)], dtype=object),
    )


def crowd(seed: int, n_clients: int, panes: int, name: str = "honest") -> EventBatch:
    """Honest clients with heavy-tailed volume; the first is a health check that repeats three inputs."""
    rng = np.random.default_rng(seed)
    rows = [honest_rows(rng, int(np.clip(rng.lognormal(4.6, 0.6), 30, 500))) for _ in range(n_clients)]
    rows[0] = honest_rows(rng, 3)[rng.integers(3, size=200)]
    return events(rows, [f"{name}-{i}" for i in range(n_clients)], rng, panes)


def without(batch: EventBatch, *columns: str) -> EventBatch:
    """The batch with columns blanked, as a service that logs less would send it."""
    blank: dict[str, Any] = {name: None for name in columns if name != "numeric"}
    if "numeric" in columns:
        blank |= {"numeric_names": (), "numeric": np.empty((len(batch), 0))}
    return replace(batch, **blank)


@dataclass(frozen=True)
class Service:
    """A fitted detector and how to run it over events."""

    detector: ExtractionDetector
    part: Part
    schema: Schema

    @classmethod
    def fit(cls, reference: EventBatch, alarms_per_week: float = 1.0) -> Service:
        schema = infer_schema(reference)
        part = ExtractionDetector.fit(reference, schema, PANE_S, seed=3)
        assert isinstance(part, Part)
        return cls(ExtractionDetector.build(part, schema, AlarmBudget(alarms_per_week, PANE_S)), part, schema)

    def sketches(self, batch: EventBatch, panes: int) -> list[Sketch]:
        batch = self.detector.new_memory().annotate(batch)
        starts = np.searchsorted(batch.timestamp, START + PANE_S * np.arange(panes))
        return list(self.detector.sketch(batch, starts))

    def readings(self, batch: EventBatch, panes: int) -> list[list[Reading]]:
        """The readings of each pane."""
        return self.judged(self.sketches(batch, panes))

    def judged(self, sketches: Sequence[Sketch]) -> list[list[Reading]]:
        evidence: dict[Subject, Arrays] = {}
        out = []
        for i, sketch in enumerate(sketches):
            pane = Pane(START + i * PANE_S, PANE_S, 0, sketch)
            judgement = self.detector.judge(
                {s: evidence[s] for s in self.detector.subjects(pane) if s in evidence}, pane
            )
            evidence.update(judgement.evidence)
            out.append(list(judgement.readings))
        return out


def accused(panes: Sequence[Sequence[Reading]], level: Level = Level.ALARM) -> set[str]:
    """Clients with a reading at that level."""
    clients = (r for readings in panes for r in readings if r.subject.type is SubjectType.CLIENT)
    return {r.subject.id for r in clients if r.level is level}


@pytest.fixture(scope="session")
def service() -> Service:
    """Fitted on forty honest clients."""
    return Service.fit(crowd(1, 40, 200, "ref"))


@pytest.fixture(scope="session")
def few_clients() -> Service:
    """Fitted on five honest clients, too few to know what is usual."""
    return Service.fit(crowd(71, 5, 200, "ref"))


@pytest.fixture(scope="session")
def kit() -> Callable[[str], Any]:
    """Builders by name, so that test modules need no import from here."""
    return lambda name: globals()[name]
