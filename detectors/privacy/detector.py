"""Privacy detector: which client tries to find out which records the model was trained on.

Training rows are known as keyed hashes alone (``rows.py``). Whoever reads the stream says of each event whether it is a
training row or near one; here the hits are counted by client, each distinct query once, so that a health check with a
training row for input is one hit for ever. The share of hits among a client's distinct queries is then judged against
honest clients, its own past and its peers, as ``clients/rates.py`` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from detectors.base import MODEL, Arrays, Judgement, Kind, Level, Pane, Part, Reading, Subject, SubjectType, Unfit
from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.budget import AlarmBudget
from detectors.clients.rates import MEMORY, NO_RATE, HonestRate
from detectors.clients.ratewatch import Company, RateLook, RateWatch
from detectors.clients.spending import clients_per_week, log_threshold
from detectors.clients.standing import LEVELS, Look, Standing
from detectors.clients.sums import numbered, sums_by_client
from detectors.keys import client_key
from detectors.privacy.hashes import TRAINING_HIT, TrainingHashes, TrainingRows
from detectors.privacy.hits import HEADS, HITS, RECORDS, Seen, fit_heads, plain_rows
from detectors.privacy.words import UNIT, Facts, detail, reason
from detectors.schema import Schema
from detectors.sketch import Sketch

CLIENTS = "clients"
KEY = "key"
LEAST_EVENTS = 12.0
UNGIVEN = (
    "no hashes of training rows were given: make them with `vedette reference hash-training` and fit with "
    "--training-hashes"
)


class PrivacyDetector:
    """Names the clients that probe for members of the training data; see the module's text."""

    name: ClassVar[str] = "privacy"
    kind: ClassVar[Kind] = Kind.PRIVACY

    def __init__(
        self,
        watch: RateWatch,
        threshold: float,
        calibration: str,
        hashes: TrainingHashes | None = None,
        key: bytes | None = None,
    ) -> None:
        self.watch = watch
        self.log_threshold = threshold
        self.calibration = calibration
        self.hashes = hashes
        self._key = key

    @classmethod
    def fit(cls, reference: EventBatch, schema: Schema, pane_s: float, seed: int) -> Part | Unfit:
        """Learn how often honest clients hit training rows, from events that ``TrainingRows`` annotated."""
        hit = reference.annotations.get(TRAINING_HIT)
        if hit is None or not np.isfinite(hit).any():
            return Unfit(UNGIVEN)
        client, names = numbered(reference)
        if len(names) < 2:
            return Unfit("events name fewer than two clients, so no client can be told from the others")
        kept = client >= 0
        rates, counts = fit_heads(reference.take(kept), client[kept], len(names), pane_s)
        if not rates[0].usable:
            share = float(np.mean(hit[np.isfinite(hit)] > 0))
            return Unfit(
                f"{100 * share:.0f} % of the ordinary events are training rows or near them, so a hit says nothing: "
                "fit the reference on traffic, not on training rows"
            )
        arrays = {
            "rates": np.stack([rate.to_array() for rate in rates]),
            "known": np.array([client_key(name) for name in names], dtype=str),
            "known_counts": counts,
        }
        facts = {"clients_per_week": clients_per_week(reference), "n_clients": len(names), "pane_s": pane_s}
        return Part(arrays, facts)

    @classmethod
    def build(cls, part: Part, schema: Schema, budget: AlarmBudget) -> Self:
        """The detector; without hashes or their key, as in tests, events have to come annotated."""
        rates = tuple(HonestRate.from_array(np.asarray(row, dtype=np.float64)) for row in part.arrays["rates"])
        usable = np.array([float(rate.usable) for rate in rates])
        known = part.arrays["known"].tolist()
        counts = {c: row.astype(np.float64) for c, row in zip(known, part.arrays["known_counts"], strict=True)}
        watched = tuple(rate if rate.usable else NO_RATE for rate in rates)
        watch = RateWatch(watched, np.maximum(usable / usable.sum(), 1e-12), float(part.facts["pane_s"]), counts)
        hashes = TrainingHashes.load(part.arrays, part.facts["hashes"]) if "hashes" in part.facts else None
        key = bytes(part.arrays[KEY].astype(np.uint8)) if KEY in part.arrays else None
        rows = f", {hashes.n_rows:,} training rows" if hashes is not None else ""
        threshold = log_threshold(budget.alarms_per_week_of(cls.name), float(part.facts["clients_per_week"]))
        return cls(watch, threshold, f"{part.facts['n_clients']} clients in the reference{rows}", hashes, key)

    @property
    def memory_key(self) -> str:
        """Detectors with equal keys can share one memory."""
        return self.name

    def new_memory(self) -> TrainingRows | Blind:
        """What annotates batches before they are sketched."""
        return Blind() if self.hashes is None else TrainingRows(self.hashes, self._key)

    def sketch(self, batch: EventBatch, starts: IntArray) -> Sequence[Sketch]:
        """Per slice and client how many events, and for clients with hits which cells they fall into."""
        slices = sums_by_client(batch, starts, plain_rows)
        out = []
        for clients in slices:
            few = {client: row[: HITS.start] for client, row in clients.items()}
            hits = {client: row[HITS.start :] for client, row in clients.items() if row[HITS.start :].any()}
            keyed: dict[str, dict[str, IntArray]] = {CLIENTS: few} if few else {}
            out.append(Sketch(keyed=keyed | ({"hits": hits} if hits else {})))
        return out

    def subjects(self, pane: Pane) -> Sequence[Subject]:
        """The model, and every client seen in the pane."""
        return [MODEL, *(_subject(client) for client in pane.sketch.keyed.get(CLIENTS, {}))]

    def judge(self, evidence: Mapping[Subject, Arrays], pane: Pane) -> Judgement:
        """Fold the pane into each client's evidence."""
        added, hits = pane.sketch.keyed.get(CLIENTS, {}), pane.sketch.keyed.get("hits", {})
        clients = sorted(added)
        told = [c for c in clients if added[c][0] > 0]
        if not told:
            return Judgement({}, [self._summary(len(clients), 0, 0.0, ())])
        stored = [evidence.get(_subject(c)) for c in told]
        standings = [Standing.load(s, pane.start) for s in stored]
        seen = [Seen.load(s).after(int(added[c][0]), hits.get(c)) for c, s in zip(told, stored, strict=True)]
        counts = np.stack([s.counts for s in seen])
        look = self.watch.look(
            self.watch.load(told, stored),
            Company.load(evidence.get(MODEL), len(HEADS), pane.start),
            counts,
            np.array([s.status < 2 for s in standings]),
            pane.start,
        )
        kept: dict[Subject, Arrays] = {MODEL: look.company.to_arrays()}
        readings: list[Reading] = []
        highest = 0.0
        for i, client in enumerate(told):
            shown = self._look(i, look, standings[i])
            after = standings[i].after(shown, self.log_threshold, pane.start + pane.width_s)
            if standings[i].status == 2 and after.status == 0:
                self.watch.acquitted(look.after, i)
            highest = max(highest, shown.evidence if after.status == 0 else 0.0)
            records = _faded(stored[i], hits.get(client))
            kept[_subject(client)] = (
                look.after.to_arrays(i) | seen[i].to_arrays() | {"records": records, "standing": after.to_array()}
            )
            if after.status or standings[i].status:
                readings.append(self._reading(client, after, self._facts(i, look, records)))
        return Judgement(kept, [*readings, self._summary(len(clients), len(told), highest, readings)])

    def _look(self, i: int, look: RateLook, standing: Standing) -> Look:
        found = []
        for j, head in enumerate(HEADS):
            effect = float(look.share[i, j] - look.expected[i, j])
            able = effect >= head.minimum_effect and look.n[i, j] >= LEAST_EVENTS and not look.alone[i, j]
            lingers = effect >= 0.5 * head.minimum_effect
            found.append(Look(j, float(look.evidence[i, j]), effect, bool(able), lingers))
        best = max(found, key=lambda one: (one.accusable and one.evidence >= self.log_threshold, one.evidence))
        return replace(best, lingers=found[standing.head].lingers)

    def _facts(self, i: int, look: RateLook, records: FloatArray) -> Facts:
        return Facts(look.evidence[i], look.share[i], look.n[i], look.expected[i], records, bool(look.alone[i].all()))

    def _reading(self, client: str, standing: Standing, facts: Facts) -> Reading:
        level = LEVELS[standing.status]
        return Reading(
            detector=self.name,
            kind=self.kind,
            subject=_subject(client),
            level=level,
            log_evidence=float(max(standing.evidence, 0.0)),
            log_threshold=self.log_threshold,
            effect=float(standing.effect),
            effect_unit=UNIT,
            minimum_effect=HEADS[standing.head].minimum_effect,
            since=standing.since if level is not Level.OK else None,
            reason=reason(client, standing.head, facts, level.value),
            detail=detail(facts, self.calibration) if level is not Level.OK else {},
        )

    def _summary(self, n_clients: int, n_told: int, highest: float, readings: Sequence[Reading]) -> Reading:
        """One reading for all clients that gave no reason to speak of."""
        odd = sum(r.level in (Level.WARNING, Level.ALARM) for r in readings)
        words = f"{n_clients} clients seen, {odd} with a warning or an alarm of their own."
        if n_clients and not n_told:
            words = (
                "No event could be looked up among the training rows: the deployment's secret, with which they were "
                "hashed, is not set here, or events lack the features of a training row."
            )
        return Reading(
            detector=self.name,
            kind=self.kind,
            subject=MODEL,
            level=Level.OK if n_told else Level.WARMING,
            log_evidence=float(max(highest, 0.0)),
            log_threshold=self.log_threshold,
            effect=0.0,
            effect_unit=UNIT,
            minimum_effect=HEADS[0].minimum_effect,
            since=None,
            reason=words,
            detail={"n_clients": n_clients, "calibration": self.calibration},
        )


class Blind:
    """Stands in where there are no hashes: says nothing of any event."""

    def annotate(self, batch: EventBatch) -> EventBatch:
        return batch


def with_hashes(part: Part, hashes: TrainingHashes) -> Part:
    """The part with the hashes that its events are looked up in; still without their key."""
    return Part({**part.arrays, **hashes.to_arrays()}, {**part.facts, "hashes": hashes.to_facts()})


def with_key(part: Part, key: bytes) -> Part:
    """The part as one process holds it: with the key, which is never stored."""
    return Part({**part.arrays, KEY: np.frombuffer(key, dtype=np.uint8).copy()}, part.facts)


def _faded(stored: Arrays | None, hits: IntArray | None) -> FloatArray:
    """(cells,) hits of late by record."""
    before: NDArray[Any] = np.zeros(RECORDS.stop - RECORDS.start) if stored is None else np.asarray(stored["records"])
    if hits is None:
        return np.asarray(before, dtype=np.float64)
    new = hits[RECORDS.start - HITS.start : RECORDS.stop - HITS.start].astype(np.float64)
    return np.asarray(before * np.exp(-new.sum() / MEMORY) + new)


def _subject(client: str) -> Subject:
    return Subject(SubjectType.CLIENT, client)
