"""OOD scorer: how strange one event is, as a score and as a p-value, from whatever it logged.

Every source (``sources.py``) gives component scores. Each is ranked against scores that held-out reference rows got
from models that had not seen them (cross-fitting: every row is held out once, none is wasted) and becomes −log p. The
components of an event meet in ::

    strangeness = log sum_i 1/p_i  +  sum over sources of mean over its core of −log p_i

so that one component that is certain is enough, and agreement of the usually right ones decides the rest. Strangeness
is ranked once more against its own held-out values, among reference rows that logged the same inputs and got the same
answer, where there are enough of them: the final p-value is uniform for events like the reference, whatever was missing
and however dependent the components are, and within every frequent class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from detectors.base import Part, Unfit
from detectors.batch import EventBatch, FloatArray, IntArray, ObjectArray
from detectors.ood.base import MIN_ROWS, Component, Learning, Side, Source
from detectors.ood.calibration import Calibration, two_sided
from detectors.ood.crossfit import FEW, check_head, cross_fit, layout
from detectors.ood.encoding import Vocabulary
from detectors.ood.features import ColumnBlame, FeatureSource
from detectors.ood.head import Head
from detectors.ood.inputs import Inputs, predicted_classes
from detectors.ood.sources import SOURCES
from detectors.schema import Schema

MAX_REFERENCE = 20_000
MAX_CALIBRATION = 10_000
MIN_PATTERN = 50
MAX_CALIBRATIONS = 256
MIN_CLASS = 200
"""Held-out rows that a predicted class needs for a calibration of its own; the others share one."""
CHUNK = 8_192
BELOW = 1e-3
LAG = 0.35
"""How far, in ranks, held-out strangeness runs ahead of that of new events. The row that is largest in a component is
ranked among the others there, with its distance to the second added; a new event must beat that row and as much again.
With one component a new event that exceeds all is therefore second to the largest held-out one half of the time, with
c unlike ones one time in c + 1; measured over kinds of logs and sizes from 100 to 5,000 it is 0.4 to 0.5 ranks.
"""


class Basis(IntEnum):
    """What an event's p-value rests on."""

    NOTHING = 0
    """The event logged nothing that the reference can score: score and p-value are NaN."""
    BOUND = 1
    """Too few reference events logged these inputs together: smallest p times their number, valid but cautious."""
    SOME = 2
    """Some inputs are missing; calibrated for the ones that are there."""
    ALL = 3


@dataclass(frozen=True, slots=True, eq=False)
class OodScores:
    """Scores of n events.

    Attributes:
        score: (n,) float64, higher = stranger, −log of the p-value carried on beyond 1; NaN where nothing was scorable.
        p_value: (n,) float64 in (0, 1]. Below 1 / (held-out rows + 1) it is the model of a Pareto tail.
        components: name (such as ``features.near``) → (n,) p-value of that component, NaN where not scorable.
        basis: (n,) ``Basis`` of each p-value.
        least: (n,) the smallest p-value that ranks can give such an event; below it the Pareto tail speaks.
        missing: source (such as ``embedding``) → (n,) bool, the reference knows this input and the event lacks it.
    """

    score: FloatArray
    p_value: FloatArray
    components: Mapping[str, FloatArray]
    basis: IntArray
    least: FloatArray
    missing: Mapping[str, NDArray[np.bool_]]

    @property
    def modelled(self) -> NDArray[np.bool_]:
        """(n,) the p-value lies beyond every held-out rank: it is what a generalised Pareto tail makes of it."""
        return np.asarray(self.p_value < self.least * (1.0 - 1e-9))

    @property
    def rank_p_value(self) -> FloatArray:
        """(n,) conformal p-values: as ``p_value``, and never below what ranks can give."""
        return np.maximum(self.p_value, self.least)


@dataclass(frozen=True, slots=True, eq=False)
class _Combined:
    """(n,) score, basis, and the smallest p-value of ranks."""

    score: FloatArray
    basis: IntArray
    least: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class _Ranked:
    """A component with its calibration upwards, and downwards where it counts on both sides."""

    source: int
    component: Component
    up: Calibration
    down: Calibration | None

    @classmethod
    def learn(cls, source: int, component: Component, held_out: FloatArray) -> Self:
        down = Calibration.learn(-held_out) if component.side is Side.BOTH else None
        return cls(source, component, Calibration.learn(held_out), down)

    def surprises(self, scores: FloatArray) -> FloatArray:
        up = self.up.surprises(scores)
        return up if self.down is None else two_sided(up, self.down.surprises(-scores))


@dataclass(frozen=True, eq=False)
class OodScorer:
    """A fitted scorer; immutable but for a bounded memory of calibrations that depends on nothing else.

    Attributes:
        held_out: (m, c) −log p that held-out reference rows got from calibrations without them; NaN where missing.
        classes: predicted classes with a calibration of their own; ``held_out_class``: (m,) position in it, −1 others.
    """

    vocabulary: Vocabulary
    sources: tuple[Source, ...]
    ranked: tuple[_Ranked, ...]
    held_out: FloatArray
    classes: tuple[str, ...]
    held_out_class: IntArray
    _calibrations: dict[tuple[bytes, int], Calibration | None] = field(default_factory=dict, repr=False)

    @classmethod
    def fit(cls, reference: EventBatch, schema: Schema, seed: int, head: Head | None = None) -> Part | Unfit:
        """Learn from ordinary events; about a second for 5,000 events of 64 features on one core.

        Returns ``Unfit`` when fewer than 20 events log features, an embedding, logits or probabilities.

        Raises:
            ValueError: the head cannot be that of this model.
        """
        fitted = cls.learn(reference, schema, seed, head)
        return fitted if isinstance(fitted, Unfit) else fitted[0]

    @classmethod
    def learn(
        cls, reference: EventBatch, schema: Schema, seed: int, head: Head | None = None
    ) -> tuple[Part, IntArray, FloatArray] | Unfit:
        """As ``fit``, with the positions (m,) of the held-out reference events and their p-values (m,)."""
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.permutation(len(reference))[:MAX_REFERENCE])
        if len(chosen) < len(reference):
            reference = reference.take(chosen)
        vocabulary = Vocabulary.learn(reference, schema)
        inputs = Inputs.read_reference(reference, vocabulary)
        if head is not None:
            check_head(head, inputs)
        sources, raw = cross_fit(inputs, Learning(rng, head))
        if not sources:
            return Unfit(
                f"fewer than {MIN_ROWS} reference events log features, an embedding, logits or probabilities: "
                "log at least one of them to watch for strange inputs"
            )
        ranked = _rank(sources, raw)
        order = rng.permutation(len(raw))[:MAX_CALIBRATION]
        classes = _frequent(inputs.classes[order])
        member = _positions(inputs.classes[order], classes)
        scorer = cls(vocabulary, sources, ranked, _held_out_surprises(sources, raw[order]), classes, member)
        p_value = np.exp(-np.maximum(scorer._combine(scorer.held_out, member).score, 0.0))
        return scorer._to_part(seed), chosen[order], p_value

    @classmethod
    def build(cls, part: Part) -> Self:
        """The scorer of a fitted part."""
        by_name = {source.name: source for source in SOURCES}
        sources = []
        for name in part.facts["sources"]:
            cut = len(name) + 1
            own = {key[cut:]: value for key, value in part.arrays.items() if key.startswith(name + "/")}
            sources.append(by_name[name].from_arrays(own))
        ranked = []
        for i, (at, component) in enumerate(layout(sources)):
            up = Calibration.from_array(part.arrays[f"calibration/{i}/up"])
            down = part.arrays.get(f"calibration/{i}/down")
            ranked.append(_Ranked(at, component, up, None if down is None else Calibration.from_array(down)))
        return cls(
            Vocabulary.from_json(part.facts["vocabulary"], part.arrays),
            tuple(sources),
            tuple(ranked),
            np.asarray(part.arrays["held_out"], np.float64),
            tuple(part.facts["classes"]),
            np.asarray(part.arrays["held_out_class"], np.int64),
        )

    @property
    def n_held_out(self) -> int:
        """Held-out reference rows behind the p-values."""
        return len(self.held_out)

    @property
    def component_names(self) -> tuple[str, ...]:
        return tuple(f"{self.sources[r.source].name}.{r.component.name}" for r in self.ranked)

    @property
    def components(self) -> tuple[Component, ...]:
        return tuple(ranked.component for ranked in self.ranked)

    def score(self, batch: EventBatch) -> OodScores:
        """Scores of a batch: the same for an event whatever else is in the batch; memory bounded by chunks."""
        chunks = [
            self._surprises(batch.take(np.arange(at, min(at + CHUNK, len(batch)))))
            for at in range(0, len(batch), CHUNK)
        ]
        surprise = np.concatenate(chunks) if chunks else np.empty((0, len(self.ranked)))
        found = self._combine(surprise, _positions(predicted_classes(batch), self.classes))
        unknown = np.isnan(surprise)
        of_source = np.array([ranked.source for ranked in self.ranked])
        return OodScores(
            found.score,
            np.exp(-np.maximum(found.score, 0.0)),
            {name: np.exp(-surprise[:, i]) for i, name in enumerate(self.component_names)},
            found.basis,
            found.least,
            {source.name: np.all(unknown[:, of_source == i], axis=1) for i, source in enumerate(self.sources)},
        )

    @property
    def column_names(self) -> tuple[str, ...]:
        """Columns that ``blame`` speaks of; none where the reference logs no features."""
        return self.vocabulary.names if self._features is not None else ()

    def blame(self, batch: EventBatch) -> ColumnBlame:
        """Which of ``column_names`` make each event strange, beside its nearest reference rows."""
        source = self._features
        if source is None:
            return ColumnBlame(np.empty((len(batch), 0)), np.empty((len(batch), 0)))
        return source.blame(Inputs.read(batch, self.vocabulary))

    @property
    def _features(self) -> FeatureSource | None:
        return next((source for source in self.sources if isinstance(source, FeatureSource)), None)

    def _surprises(self, batch: EventBatch) -> FloatArray:
        inputs = Inputs.read(batch, self.vocabulary)
        raw = np.concatenate([source.scores(inputs) for source in self.sources], axis=1)
        return np.stack([r.surprises(raw[:, i]) for i, r in enumerate(self.ranked)], axis=1)

    def _combine(self, surprise: FloatArray, member: IntArray) -> _Combined:
        """Combine surprises (n, c) of events whose predicted classes are at ``member`` (n,) in ``classes``."""
        there = ~np.isnan(surprise)
        n = len(surprise)
        found = _Combined(np.full(n, np.nan), np.full(n, int(Basis.NOTHING)), np.full(n, np.nan))
        code = there @ (1 << np.arange(there.shape[1]))
        for value in np.unique(code):
            rows = np.flatnonzero(code == value)
            pattern = there[rows[0]]
            for group in np.unique(member[rows]) if pattern.any() else ():
                at = rows[member[rows] == group]
                part = self._of_pattern(surprise[at], pattern, int(group))
                found.score[at], found.basis[at], found.least[at] = part.score, part.basis, part.least
        return found

    def _of_pattern(self, surprise: FloatArray, pattern: NDArray[np.bool_], group: int) -> _Combined:
        calibration = self._calibration(pattern, group)
        n = len(surprise)
        if calibration is None:
            score = np.maximum(surprise[:, pattern].max(axis=1) - np.log(pattern.sum()), 0.0)
            least = min(pattern.sum() / (len(self.held_out) + 1.0), 1.0)
            return _Combined(score, np.full(n, int(Basis.BOUND)), np.full(n, least))
        strange = self._strangeness(surprise, pattern)
        below = np.minimum(strange - calibration.knots[0], 0.0)
        basis = Basis.ALL if pattern.all() else Basis.SOME
        return _Combined(
            calibration.surprises(strange) + BELOW * below,
            np.full(n, int(basis)),
            np.full(n, 1 / (calibration.n + 1.0)),
        )

    def _calibration(self, pattern: NDArray[np.bool_], group: int) -> Calibration | None:
        key = pattern.tobytes(), group
        if key not in self._calibrations:
            if len(self._calibrations) >= MAX_CALIBRATIONS:
                self._calibrations.clear()
            self._calibrations[key] = self._calibrate(pattern, group)
        return self._calibrations[key]

    def _calibrate(self, pattern: NDArray[np.bool_], group: int) -> Calibration | None:
        there = ~np.isnan(self.held_out)
        rows = (there == pattern).all(axis=1)
        if rows.sum() < 4 * MIN_PATTERN:
            rows = there[:, pattern].all(axis=1)
        if rows.sum() < min(MIN_PATTERN, 0.8 * len(there)):
            return None
        alike = rows & (self.held_out_class == group)
        if alike.sum() >= MIN_CLASS:
            rows = alike
        return Calibration.learn(self._strangeness(self.held_out[rows], pattern), LAG)

    def _strangeness(self, surprise: FloatArray, pattern: NDArray[np.bool_]) -> FloatArray:
        out = np.asarray(logsumexp(surprise[:, pattern], axis=1), dtype=np.float64)
        for at in range(len(self.sources)):
            core = [i for i, r in enumerate(self.ranked) if r.source == at and r.component.core and pattern[i]]
            if core:
                out = out + surprise[:, core].mean(axis=1)
        return out

    def _to_part(self, seed: int) -> Part:
        arrays: dict[str, NDArray[np.generic]] = {
            "held_out": self.held_out.astype(np.float32),
            "held_out_class": self.held_out_class,
            **self.vocabulary.to_arrays(),
        }
        for source in self.sources:
            arrays.update({f"{source.name}/{key}": value for key, value in source.to_arrays().items()})
        for i, ranked in enumerate(self.ranked):
            arrays[f"calibration/{i}/up"] = ranked.up.to_array()
            if ranked.down is not None:
                arrays[f"calibration/{i}/down"] = ranked.down.to_array()
        facts: dict[str, Any] = {
            "sources": [source.name for source in self.sources],
            "vocabulary": self.vocabulary.to_json(),
            "components": list(self.component_names),
            "classes": list(self.classes),
            "n_held_out": self.n_held_out,
            "seed": seed,
        }
        return Part(arrays, facts)


def _frequent(classes: ObjectArray) -> tuple[str, ...]:
    names, counts = np.unique(classes.astype(str), return_counts=True)
    return tuple(str(name) for name, count in zip(names, counts, strict=True) if name and count >= MIN_CLASS)


def _positions(classes: ObjectArray, names: Sequence[str]) -> IntArray:
    """(n,) position of each class among ``names``, −1 where it is none of them."""
    position = {name: i for i, name in enumerate(names)}
    return np.array([position.get(name, -1) for name in classes.tolist()], dtype=np.int64)


def _rank(sources: Sequence[Source], raw: FloatArray) -> tuple[_Ranked, ...]:
    return tuple(
        _Ranked.learn(at, component, raw[~np.isnan(raw[:, i]), i]) for i, (at, component) in enumerate(layout(sources))
    )


def _held_out_surprises(sources: Sequence[Source], raw: FloatArray) -> FloatArray:
    """(n, c) −log p of every held-out row by calibrations that did not see it; rows come in random order."""
    k = 10 if len(raw) < FEW else 5
    fold = np.arange(len(raw)) % k
    out = np.full(raw.shape, np.nan)
    for held in range(k):
        own = fold == held
        for i, (at, component) in enumerate(layout(sources)):
            known = raw[~own & ~np.isnan(raw[:, i]), i]
            if len(known) >= 2:
                out[own, i] = _Ranked.learn(at, component, known).surprises(raw[own, i])
    return out
