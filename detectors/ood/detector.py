"""OOD detector: raises when more inputs are strange than the reference and mild drift explain.

Each event becomes a p-value (``scorer.py``), a pane the counts of p-values in eight bins, and the counts the stakes of
bets on their rates (``tally.py``) whose evidence adds up over panes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from detectors.base import MODEL, Arrays, Judgement, Kind, Level, Pane, Part, Reading, Subject, Unfit
from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.budget import AlarmBudget
from detectors.evidence import NO_EVIDENCE, accumulate, log_mean
from detectors.ood.scorer import Basis, OodScorer
from detectors.ood.tally import ALPHAS, EXPECTED, LABELS, N_BINS, RANGES, STRANGE, Bets, Clients, bin_of, dispersion_of
from detectors.schema import Schema
from detectors.sketch import Sketch

MINIMUM_EFFECT = 0.02
EFFECT_UNIT = "share of traffic"
WARNING_FACTOR = 100.0
LOG_QUIET = math.log(10.0)
WARM_EVENTS = 20
LEAST_LOG_EVIDENCE = -50.0
"""What a reading shows for no evidence at all: a finite number, for JSON and databases."""
SHOWN_CLIENTS = 10


@dataclass(frozen=True, slots=True, eq=False)
class OodEvidence:
    """Running state of the test.

    Attributes:
        log_evidence: (bets,) log M.
        counts: (bins,) events by p-value bin since the evidence began to rise.
        clients: who sent them.
        since: event time at which it began; None while quiet.
        n_alarms, n_seen: alarms raised and events scored so far.
    """

    log_evidence: FloatArray
    counts: IntArray
    clients: Clients
    since: float | None
    n_alarms: int
    n_seen: int

    @classmethod
    def fresh(cls, n_bets: int) -> OodEvidence:
        return cls(np.full(n_bets, NO_EVIDENCE), np.zeros(N_BINS, dtype=np.int64), Clients.none(), None, 0, 0)

    def quiet(self) -> OodEvidence:
        """The same with the accumulation emptied."""
        return replace(self, counts=np.zeros(N_BINS, dtype=np.int64), clients=Clients.none(), since=None)

    def to_arrays(self) -> dict[str, Any]:
        return {
            "log_evidence": self.log_evidence,
            "counts": self.counts,
            "clients": self.clients.names,
            "client_counts": self.clients.counts,
            "since": np.array([math.nan if self.since is None else self.since]),
            "n": np.array([self.n_alarms, self.n_seen], dtype=np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> OodEvidence:
        since = float(arrays["since"][0])
        return cls(
            np.asarray(arrays["log_evidence"], np.float64),
            np.asarray(arrays["counts"], np.int64),
            Clients(np.asarray(arrays["clients"], np.str_), np.asarray(arrays["client_counts"], np.int64)),
            None if math.isnan(since) else since,
            int(arrays["n"][0]),
            int(arrays["n"][1]),
        )


@dataclass(frozen=True, eq=False)
class OodDetector:
    """Watches one model for out-of-distribution inputs; see ``detectors.base.Detector``."""

    name: ClassVar[str] = "ood"
    kind: ClassVar[Kind] = Kind.OOD

    scorer: OodScorer
    bets: Bets
    log_threshold: float

    @classmethod
    def fit(cls, reference: EventBatch, schema: Schema, pane_s: float, seed: int) -> Part | Unfit:
        fitted = OodScorer.learn(reference, schema, seed)
        if isinstance(fitted, Unfit):
            return fitted
        part, rows, p_value = fitted
        pane = np.floor(reference.timestamp[rows] / pane_s).astype(np.int64)
        known = ~np.isnan(p_value)
        client = None
        if reference.client_id is not None:
            client = np.unique(reference.client_id[rows][known].astype(str), return_inverse=True)[1]
        dispersion = dispersion_of(p_value[known], pane[known] - pane.min(), client)
        return replace(part, facts={**part.facts, "dispersion": [float(d) for d in dispersion]})

    @classmethod
    def build(cls, part: Part, schema: Schema, budget: AlarmBudget) -> Self:
        scorer = OodScorer.build(part)
        bets = Bets.design(scorer.n_held_out, np.array(part.facts["dispersion"]))
        return cls(scorer, bets, budget.log_threshold("ood"))

    def sketch(self, batch: EventBatch, starts: IntArray) -> Sequence[Sketch]:
        scores = self.scorer.score(batch)
        ends = np.append(starts[1:], len(batch))
        return [
            _sketch(scores.p_value[a:b], scores.basis[a:b], None if batch.client_id is None else batch.client_id[a:b])
            for a, b in zip(starts, ends, strict=True)
        ]

    def subjects(self, pane: Pane) -> Sequence[Subject]:
        return (MODEL,)

    def judge(self, evidence: Mapping[Subject, Arrays], pane: Pane) -> Judgement:
        stored = evidence.get(MODEL)
        state = OodEvidence.fresh(len(self.bets.weights)) if stored is None else OodEvidence.from_arrays(stored)
        state = self._fold(state, pane)
        reading = self._reading(state, pane)
        if reading.level is Level.ALARM:
            state = replace(
                state.quiet(),
                log_evidence=np.full(len(self.bets.weights), NO_EVIDENCE),
                n_alarms=state.n_alarms + 1,
            )
        return Judgement({MODEL: state.to_arrays()}, (reading,))

    def _fold(self, state: OodEvidence, pane: Pane) -> OodEvidence:
        bins = pane.sketch.totals.get("bins")
        if bins is None or not bins.any():
            return state
        log_evidence = accumulate(state.log_evidence, self.bets.log_ratios @ bins)
        state = replace(state, log_evidence=log_evidence, n_seen=state.n_seen + int(bins.sum()))
        if log_mean(log_evidence, self.bets.weights) < LOG_QUIET:
            return state.quiet()
        return replace(
            state,
            counts=state.counts + bins,
            clients=state.clients.plus(pane.sketch.keyed.get("clients", {})),
            since=pane.start if state.since is None else state.since,
        )

    def _reading(self, state: OodEvidence, pane: Pane) -> Reading:
        log_evidence = log_mean(state.log_evidence, self.bets.weights)
        effect = self._effect(state)
        level = self._level(state, log_evidence, effect)
        loud = level in (Level.WARNING, Level.ALARM)
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
            reason=_loud_reason(state, self._leading(state)) if loud else _calm_reason(level, state, pane),
            detail=_detail(state) if loud else {},
        )

    def _level(self, state: OodEvidence, log_evidence: float, effect: float) -> Level:
        if log_evidence >= self.log_threshold and effect >= MINIMUM_EFFECT:
            return Level.ALARM
        if log_evidence >= max(self.log_threshold - math.log(WARNING_FACTOR), LOG_QUIET):
            return Level.WARNING
        return Level.WARMING if state.n_seen < WARM_EVENTS else Level.OK

    def _effect(self, state: OodEvidence) -> float:
        """Share of strange events beyond the expected one, at the alpha of the bet that earned most."""
        n = int(state.counts.sum())
        if n == 0:
            return 0.0
        best = self._leading(state)
        share = float(state.counts[: RANGES[best]].sum()) / n
        return max((share - ALPHAS[best]) / (1.0 - ALPHAS[best]), 0.0)

    def _leading(self, state: OodEvidence) -> int:
        """Position in ``ALPHAS`` of the bet that earned most."""
        return int(self.bets.alpha[int(np.argmax(state.log_evidence))])


def _sketch(p_value: FloatArray, basis: IntArray, client_id: Any) -> Sketch:
    known = ~np.isnan(p_value)
    totals = {
        "bins": np.bincount(bin_of(p_value[known]), minlength=N_BINS),
        "basis": np.bincount(basis, minlength=len(Basis)),
    }
    if client_id is None:
        return Sketch(totals)
    return Sketch(totals, {"clients": _by_client(p_value[known], client_id[known])})


def _by_client(p_value: FloatArray, client_id: Any) -> dict[str, IntArray]:
    names, member = np.unique(client_id.astype(str), return_inverse=True)
    counts = np.stack(
        [
            np.bincount(member, weights=w, minlength=len(names))
            for w in (p_value >= 0, p_value <= 0.01, p_value <= 0.001)
        ],
        axis=1,
    ).astype(np.int64)
    return {str(name): row for name, row in zip(names, counts, strict=True) if name}


def _strange(state: OodEvidence) -> tuple[int, int]:
    """Events in the accumulation, and how many of them are stranger than 99 in 100 reference events."""
    return int(state.counts.sum()), int(state.counts[: RANGES[STRANGE]].sum())


def _calm_reason(level: Level, state: OodEvidence, pane: Pane) -> str:
    if level is Level.WARMING:
        return f"{state.n_seen} inputs scored so far; {WARM_EVENTS} are needed before anything can be said"
    n = int(pane.sketch.totals["bins"].sum()) if "bins" in pane.sketch.totals else 0
    if n == 0:
        return "no input of this pane logged anything that can be compared with the reference"
    k = int(pane.sketch.totals["bins"][: RANGES[STRANGE]].sum())
    return f"{k} of {n:,} inputs are stranger than 99 in 100 reference inputs, within what is tolerated"


def _loud_reason(state: OodEvidence, leading: int) -> str:
    n, strange = _strange(state)
    told = max(leading, STRANGE)
    share = f"{100 * float(state.counts[: RANGES[told]].sum()) / n:.1f} % of the last {n:,} inputs"
    expected = 100 * ALPHAS[told]
    text = f"{share} are stranger than {100 - expected:g} in 100 reference inputs ({expected:g} % expected)"
    if told != STRANGE or not strange or not len(state.clients.names):
        return text
    name, (sent, odd, _) = str(state.clients.names[0]), (int(c) for c in state.clients.counts[0])
    others, others_odd = n - sent, strange - odd
    if others > 0 and odd > 0.5 * strange and others_odd <= 0.02 * others:
        return f"{text}; client {name} alone explains it: {odd:,} of its {sent:,} inputs are"
    if odd >= 0.3 * strange:
        return f"{text}; {100 * odd / strange:.0f} % of them come from client {name}"
    return text


def _detail(state: OodEvidence) -> dict[str, Any]:
    n, strange = _strange(state)
    return {
        "n_events": n,
        "n_strange": strange,
        "share_strange": strange / n if n else 0.0,
        "expected_share": ALPHAS[STRANGE],
        "p_bins": list(LABELS),
        "reference": [float(share) for share in EXPECTED],
        "current": [float(count) / n if n else 0.0 for count in state.counts],
        "clients": [
            {"client": str(name), "n": int(counts[0]), "n_strange": int(counts[1])}
            for name, counts in list(zip(state.clients.names, state.clients.counts, strict=True))[:SHOWN_CLIENTS]
        ],
    }
