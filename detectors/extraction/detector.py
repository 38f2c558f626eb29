"""Extraction detector: which client's queries look like the theft of the model.

Map side: every query becomes a channel row, and each client's rows are summed exactly. Reduce side: a client's sums are
compared with the spread of honest clients and with the peers of the same hour, on a schedule of looks whose price is
paid beforehand, so the chance that an honest client is ever accused stays below the level its budget share allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from detectors.base import (
    MODEL,
    Arrays,
    Judgement,
    Kind,
    Level,
    Pane,
    Part,
    Reading,
    Subject,
    SubjectType,
    Unfit,
)
from detectors.batch import EventBatch, IntArray
from detectors.budget import WEEK_S, AlarmBudget
from detectors.clients.rings import ClientRings, RingCode
from detectors.extraction.baseline import Baseline
from detectors.extraction.channels import Channels
from detectors.extraction.clients import FIRST_LOOK, ClientState
from detectors.extraction.fitting import fit
from detectors.extraction.layout import Sums, contributions, unpack, width
from detectors.extraction.peers import Company, Peers, capped
from detectors.extraction.verdict import MIN_EFFECT, Finding, examine
from detectors.extraction.words import detail, family, reason
from detectors.keys import client_key
from detectors.schema import Schema
from detectors.sketch import Sketch

CLIENTS = "clients"
UNIT = "share of queries"
LEAST_ALPHA, MOST_ALPHA = 1e-7, 3e-4
"""What one client may spend in its life: never more than the second, since few honest clients show no tail beyond."""
_LEVELS = (Level.OK, Level.WARNING, Level.ALARM)


class ExtractionDetector:
    """Names the clients that are copying the model; see the module's text.

    Args:
        log_threshold: -ln of the chance, per honest client and life, of a false alarm.
    """

    name: ClassVar[str] = "extraction"
    kind: ClassVar[Kind] = Kind.EXTRACTION

    def __init__(self, channels: Channels, ring_code: RingCode, baseline: Baseline, log_threshold: float) -> None:
        self.channels = channels
        self.ring_code = ring_code
        self.baseline = baseline
        self.log_threshold = log_threshold
        self._labels = len(channels.labels)
        self._width = width(self._labels, channels.width)

    @classmethod
    def fit(cls, reference: EventBatch, schema: Schema, pane_s: float, seed: int) -> Part | Unfit:
        """Learn what honest clients look like; unfit without client ids or anything to compare queries by."""
        found = fit(reference, schema, seed)
        if isinstance(found, Unfit):
            return found
        channels, code, baseline = found
        arrays = _led("channels", channels.to_arrays()) | _led("rings", code.to_arrays())
        facts = {
            "channels": channels.to_facts(),
            "rings": code.map.to_facts(),
            "clients_per_week": clients_per_week(reference),
            "calibration": baseline.calibration,
        }
        return Part(arrays | _led("baseline", baseline.to_arrays()), facts)

    @classmethod
    def build(cls, part: Part, schema: Schema, budget: AlarmBudget) -> Self:
        """The detector; the budget's share is divided among the honest clients of a week, as far as tails bear it."""
        alpha = budget.alarms_per_week_of(cls.name) / max(1.0, float(part.facts["clients_per_week"]))
        channels = Channels.load(_under("channels", part.arrays), part.facts["channels"])
        return cls(
            channels,
            RingCode.load(_under("rings", part.arrays), part.facts["rings"], channels.labels),
            Baseline.load(_under("baseline", part.arrays)),
            float(-np.log(np.clip(alpha, LEAST_ALPHA, MOST_ALPHA))),
        )

    @property
    def memory_key(self) -> str:
        """Detectors with equal keys can share one memory."""
        return self.ring_code.fingerprint

    def new_memory(self, capacity: int = 256, max_clients: int = 10_000) -> ClientRings:
        """Empty rings; who reads a stream holds them and annotates each batch, in arrival order, before sketching."""
        return ClientRings(self.ring_code, capacity, max_clients)

    def sketch(self, batch: EventBatch, starts: IntArray) -> Sequence[Sketch]:
        """Per slice and client the sums of the channel rows; events without a client id are left out."""
        slices: list[dict[str, IntArray]] = [{} for _ in starts]
        if batch.client_id is not None and len(batch):
            known = np.array([bool(client) for client in batch.client_id.tolist()], dtype=bool)
            position = np.searchsorted(starts, np.arange(len(batch)), side="right") - 1
            self._sum_clients(batch.take(known), position[known], slices)
        return [Sketch(keyed={CLIENTS: clients} if clients else {}) for clients in slices]

    def _sum_clients(self, batch: EventBatch, position: IntArray, slices: list[dict[str, IntArray]]) -> None:
        if not len(batch):
            return
        assert batch.client_id is not None
        number: dict[str, int] = {}
        client = np.array([number.setdefault(c, len(number)) for c in batch.client_id.tolist()], dtype=np.int64)
        keys = [client_key(c) for c in number]
        group = position * len(keys) + client
        order = np.argsort(group, kind="stable")
        first = np.flatnonzero(np.diff(group[order], prepend=-1))
        values = contributions(self.channels.rows(batch), batch, self._labels)[order]
        for code, sums in zip(group[order][first].tolist(), np.add.reduceat(values, first, axis=0), strict=True):
            slices[code // len(keys)][keys[code % len(keys)]] = sums

    def subjects(self, pane: Pane) -> Sequence[Subject]:
        """The model, and every client seen in the pane."""
        return [MODEL, *(_subject(client) for client in pane.sketch.keyed.get(CLIENTS, {}))]

    def judge(self, evidence: Mapping[Subject, Arrays], pane: Pane) -> Judgement:
        """Fold the pane into each client's sums, and look at the clients that are due."""
        added = pane.sketch.keyed.get(CLIENTS, {})
        end = pane.start + pane.width_s
        peers = Peers.load(evidence.get(MODEL), self._width)
        crowd = peers.running
        before = {c: ClientState.load(evidence.get(_subject(c)), crowd, pane.start) for c in added}
        trusted = {c: added[c] for c in sorted(added) if before[c].status < 2}
        peers = peers.met(trusted, self._labels, pane.start)
        counted, nothing = capped(trusted), np.zeros_like(crowd)
        kept: dict[Subject, Arrays] = {}
        readings: list[Reading] = []
        accused: list[str] = []
        looked, highest = 0, 0.0
        for client in sorted(added):
            state = before[client].after(added[client], counted.get(client, nothing), crowd, pane.start)
            state, reading, looks = self._look(client, state, peers, end)
            looked += looks
            highest = max(highest, state.evidence if looks and state.status == 0 else 0.0)
            kept[_subject(client)] = state.to_arrays()
            if reading is not None:
                readings.append(reading)
            if state.status == 2:
                accused.append(client)
        kept[MODEL] = peers.without(accused).to_arrays()
        return Judgement(kept, [*readings, self._summary(peers, len(added), looked, highest, readings)])

    def _look(
        self, client: str, state: ClientState, peers: Peers, end: float
    ) -> tuple[ClientState, Reading | None, int]:
        total, block = state.total_due, state.block_due
        if not total and not block and state.status < 2:
            return state, None, 0
        company = peers.of(client, self._labels + 1)
        if not total and not block:
            return state, self._standing(client, state, peers, company), 0
        found: list[tuple[Finding, str, float]] = []
        if total:
            beside = company.during(self._others(peers.running, state.crowd_at_first))
            finding = examine(
                unpack(state.total, self._labels),
                state.total_looks,
                self.baseline,
                beside,
                self.baseline.known.get(client),
            )
            found.append((finding, "since first seen", state.first_at))
        if block:
            beside = company.during(self._others(peers.running, state.crowd_at_block))
            finding = examine(
                unpack(state.block, self._labels),
                state.block_looks,
                self.baseline,
                beside,
                self.baseline.known.get(client),
            )
            found.append((finding, "since the last look", state.block_at))
        finding, window, since = max(found, key=lambda item: (self._rank(item[0]), item[0].stolen, item[0].odd))
        status = self._rank(finding)
        if state.status == 2 and status < 2:
            status = 2 if self._lingers(found[-1][0]) else 0
            finding, window, since = found[-1]
        earlier = state.status
        shown = max(finding.stolen, min(finding.odd, 0.99 * self.log_threshold)) if status < 2 else finding.stolen
        level = status if status == 2 or state.status < 2 else 0
        state = replace(
            state.looked(total, block, peers.running, end),
            status=status,
            evidence=max(shown, state.evidence) if status == 2 and earlier == 2 else shown,
            since=state.since if earlier and status else since,
        )
        if status == 0 and earlier == 0:
            return state, None, 1
        return state, self._reading(client, state, finding, window, level), 1

    def _rank(self, finding: Finding) -> int:
        if finding.stolen >= self.log_threshold and finding.effect >= MIN_EFFECT:
            return 2
        return 1 if max(finding.stolen, finding.odd) >= self.log_threshold else 0

    def _lingers(self, finding: Finding) -> bool:
        """Whether a window of a client under alarm is still odd enough to keep the alarm open."""
        return finding.effect >= 0.5 * MIN_EFFECT and min(finding.log_p) <= float(np.log(0.01))

    def _others(self, running: IntArray, before: IntArray) -> Sums:
        """All other clients over exactly one window of a client."""
        return unpack(running - before, self._labels)

    def _standing(self, client: str, state: ClientState, peers: Peers, company: Company) -> Reading:
        """The reading of a client under alarm between two looks."""
        beside = company.during(self._others(peers.running, state.crowd_at_first))
        finding = examine(
            unpack(state.total, self._labels), state.total_looks, self.baseline, beside, self.baseline.known.get(client)
        )
        return self._reading(client, state, finding, "since first seen", 2)

    def _reading(self, client: str, state: ClientState, finding: Finding, window: str, status: int) -> Reading:
        level = _LEVELS[status]
        kind = family(finding, self.channels)
        facts: Mapping[str, Any] = (
            detail(finding, kind, self.channels, self.baseline, window) if level is not Level.OK else {}
        )
        return Reading(
            detector=self.name,
            kind=self.kind,
            subject=_subject(client),
            level=level,
            log_evidence=float(state.evidence),
            log_threshold=self.log_threshold,
            effect=finding.effect,
            effect_unit=UNIT,
            minimum_effect=MIN_EFFECT,
            since=state.since if level is not Level.OK else None,
            reason=reason(client, finding, kind, level.value),
            detail=facts,
        )

    def _summary(
        self, peers: Peers, n_clients: int, looked: int, highest: float, readings: Sequence[Reading]
    ) -> Reading:
        """One reading for all clients that gave no reason to speak of."""
        odd = sum(r.level in (Level.WARNING, Level.ALARM) for r in readings)
        return Reading(
            detector=self.name,
            kind=self.kind,
            subject=MODEL,
            level=Level.OK if looked or odd or peers.running[0] >= FIRST_LOOK else Level.WARMING,
            log_evidence=float(highest),
            log_threshold=self.log_threshold,
            effect=0.0,
            effect_unit=UNIT,
            minimum_effect=MIN_EFFECT,
            since=None,
            reason=f"{n_clients} clients seen, {looked} looked at, {odd} with a warning or an alarm of their own.",
            detail={"n_clients": n_clients, "n_looked_at": looked, "calibration": self.baseline.calibration},
        )


def clients_per_week(reference: EventBatch) -> float:
    """Distinct clients of an average week of the reference; all of them where it is shorter."""
    assert reference.client_id is not None
    week = ((reference.timestamp - reference.timestamp.min()) // WEEK_S).astype(np.int64)
    pairs = {(w, c) for w, c in zip(week.tolist(), reference.client_id.tolist(), strict=True) if c}
    weeks = {w for w, _ in pairs}
    return len(pairs) / max(1, len(weeks))


def _subject(client: str) -> Subject:
    return Subject(SubjectType.CLIENT, client)


def _led(prefix: str, arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    return {f"{prefix}/{name}": array for name, array in arrays.items()}


def _under(prefix: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    cut = len(prefix) + 1
    return {name[cut:]: array for name, array in arrays.items() if name.startswith(prefix + "/")}
