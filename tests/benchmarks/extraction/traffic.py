"""Traffic: what some clients asked, in time order, and what the detector makes of it pane by pane."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from detectors.base import Arrays, Level, Pane, Part, Subject, SubjectType
from detectors.batch import EventBatch
from detectors.budget import AlarmBudget
from detectors.extraction.detector import ExtractionDetector
from detectors.schema import infer_schema
from tests.benchmarks.extraction.worlds import Answers, Rows, World

PANES = 20
PANE_S = 60.0
START = 1.7e9 - 1.7e9 % PANE_S
BUDGET = AlarmBudget(1.0, PANE_S)
NEVER = 10**9


@dataclass(frozen=True, eq=False)
class Stream:
    """One client's queries (n, p) in order, and the time of each in panes, ascending."""

    client: str
    sort: str
    rows: Rows
    at: Rows


@dataclass(frozen=True, eq=False)
class Traffic:
    """Streams side by side: ``rows`` and ``answers`` in time order, ``client`` (n,) is a position in ``names``."""

    names: tuple[str, ...]
    sorts: tuple[str, ...]
    rows: Rows
    at: Rows
    client: Rows
    answers: Answers

    @classmethod
    def of(cls, world: World, streams: Sequence[Stream]) -> Traffic:
        at = np.concatenate([s.at for s in streams])
        order = np.argsort(at, kind="stable")
        rows = np.concatenate([s.rows for s in streams])[order]
        client = np.repeat(np.arange(len(streams)), [len(s.rows) for s in streams])[order]
        names, sorts = tuple(s.client for s in streams), tuple(s.sort for s in streams)
        return cls(names, sorts, rows, at[order], client, world.answer(rows))

    def __len__(self) -> int:
        return len(self.at)

    def batch(self, world: World, visibility: str, prefix: str = "e") -> EventBatch:
        names = np.array(self.names, dtype=object)[self.client]
        return world.batch(self.rows, self.answers, names, START + PANE_S * self.at, visibility, prefix)

    def seen(self) -> Rows:
        """(clients, PANES) queries of each client up to the end of each pane."""
        count = np.zeros((len(self.names), PANES), dtype=np.int64)
        np.add.at(count, (self.client, np.minimum(self.at.astype(int), PANES - 1)), 1)
        return count.cumsum(axis=1)

    def by_client(self) -> list[Rows]:
        """Each client's positions, in time order."""
        order = np.argsort(self.client, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.client, minlength=len(self.names)))[:-1])


@dataclass(frozen=True)
class Watch:
    """A detector fitted to a reference at one visibility, and how long that took."""

    detector: Any
    visibility: str
    part: Part

    @classmethod
    def on(cls, world: World, reference: Traffic, visibility: str, seed: int, kind: Any = ExtractionDetector) -> Watch:
        batch = reference.batch(world, visibility, "r")
        schema = infer_schema(batch)
        part = kind.fit(batch, schema, PANE_S, seed)
        if not isinstance(part, Part):
            raise RuntimeError(f"{kind.__name__} cannot watch {world.name} by {visibility}: {part.reason}")
        return cls(kind.build(part, schema, BUDGET), visibility, part)

    def panes(self, world: World, traffic: Traffic) -> list[Pane]:
        """One pane a slice of time, sketched through rings as a worker would."""
        batch = traffic.batch(world, self.visibility)
        if hasattr(self.detector, "new_memory"):
            batch = self.detector.new_memory().annotate(batch)
        starts = np.searchsorted(traffic.at, np.arange(PANES))
        sizes = np.diff(np.append(starts, len(batch)))
        sketches = self.detector.sketch(batch, starts)
        return [Pane(START + i * PANE_S, PANE_S, int(sizes[i]), sketch) for i, sketch in enumerate(sketches)]


def beside(crowd: Sequence[Pane], others: Sequence[Pane]) -> list[Pane]:
    """The panes of both together."""
    pairs = zip(crowd, others, strict=True)
    return [Pane(a.start, a.width_s, a.n_events + b.n_events, a.sketch + b.sketch) for a, b in pairs]


@dataclass
class Named:
    """Who was named, and in which pane first: client → pane, at each level, and the groups that were named.

    ``groups`` raised an alarm, ``suspected`` at least a warning; ``alone`` are clients under an alarm of their own.
    """

    alarm: dict[str, int] = field(default_factory=dict)
    warning: dict[str, int] = field(default_factory=dict)
    groups: list[tuple[str, ...]] = field(default_factory=list)
    suspected: list[tuple[str, ...]] = field(default_factory=list)
    alone: set[str] = field(default_factory=set)

    def note(self, subject: Subject, level: Level, pane: int) -> None:
        if subject.type is SubjectType.CLIENT:
            members: tuple[str, ...] = (subject.id,)
            if level is Level.ALARM:
                self.alone.add(subject.id)
        elif subject.type is SubjectType.CLIENT_GROUP:
            members = subject.members
            for known in (self.suspected, self.groups) if level is Level.ALARM else (self.suspected,):
                if members not in known:
                    known.append(members)
        else:
            return
        for member in members:
            self.warning.setdefault(member, pane)
            if level is Level.ALARM:
                self.alarm.setdefault(member, pane)


def play(detector: Any, panes: Iterable[Pane], until: str | None = None) -> Named:
    """Judge pane after pane; stops early once the client ``until`` is under alarm."""
    evidence: dict[Subject, Arrays] = {}
    named = Named()
    for i, pane in enumerate(panes):
        wanted = {s: evidence[s] for s in detector.subjects(pane) if s in evidence}
        judged = detector.judge(wanted, pane)
        evidence.update(judged.evidence)
        for reading in judged.readings:
            if reading.level in (Level.WARNING, Level.ALARM):
                named.note(reading.subject, reading.level, i)
        if until in named.alarm:
            break
    return named
