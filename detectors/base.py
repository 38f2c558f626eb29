"""What a detector is: two pure halves, one that sketches events and one that judges panes.

``sketch`` is the map side: it runs beside the consumer, vectorised over a batch. ``judge`` is the reduce side: it
runs once a pane and model version, on the exact sum of all sketches of that pane. Neither reads a clock, does I/O,
or draws random numbers; time, seeds and memory come in as arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from detectors.batch import EventBatch, IntArray
from detectors.budget import AlarmBudget
from detectors.schema import Schema
from detectors.sketch import Sketch

Arrays = Mapping[str, NDArray[np.generic]]
"""Named numpy arrays (numbers, bools or unicode, never objects): all that a part or an evidence state may hold."""


class Kind(StrEnum):
    """What an alert is about; closed set, part of the public contract."""

    DRIFT = "drift"
    OOD = "ood"
    EXTRACTION = "extraction"
    EVASION = "evasion"
    PRIVACY = "privacy"
    ABUSE = "abuse"
    QUALITY = "quality"
    PERFORMANCE = "performance"
    PIPELINE = "pipeline"


class Level(StrEnum):
    """A reading's verdict. ``WARMING`` is "not enough data yet", which is never a number."""

    WARMING = "warming"
    OK = "ok"
    WARNING = "warning"
    ALARM = "alarm"


class SubjectType(StrEnum):
    MODEL = "model"
    CLIENT = "client"
    CLIENT_GROUP = "client_group"
    FEATURE = "feature"
    SEGMENT = "segment"


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """Who or what a reading is about; ``id`` is ``""`` for the model as a whole."""

    type: SubjectType
    id: str = ""
    members: tuple[str, ...] = ()


MODEL = Subject(SubjectType.MODEL)


@dataclass(frozen=True, slots=True)
class Pane:
    """The sum of one detector's sketches over one slice of event time."""

    start: float
    width_s: float
    n_events: int
    sketch: Sketch


@dataclass(frozen=True, slots=True)
class Reading:
    """One detector's verdict on one pane for one subject.

    Attributes:
        log_evidence: natural logarithm of the running evidence against "nothing worth waking anyone for".
        log_threshold: where the alarm budget puts the alarm, on the same scale.
        effect, effect_unit: how large the change is, in words of the domain, independent of how sure we are.
        minimum_effect: an alarm needs at least this effect besides the evidence.
        since: event time (epoch seconds) at which the evidence began to rise.
        reason: one plain sentence that a person on call can act on.
        detail: JSON-ready facts behind the sentence (top columns, histograms, clients).
        specificity: of two alarms about the same thing, the one that explains more speaks for it.
    """

    detector: str
    kind: Kind
    subject: Subject
    level: Level
    log_evidence: float
    log_threshold: float
    effect: float
    effect_unit: str
    minimum_effect: float
    since: float | None
    reason: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    specificity: int = 1


@dataclass(frozen=True, slots=True)
class Judgement:
    """What judging one pane gave: the evidence to keep, by subject, and the readings."""

    evidence: Mapping[Subject, Arrays] = field(default_factory=dict)
    readings: Sequence[Reading] = ()


@dataclass(frozen=True, slots=True)
class Silence:
    """The verdict on a gap without events: the empty pane that raised it, and its judgement."""

    pane_start: float
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class Part:
    """What one detector keeps of the reference: compact arrays and JSON-ready facts, never raw rows of clients."""

    arrays: Arrays = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why a detector cannot watch this model; shown on the model's page."""

    reason: str


@dataclass(frozen=True, slots=True)
class StrangeEvent:
    """One event that a detector names: what of it may be kept without its values.

    Attributes:
        position: in the batch.
        score, p_value: higher, and smaller, is stranger; ``modelled``: the p-value lies beyond what ranks can say.
        because: finishes the sentence "the input is strange because …".
        columns: name, distance from the nearest reference rows in spreads (None where it is no number), and words.
        missing: inputs that the event lacks and the reference knows.
    """

    position: int
    event_id: str
    score: float
    p_value: float
    modelled: bool
    because: str
    columns: tuple[tuple[str, float | None, str], ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Exhibit:
    """The sketch of one slice, and the events in it that are worth a look, the strangest first."""

    sketch: Sketch
    events: tuple[StrangeEvent, ...] = ()


class Fitter(Protocol):
    """What learns a detector's part of a reference: the detector's class, or what stands in for it with more inputs."""

    @property
    def name(self) -> str: ...

    def fit(self, reference: EventBatch, schema: Schema, pane_s: float, seed: int) -> Part | Unfit: ...


class Detector(Protocol):
    """Contract of every detector; ``detectors/suite.py`` lists them, ``detectors/checks.py`` tests them."""

    name: ClassVar[str]
    kind: ClassVar[Kind]

    @classmethod
    def fit(cls, reference: EventBatch, schema: Schema, pane_s: float, seed: int) -> Part | Unfit:
        """Learn what normal looks like from ``reference`` (ordinary events, in event-time order)."""
        ...

    @classmethod
    def build(cls, part: Part, schema: Schema, budget: AlarmBudget) -> Self:
        """The detector for a fitted part under an alarm budget."""
        ...

    def sketch(self, batch: EventBatch, starts: IntArray) -> Sequence[Sketch]:
        """One sketch per slice; slice ``i`` is ``batch[starts[i]:starts[i + 1]]``, the last one ends the batch."""
        ...

    def subjects(self, pane: Pane) -> Sequence[Subject]:
        """Whose evidence ``judge`` will want for this pane."""
        ...

    def judge(self, evidence: Mapping[Subject, Arrays], pane: Pane) -> Judgement:
        """Fold the pane into the evidence; a subject without evidence yet is absent from the mapping."""
        ...


@runtime_checkable
class Exhibits(Protocol):
    """What a detector is besides when it can name single events."""

    def exhibit(self, batch: EventBatch, starts: IntArray) -> Sequence[Exhibit]:
        """As ``sketch``, with the events of every slice that are worth a look; a bounded number of them."""
        ...


@runtime_checkable
class JudgesSilence(Protocol):
    """What a detector is besides when it also judges the time in which no events come."""

    def judge_silence(self, evidence: Mapping[Subject, Arrays], until: float) -> Silence | None:
        """The alarm of the gap since the last pane judged, if it is one by event time ``until``; once a gap.

        ``evidence`` is that of the model as a whole. The pane of the alarm is a function of it alone, so that it is
        the same whenever, and however often, this is asked.
        """
        ...

    def ends_silence(self, pane: Pane) -> bool:
        """Whether the pane holds what silence is the lack of; labels that come alone, later, are no sign of life."""
        ...
