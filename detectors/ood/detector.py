"""OOD detector: raises when more inputs are strange than the reference and mild drift explain.

Each event becomes a p-value (``scorer.py``), a pane the counts of p-values in twelve bins, and the counts the stakes of
bets on their rates (``tally.py``) whose evidence adds up over panes. Beside the counts a pane's sketch holds, as sums,
what makes its strange events strange: columns, scores, clients, segments, and inputs that were missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from detectors.base import (
    MODEL,
    Arrays,
    Exhibit,
    Judgement,
    Kind,
    Level,
    Pane,
    Part,
    Reading,
    StrangeEvent,
    Subject,
    Unfit,
)
from detectors.batch import EventBatch, FloatArray, IntArray, ObjectArray
from detectors.budget import AlarmBudget
from detectors.drift.segments import members_of
from detectors.evidence import NO_EVIDENCE, accumulate, log_mean
from detectors.keys import client_key
from detectors.ood.columns import columns_of, tally_columns
from detectors.ood.features import ColumnBlame
from detectors.ood.head import Head
from detectors.ood.scorer import Basis, OodScorer, OodScores
from detectors.ood.state import OodEvidence, Shape
from detectors.ood.tally import ALPHAS, N_BINS, RANGES, STRANGE, Bets, bin_of, dispersion_of
from detectors.ood.telling import WARM_EVENTS, calm_reason, detail_of, loud_reason
from detectors.schema import Schema
from detectors.sketch import Sketch

MINIMUM_EFFECT = 0.02
EFFECT_UNIT = "share of traffic"
WARNING_FACTOR = 100.0
LOG_QUIET = math.log(10.0)
LEAST_LOG_EVIDENCE = -50.0
"""What a reading shows for no evidence at all: a finite number, for JSON and databases."""
MOST_SEGMENTS = 50
MOST_EXHIBITED = 10
"""Strange events of one slice that are named one by one."""
NEW_SEGMENT = "(new)"


@dataclass(frozen=True, slots=True)
class OodFitter:
    """Fits the detector with the model's last layer, for ViM; stands in for the class where a reference is fitted."""

    head: Head
    name: ClassVar[str] = "ood"

    def fit(self, reference: EventBatch, schema: Schema, pane_s: float, seed: int) -> Part | Unfit:
        return _fit(reference, schema, pane_s, seed, self.head)


@dataclass(frozen=True, eq=False)
class OodDetector:
    """Watches one model for out-of-distribution inputs; see ``detectors.base.Detector``."""

    name: ClassVar[str] = "ood"
    kind: ClassVar[Kind] = Kind.OOD

    scorer: OodScorer
    bets: Bets
    log_threshold: float
    segments: tuple[str, ...]

    @classmethod
    def fit(cls, reference: EventBatch, schema: Schema, pane_s: float, seed: int) -> Part | Unfit:
        return _fit(reference, schema, pane_s, seed, None)

    @classmethod
    def build(cls, part: Part, schema: Schema, budget: AlarmBudget) -> Self:
        scorer = OodScorer.build(part)
        bets = Bets.design(scorer.n_held_out, np.array(part.facts["dispersion"]))
        return cls(scorer, bets, budget.log_threshold("ood"), tuple(part.facts["segments"]))

    @property
    def shape(self) -> Shape:
        scorer = self.scorer
        return Shape(len(self.bets.weights), len(scorer.sources), len(scorer.component_names), len(scorer.column_names))

    def sketch(self, batch: EventBatch, starts: IntArray) -> Sequence[Sketch]:
        return [exhibit.sketch for exhibit in self._examined(batch, starts, 0)]

    def exhibit(self, batch: EventBatch, starts: IntArray) -> Sequence[Exhibit]:
        """As ``sketch``, with the strangest events of every slice."""
        return self._examined(batch, starts, MOST_EXHIBITED)

    def subjects(self, pane: Pane) -> Sequence[Subject]:
        return (MODEL,)

    def judge(self, evidence: Mapping[Subject, Arrays], pane: Pane) -> Judgement:
        stored = evidence.get(MODEL)
        state = OodEvidence.fresh(self.shape) if stored is None else OodEvidence.from_arrays(stored)
        state = self._fold(state, pane)
        reading = self._reading(state, pane)
        if reading.level is Level.ALARM:
            state = replace(
                state.quiet(self.shape),
                log_evidence=np.full(len(self.bets.weights), NO_EVIDENCE),
                n_alarms=state.n_alarms + 1,
            )
        return Judgement({MODEL: state.to_arrays()}, (reading,))

    def _examined(self, batch: EventBatch, starts: IntArray, most: int) -> Sequence[Exhibit]:
        scores = self.scorer.score(batch)
        strange = np.flatnonzero(scores.p_value <= ALPHAS[STRANGE])
        found = self.scorer.blame(batch.take(strange))
        members = self._segments_of(batch)
        ends = np.append(starts[1:], len(batch))
        return [
            self._slice(batch, scores, members, strange, found, slice(int(a), int(b)), most)
            for a, b in zip(starts, ends, strict=True)
        ]

    def _slice(
        self,
        batch: EventBatch,
        scores: OodScores,
        members: Mapping[str, NDArray[np.bool_]],
        strange: IntArray,
        found: ColumnBlame,
        part: slice,
        most: int,
    ) -> Exhibit:
        here = np.flatnonzero((strange >= part.start) & (strange < part.stop))
        own = ColumnBlame(found.blame[here], found.z[here])
        p_value = scores.p_value[part]
        known = ~np.isnan(p_value)
        surprised = self._surprised(scores, strange[here])
        totals = {
            "bins": np.bincount(bin_of(p_value[known]), minlength=N_BINS),
            "ranks": np.bincount(bin_of(scores.rank_p_value[part][known]), minlength=N_BINS),
            "basis": np.bincount(scores.basis[part], minlength=len(Basis)),
            "missing": _missing(scores, part),
            "components": np.bincount(surprised, minlength=len(self.scorer.component_names)),
            "columns": tally_columns(own),
        }
        keyed = {}
        if batch.client_id is not None:
            keyed["clients"] = _by_client(p_value[known], batch.client_id[part][known])
        if members:
            keyed["segments"] = {
                name: _counts(p_value[known & member[part]])
                for name, member in members.items()
                if (known & member[part]).any()
            }
        sketch = Sketch(totals, keyed)
        if not most or not len(here):
            return Exhibit(sketch)
        order = np.argsort(-scores.score[strange[here]], kind="stable")[:most]
        return Exhibit(sketch, tuple(self._event(batch, scores, own, strange[here], surprised, int(i)) for i in order))

    def _event(
        self,
        batch: EventBatch,
        scores: OodScores,
        own: ColumnBlame,
        strange: IntArray,
        surprised: IntArray,
        i: int,
    ) -> StrangeEvent:
        at = int(strange[i])
        return StrangeEvent(
            position=at,
            event_id=str(batch.event_id[at]),
            score=float(scores.score[at]),
            p_value=float(scores.p_value[at]),
            modelled=bool(scores.modelled[at]),
            because=self.scorer.components[int(surprised[i])].words,
            columns=tuple((c.name, c.z, c.words) for c in columns_of(own, i, self.scorer.column_names)),
            missing=tuple(name for name, lacks in scores.missing.items() if lacks[at]),
        )

    def _surprised(self, scores: OodScores, rows: IntArray) -> IntArray:
        """(rows,) the component with the smallest p-value."""
        table = np.stack([scores.components[name][rows] for name in self.scorer.component_names], axis=1)
        return np.asarray(np.where(np.isnan(table), np.inf, table).argmin(axis=1))

    def _segments_of(self, batch: EventBatch) -> dict[str, NDArray[np.bool_]]:
        known = set(self.segments)
        found: dict[str, NDArray[np.bool_]] = {}
        for key, values in batch.segments.items():
            for name, member in members_of(key, values).items():
                told = name if name in known else client_key(f"{key}={NEW_SEGMENT}")
                found[told] = found[told] | member if told in found else member
        return found

    def _fold(self, state: OodEvidence, pane: Pane) -> OodEvidence:
        bins = pane.sketch.totals.get("bins")
        if bins is None or not bins.any():
            return state
        log_evidence = accumulate(state.log_evidence, self.bets.log_ratios @ bins)
        state = replace(state, log_evidence=log_evidence, n_seen=state.n_seen + int(bins.sum()))
        if log_mean(log_evidence, self.bets.weights) < LOG_QUIET:
            return state.quiet(self.shape)
        since = pane.start if state.since is None else state.since
        return replace(state, seen=state.seen.plus(pane.sketch), since=since)

    def _reading(self, state: OodEvidence, pane: Pane) -> Reading:
        log_evidence = log_mean(state.log_evidence, self.bets.weights)
        effect = self._effect(state)
        level = self._level(state, log_evidence, effect)
        loud = level in (Level.WARNING, Level.ALARM)
        inputs, columns = tuple(source.name for source in self.scorer.sources), self.scorer.column_names
        because = tuple(component.words for component in self.scorer.components)
        return Reading(
            detector=self.name,
            kind=self.kind,
            subject=MODEL,
            level=level,
            log_evidence=max(log_evidence, LEAST_LOG_EVIDENCE),
            log_threshold=self.log_threshold,
            effect=effect,
            effect_unit=EFFECT_UNIT,
            minimum_effect=MINIMUM_EFFECT,
            since=state.since,
            reason=loud_reason(state, self._leading(state), inputs, columns)
            if loud
            else calm_reason(level, state, pane, inputs),
            detail=detail_of(state, inputs, because, columns) if loud else {},
        )

    def _level(self, state: OodEvidence, log_evidence: float, effect: float) -> Level:
        if log_evidence >= self.log_threshold and effect >= MINIMUM_EFFECT:
            return Level.ALARM
        if log_evidence >= max(self.log_threshold - math.log(WARNING_FACTOR), LOG_QUIET):
            return Level.WARNING
        return Level.WARMING if state.n_seen < WARM_EVENTS else Level.OK

    def _effect(self, state: OodEvidence) -> float:
        """Share of strange events beyond the expected one, at the alpha of the bet that earned most."""
        n = state.seen.n_events
        if n == 0:
            return 0.0
        best = self._leading(state)
        share = float(state.seen.counts[: RANGES[best]].sum()) / n
        return max((share - ALPHAS[best]) / (1.0 - ALPHAS[best]), 0.0)

    def _leading(self, state: OodEvidence) -> int:
        """Position in ``ALPHAS`` of the bet that earned most."""
        return int(self.bets.alpha[int(np.argmax(state.log_evidence))])


def _fit(reference: EventBatch, schema: Schema, pane_s: float, seed: int, head: Head | None) -> Part | Unfit:
    fitted = OodScorer.learn(reference, schema, seed, head)
    if isinstance(fitted, Unfit):
        return fitted
    part, rows, p_value = fitted
    pane = np.floor(reference.timestamp[rows] / pane_s).astype(np.int64)
    known = ~np.isnan(p_value)
    client = None
    if reference.client_id is not None:
        client = np.unique(reference.client_id[rows][known].astype(str), return_inverse=True)[1]
    dispersion = dispersion_of(p_value[known], pane[known] - pane.min(), client)
    facts = {**part.facts, "dispersion": [float(d) for d in dispersion], "segments": _known_segments(reference)}
    return replace(part, facts=facts)


def _known_segments(reference: EventBatch) -> list[str]:
    sizes = {
        name: int(member.sum())
        for key, values in reference.segments.items()
        for name, member in members_of(key, values).items()
    }
    return sorted(sizes, key=lambda name: (-sizes[name], name))[:MOST_SEGMENTS]


def _missing(scores: OodScores, part: slice) -> IntArray:
    """Events that lack each input, and those that could not be scored, which are not counted among the former."""
    scored = scores.basis[part] != Basis.NOTHING
    lacking = [int((lacks[part] & scored).sum()) for lacks in scores.missing.values()]
    return np.array([*lacking, int((~scored).sum())], dtype=np.int64)


def _by_client(p_value: FloatArray, client_id: ObjectArray) -> dict[str, IntArray]:
    names, member = np.unique(client_id.astype(str), return_inverse=True)
    limits = (1.0, 0.01, 0.001)
    counts = np.stack([np.bincount(member, weights=p_value <= limit, minlength=len(names)) for limit in limits], axis=1)
    return {str(name): row for name, row in zip(names, counts.astype(np.int64), strict=True) if name}


def _counts(p_value: FloatArray) -> IntArray:
    """(3,) events, and those with p ≤ .01 and p ≤ .001."""
    return np.array([len(p_value), (p_value <= 0.01).sum(), (p_value <= 0.001).sum()], dtype=np.int64)
