"""A seeded service with many unlike honest clients, awkward ones among them, and attackers from a known moment on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from detectors.abuse.detector import AbuseDetector
from detectors.base import Arrays, Level, Pane, Part, Reading, Subject, SubjectType
from detectors.batch import EventBatch, FloatArray, ObjectArray, concatenate
from detectors.budget import AlarmBudget, shares_of
from detectors.schema import infer_schema

PANE_S = 300.0
DAY_S = 86_400.0
REGIONS = ("north", "south", "east", "west")
CLASSES = tuple(f"k{i}" for i in range(20))
N_FEATURES = 6


@dataclass(frozen=True, slots=True)
class World:
    """Honest clients ``c0``...: unlike in volume, speed, mix of classes, carelessness and habits.

    Besides them ``health`` (three canned inputs every five minutes), ``nightly`` (a hundred times the median volume
    within one hour), and from day ``newcomer_from`` on ``big``, a new client with ten times the median volume.
    """

    n_clients: int
    seed: int
    per_day: float = 60.0
    newcomer_from: float = np.inf
    traffic_rise: float = 1.0
    """Everybody's volume, times this, in the second half of what is asked for."""
    slowdown: float = 1.0
    """Everybody's latency, times this, in the second half."""

    def events(self, first_day: int, n_days: int) -> EventBatch:
        """All honest events of some days, in order of time."""
        rng = np.random.default_rng([self.seed, first_day])
        traits = np.random.default_rng(self.seed)
        parts: list[EventBatch] = []
        middle = (first_day + n_days / 2) * DAY_S
        for i in range(self.n_clients):
            trait = _Trait.draw(traits, self.per_day)
            parts += [trait.day(rng, f"c{i}", day, middle, self) for day in range(first_day, first_day + n_days)]
        for day in range(first_day, first_day + n_days):
            parts += self._awkward(rng, day)
        return _sorted(parts)

    def _awkward(self, rng: np.random.Generator, day: int) -> list[EventBatch]:
        ticks = day * DAY_S + np.arange(0.0, DAY_S, 300.0)
        canned = np.tile(np.eye(3, N_FEATURES), (len(ticks) // 3, 1))
        north = np.full(len(ticks), "north", dtype=object)
        out = [batch(ticks, "health", canned, rng, latency=4.0 * np.ones(len(ticks)), region=north)]
        n = int(100 * self.per_day)
        night = np.sort(day * DAY_S + 2 * 3_600 + rng.uniform(0, 3_600, n))
        out.append(batch(night, "nightly", rng.normal(size=(n, N_FEATURES)), rng))
        if day >= self.newcomer_from:
            n = int(rng.poisson(10 * self.per_day))
            times = np.sort(day * DAY_S + rng.uniform(0, DAY_S, n))
            out.append(batch(times, "big", rng.normal(size=(n, N_FEATURES)), rng))
        return out


@dataclass(frozen=True, slots=True)
class _Trait:
    volume: float
    pace: float
    careless: float
    habit: float
    centre: FloatArray
    tilt: FloatArray

    @classmethod
    def draw(cls, rng: np.random.Generator, per_day: float) -> _Trait:
        return cls(
            volume=per_day * float(np.exp(rng.normal(scale=1.0))),
            pace=float(np.exp(rng.normal(scale=0.2))),
            careless=float(rng.beta(0.4, 30.0)),
            habit=float(rng.beta(0.5, 15.0)),
            centre=rng.normal(scale=0.5, size=N_FEATURES),
            tilt=rng.dirichlet(np.full(len(CLASSES), 1.5)),
        )

    def day(self, rng: np.random.Generator, name: str, day: int, middle: float, world: World) -> EventBatch:
        n = int(rng.poisson(self.volume * np.exp(rng.normal(scale=0.3)) * (0.5 if day % 7 >= 5 else 1.0)))
        hours = np.clip(rng.normal(14.0, 4.0, n), 0.0, 23.999)
        times = np.sort(day * DAY_S + hours * 3_600)
        if world.traffic_rise > 1.0:
            more = times[times >= middle]
            extra = np.repeat(more, int(world.traffic_rise) - 1)
            times = np.sort(np.concatenate([times, extra + rng.uniform(0, 60.0, len(extra))]))
        values = self.centre + rng.normal(size=(len(times), N_FEATURES))
        for i in np.flatnonzero(rng.random(len(times)) < self.habit):
            if i:
                values[i] = values[i - 1]
                values[i, rng.integers(N_FEATURES)] += rng.normal()
        values[rng.random(len(times)) < self.careless, rng.integers(N_FEATURES)] = np.nan
        latency = 10.0 * self.pace * np.exp(rng.normal(scale=0.4, size=len(times)))
        latency[times >= middle] *= world.slowdown
        return batch(times, name, values, rng, latency=latency, tilt=self.tilt)


def batch(
    times: FloatArray,
    client: str,
    values: FloatArray,
    rng: np.random.Generator,
    latency: FloatArray | None = None,
    tilt: FloatArray | None = None,
    region: ObjectArray | None = None,
) -> EventBatch:
    """Events of one client; classes follow the usual skew times ``tilt``."""
    n = len(times)
    skew = 1.0 / np.arange(1, len(CLASSES) + 1) ** 1.8 * (1.0 if tilt is None else tilt)
    return EventBatch(
        model="m",
        version="",
        event_id=np.array([f"{client}-{t:.3f}-{i}" for i, t in enumerate(times)], dtype=object),
        timestamp=np.asarray(times, dtype=np.float64),
        client_id=np.full(n, client, dtype=object),
        numeric_names=tuple(f"x{i}" for i in range(N_FEATURES)),
        numeric=np.asarray(values, dtype=np.float64).reshape(n, N_FEATURES),
        mixed={"region": rng.choice(np.array(REGIONS, dtype=object), size=n) if region is None else region},
        prediction=rng.choice(np.array(CLASSES, dtype=object), size=n, p=skew / skew.sum()),
        latency_ms=10.0 * np.exp(rng.normal(scale=0.4, size=n)) if latency is None else latency,
    )


def _sorted(parts: Sequence[EventBatch]) -> EventBatch:
    joined = concatenate([part for part in parts if len(part)])
    return joined.take(np.argsort(joined.timestamp, kind="stable"))


def joined(*parts: EventBatch) -> EventBatch:
    """Batches as one, in order of time."""
    return _sorted(parts)


def fitted(reference: EventBatch, alarms_per_week: float = 1.0) -> AbuseDetector:
    """The detector as production builds it for this reference."""
    schema = infer_schema(reference)
    part = AbuseDetector.fit(reference, schema, PANE_S, 0)
    assert isinstance(part, Part), part
    return AbuseDetector.build(part, schema, AlarmBudget(alarms_per_week, PANE_S, shares_of(["drift", "abuse"])))


@dataclass(frozen=True, slots=True)
class Played:
    """Client → readings at alarm, and at warning, in order; when each pane ended."""

    alarms: dict[str, list[tuple[float, Reading]]]
    warnings: dict[str, list[tuple[float, Reading]]]


def play(detector: AbuseDetector, events: EventBatch) -> Played:
    """Judge events pane by pane, as production does."""
    events = detector.new_memory().annotate(events)
    pane = np.floor(events.timestamp / PANE_S).astype(np.int64)
    starts = np.flatnonzero(np.diff(pane, prepend=-1))
    sizes = np.diff(np.append(starts, len(events)))
    evidence: dict[Subject, Arrays] = {}
    out = Played({}, {})
    for start, n, sketch in zip(pane[starts], sizes, detector.sketch(events, starts), strict=True):
        item = Pane(float(start * PANE_S), PANE_S, int(n), sketch)
        wanted = {s: evidence[s] for s in detector.subjects(item) if s in evidence}
        judged = detector.judge(wanted, item)
        evidence.update(judged.evidence)
        for reading in judged.readings:
            if reading.subject.type is SubjectType.CLIENT:
                kept = {Level.ALARM: out.alarms, Level.WARNING: out.warnings}.get(reading.level)
                if kept is not None:
                    kept.setdefault(reading.subject.id, []).append((item.start + item.width_s, reading))
    return out


def renamed(events: EventBatch, prefix: str) -> EventBatch:
    """The same events under other client ids."""
    assert events.client_id is not None
    names = np.array([prefix + c for c in events.client_id.tolist()], dtype=object)
    return replace(events, client_id=names)
