"""Extraction detector: which client's queries look like the theft of the model.

Map side: every query becomes a channel row, and each client's rows are summed exactly. Reduce side: a client's sums are
compared with the spread of honest clients and with the peers of the same hour, on a schedule of looks. Tails are those
of the worst look of an honest client, so the chance that one is ever accused stays below what its budget share allows.
Clients that act together are looked at together (``collusion``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np

from detectors.arrays import under
from detectors.base import MODEL, Arrays, Judgement, Kind, Level, Pane, Part, Reading, Subject, SubjectType, Unfit
from detectors.batch import EventBatch, IntArray
from detectors.budget import DEFAULT_EXPOSURE_LIMIT, AlarmBudget
from detectors.clients.rings import CAPACITY, ClientRings, RingCode
from detectors.clients.spending import log_threshold
from detectors.clients.sums import Runs
from detectors.extraction.alignment import Alignment
from detectors.extraction.baseline import Baseline
from detectors.extraction.channels import Channels
from detectors.extraction.clients import FIRST_LOOK, ClientState
from detectors.extraction.collusion import LINK, Collusion, Limits, Scene
from detectors.extraction.exposure import Copy
from detectors.extraction.families import family
from detectors.extraction.groups import Groups
from detectors.extraction.identity import By, Identity, Memory
from detectors.extraction.layout import contributions, unpack, width
from detectors.extraction.learning import learn
from detectors.extraction.looks import Bench, Look, look
from detectors.extraction.peers import Peers, capped
from detectors.extraction.pools import link_name, links_of
from detectors.extraction.recalibration import HEADS, OPEN_FOR_S, Recent
from detectors.extraction.standing import Shared, Tally, events_of, looks_per_week
from detectors.extraction.study import EXPOSURE, Dossier, Study
from detectors.extraction.telling import study_detail, summary_words
from detectors.extraction.tempo import Tempo
from detectors.extraction.verdict import MIN_EFFECT, Beside
from detectors.extraction.words import detail, reason
from detectors.schema import Schema
from detectors.sketch import Sketch

CLIENTS = "clients"
UNIT = "share of queries"
MOST_ALPHA = 1e-3
"""What one client may spend in its life at most, since few honest clients show no tail beyond."""
SHARES = {"clients": 0.6, "pools": 0.2, "groups": 0.2}
"""How the detector's false alarms are divided between clients alone and clients together."""
_LEVELS = (Level.OK, Level.WARNING, Level.ALARM)


class ExtractionDetector:
    """Names the clients that are copying the model; see the module's text.

    Args:
        log_threshold: -ln of the chance, per honest client and life, of a false alarm.
        budget_per_client_day: false alarms that the budget allows for each day on which a client is active.
        exposure_limit: share of what can be copied, in (0, 1], from which a client counts as exposed.
    """

    name: ClassVar[str] = "extraction"
    kind: ClassVar[Kind] = Kind.EXTRACTION

    def __init__(
        self,
        channels: Channels,
        ring_code: RingCode,
        baseline: Baseline,
        study: Study,
        log_threshold: float,
        identity: Identity,
        collusion: Collusion,
        budget_per_client_day: float,
        exposure_limit: float = DEFAULT_EXPOSURE_LIMIT,
    ) -> None:
        self.channels = channels
        self.ring_code = ring_code
        self.baseline = baseline
        self.study = study
        self.exposure_limit = exposure_limit
        self.log_threshold = log_threshold
        self.identity = identity
        self.collusion = collusion
        self.budget_per_client_day = budget_per_client_day
        self._labels = len(channels.labels)
        self._width = width(self._labels, channels.width)

    @classmethod
    def fit(cls, reference: EventBatch, schema: Schema, pane_s: float, seed: int) -> Part | Unfit:
        """Learn what honest clients look like; unfit without anything to compare queries by."""
        return learn(reference, schema, pane_s, seed)

    @classmethod
    def build(cls, part: Part, schema: Schema, budget: AlarmBudget) -> Self:
        """The detector; the budget's share is divided among the honest clients of a week, as far as tails bear it."""
        channels = Channels.load(under("channels", part.arrays), part.facts["channels"])
        baseline = Baseline.load(under("baseline", part.arrays))
        alignment = Alignment.load(under("alignment", part.arrays))
        allowed, clients = budget.alarms_per_week_of(cls.name), float(part.facts["clients_per_week"])
        looks = looks_per_week(float(part.facts["events_per_week"]), budget.pane_s)
        limits = Limits(
            pool=log_threshold(allowed * SHARES["pools"], clients, MOST_ALPHA),
            group=log_threshold(allowed * SHARES["groups"], looks, MOST_ALPHA),
        )
        return cls(
            channels,
            RingCode.load(under("rings", part.arrays), part.facts["rings"], channels.labels),
            baseline,
            Study.load(under("study", part.arrays), part.facts["study"]),
            log_threshold(allowed * SHARES["clients"], clients, MOST_ALPHA),
            Identity.from_facts(part.facts["identity"]),
            Collusion(baseline, alignment, channels, part.facts["linking_keys"], limits),
            allowed * SHARES["clients"] / max(1.0, float(part.facts["client_days_per_week"])),
            budget.exposure_limit,
        )

    @property
    def memory_key(self) -> str:
        """Detectors with equal keys can share one memory."""
        by = self.identity.by
        return self.ring_code.fingerprint if by is By.CLIENT else f"{self.ring_code.fingerprint} by {by.value}"

    def new_memory(self, capacity: int = CAPACITY, max_clients: int = 10_000) -> Memory:
        """Empty rings; who reads a stream holds them and annotates each batch, in arrival order, before sketching."""
        return Memory(ClientRings(self.ring_code, capacity, max_clients), self.identity)

    def sketch(self, batch: EventBatch, starts: IntArray) -> Sequence[Sketch]:
        """Per slice and client the sums of the channel rows, and who shares which linking keys.

        Events of which it is not known whose they are, are left out.
        """
        slices: list[dict[str, dict[str, IntArray]]] = [{} for _ in starts]
        runs = Runs.of(self.identity.named(batch), starts)
        if runs is not None:
            self._sum_clients(runs, slices)
            for key in self.collusion.retention:
                _count_links(key, runs, slices)
        return [Sketch(keyed=groups) for groups in slices]

    def _sum_clients(self, runs: Runs, slices: list[dict[str, dict[str, IntArray]]]) -> None:
        rows = self.channels.rows(runs.batch)
        values = runs.sums(contributions(rows, runs.batch, self._labels))
        studied, told = self.study.sums(rows, runs.batch, runs.order, runs.first, self.channels)
        for (i, key), sums, study, some in zip(runs.places(), values, studied, told.tolist(), strict=True):
            slices[i].setdefault(CLIENTS, {})[key] = sums
            if some:
                slices[i].setdefault(EXPOSURE, {})[key] = study

    def subjects(self, pane: Pane) -> Sequence[Subject]:
        """The model, every client seen in the pane, and the pools that they are in."""
        clients = [self.identity.state(client) for client in pane.sketch.keyed.get(CLIENTS, {})]
        pools = [Subject(SubjectType.CLIENT_GROUP, link.id) for link in links_of(pane.sketch.keyed, LINK)]
        return [MODEL, *clients, *pools]

    def judge(self, evidence: Mapping[Subject, Arrays], pane: Pane) -> Judgement:
        """Fold the pane into each client's sums, and look at the clients, pools and groups that are due."""
        shared = Shared.load(evidence.get(MODEL), self._width)
        scene, peers, before = self._enter(evidence, pane, shared)
        today = shared.recent.widened(self.baseline)
        shared = replace(
            shared, tempo=shared.tempo.after(*events_of(pane.sketch.keyed.get(CLIENTS, {}).values()), pane.start)
        )
        kept, alone, tally, measured = self._judge_clients(pane, scene, peers, before, today, evidence, shared.tempo)
        links = links_of(pane.sketch.keyed, LINK)
        pools, of_pools = replace(self.collusion, baseline=today).pools(evidence, links, scene)
        accounts = shared.accounts.met(scene.added, tally.first_at, self._labels, pane.start).without(scene.accused)
        groups, of_groups = shared.groups, list[Reading]()
        if accounts.is_due(scene.end):
            groups, of_groups = self.collusion.groups(accounts, groups, links, scene)
            cohort = self.collusion.cohort(accounts, scene)
            of_groups += [] if cohort is None else [cohort]
            accounts = accounts.looked(scene.end)
        recent = self._learn(shared.recent, scene, tally, groups)
        shared = replace(
            shared,
            peers=peers.without(scene.accused),
            accounts=accounts,
            groups=groups,
            recent=recent,
            exposed=shared.exposed.with_(measured),
        )
        spoken = {reading.subject.id for reading in of_pools if reading.level is not Level.OK}
        readings = [*alone, *of_pools, *(r for r in of_groups if r.subject.id not in spoken)]
        summary = self._summary(shared, tally, readings)
        speaks_for_model = any(reading.subject == MODEL for reading in readings)
        return Judgement(
            {**kept, **pools, MODEL: shared.to_arrays()}, readings if speaks_for_model else [*readings, summary]
        )

    def _enter(
        self, evidence: Mapping[Subject, Arrays], pane: Pane, shared: Shared
    ) -> tuple[Scene, Peers, dict[str, ClientState]]:
        """The pane's clients as they were before it, and the crowd after it; clients under alarm are no crowd."""
        added, crowd = pane.sketch.keyed.get(CLIENTS, {}), shared.peers.running
        states = {client: self._state(evidence, client, crowd, pane.start) for client in added}
        trusted = {client: added[client] for client in sorted(added) if states[client].status < 2}
        peers = shared.peers.met(trusted, self._labels, pane.start)
        events = {client: int(sums[0]) for client, sums in added.items()}
        accused = {client for client, state in states.items() if state.status == 2}
        scene = Scene(
            pane.start,
            pane.start + pane.width_s,
            trusted,
            capped(trusted),
            events,
            crowd,
            peers.running,
            accused,
            self._labels + 1,
        )
        return scene, peers, states

    def _state(self, evidence: Mapping[Subject, Arrays], client: str, crowd: IntArray, at: float) -> ClientState:
        arrays = evidence.get(self.identity.state(client))
        if arrays is None and self.identity.by is By.MODEL:
            return ClientState.by_blocks(crowd, at)
        return ClientState.load(arrays, crowd, at)

    def _learn(self, recent: Recent, scene: Scene, tally: Tally, groups: Groups) -> Recent:
        """What the pane teaches about honest clients: nothing while an incident is open."""
        new_alarms = sum(client not in tally.under_alarm for client in scene.accused)
        cleared = [client for client in tally.under_alarm if client not in scene.accused]
        recent = recent.judged(sorted(scene.accused), cleared, tally.new_days, new_alarms, scene.end)
        if recent.has_open or groups.is_open(scene.end, OPEN_FOR_S):
            return recent
        return recent.noted(tally.seen, scene.end)

    def _judge_clients(
        self,
        pane: Pane,
        scene: Scene,
        peers: Peers,
        before: Mapping[str, ClientState],
        today: Baseline,
        evidence: Mapping[Subject, Arrays],
        tempo: Tempo,
    ) -> tuple[dict[Subject, Arrays], list[Reading], Tally, dict[str, tuple[Copy, float]]]:
        added, nothing = pane.sketch.keyed.get(CLIENTS, {}), np.zeros_like(scene.crowd)
        kept: dict[Subject, Arrays] = {}
        readings: list[Reading] = []
        tally, measured = Tally.of(before, pane.start), dict[str, tuple[Copy, float]]()
        studied = pane.sketch.keyed.get(EXPOSURE, {})
        for client in sorted(added):
            earlier = before[client]
            state = earlier.after(added[client], scene.counted.get(client, nothing), scene.crowd, pane.start)
            dossier = Dossier.load(evidence.get(self.identity.state(client)), self.study.width)
            dossier = dossier.after(studied.get(client), *events_of([added[client]]), pane.start)
            seen: Look | None = None
            copy: Copy | None = None
            due = state.total_due or state.block_due
            if due or state.status == 2:
                copy = self.study.copy(dossier.sums)
                if due and copy is not None:
                    dossier = dossier.measured(copy, scene.end)
                    measured[client] = (copy, dossier.gain[0])
                bench = Bench(
                    today,
                    self.baseline,
                    peers.of(client, self._labels + 1),
                    self.baseline.known.get(client),
                    peers.running,
                    self._labels,
                    self.log_threshold,
                    self.study.itself,
                    client,
                    Beside(*self.study.witness(dossier, copy, unpack(state.total, self._labels).classes)),
                )
                state, seen = look(state, bench, scene.end)
            tally = tally.saw(client, state, seen)
            kept[self.identity.state(client)] = state.to_arrays() | dossier.to_arrays()
            if seen is not None and (seen.level or earlier.status):
                readings.append(self._reading(client, state, seen, dossier, copy, tempo))
            if state.status == 2:
                scene.accused.add(client)
            else:
                scene.accused.discard(client)
        return kept, readings, tally, measured

    def _reading(
        self, client: str, state: ClientState, seen: Look, dossier: Dossier, copy: Copy | None, tempo: Tempo
    ) -> Reading:
        level, finding = _LEVELS[seen.level], seen.finding
        kind = family(finding, self.channels)
        facts: Mapping[str, Any] = {}
        if level is not Level.OK:
            classes = unpack(state.total, self._labels).classes
            facts = detail(finding, kind, self.channels, self.baseline, seen.window) | study_detail(
                self.study, dossier, copy, classes, tempo, kind, self.exposure_limit
            )
        caveat = f" {self.identity.caveat}" if self.identity.caveat else ""
        return Reading(
            detector=self.name,
            kind=self.kind,
            subject=self.identity.subject(client),
            level=level,
            log_evidence=float(state.evidence),
            log_threshold=self.log_threshold,
            effect=finding.effect,
            effect_unit=UNIT,
            minimum_effect=MIN_EFFECT,
            since=state.since if level is not Level.OK else None,
            reason=reason(self.identity.who(client), finding, kind, level.value, self.identity.ask) + caveat,
            detail=facts,
        )

    def _summary(self, shared: Shared, tally: Tally, readings: Sequence[Reading]) -> Reading:
        """One reading for all clients that gave no reason to speak of."""
        most = shared.exposed.facts()
        odd = sum(r.level in (Level.WARNING, Level.ALARM) for r in readings)
        seen = shared.peers.running[0] >= FIRST_LOOK
        caveat = f" {self.identity.caveat}" if self.identity.caveat else ""
        return Reading(
            detector=self.name,
            kind=self.kind,
            subject=MODEL,
            level=Level.OK if tally.looked or odd or seen else Level.WARMING,
            log_evidence=tally.highest,
            log_threshold=self.log_threshold,
            effect=0.0,
            effect_unit=UNIT,
            minimum_effect=MIN_EFFECT,
            since=None,
            reason=f"{len(tally.first_at)} clients seen, {tally.looked} looked at, {odd} warnings and alarms.{caveat}"
            + summary_words(most, self.exposure_limit),
            detail={
                "n_clients": len(tally.first_at),
                "n_looked_at": tally.looked,
                "calibration": self.baseline.calibration,
                "judged_by": self.identity.by.value,
                "recalibration": self._ledger(shared),
                "exposures": most,
                "exposure_limit": self.exposure_limit,
            },
        )

    def _ledger(self, shared: Shared) -> dict[str, Any]:
        """JSON-ready alarms per client-day against what the budget allows, and how far tails have been widened."""
        recent = shared.recent
        return {
            "client_days": recent.client_days,
            "alarms": recent.alarms,
            "alarms_per_client_day": recent.alarms / max(1.0, recent.client_days),
            "budget_per_client_day": self.budget_per_client_day,
            "widened_by": dict(zip(HEADS, recent.factors(self.baseline.tails).tolist(), strict=True)),
            "frozen": recent.has_open or shared.groups.is_open(float(shared.accounts.looked_at), OPEN_FOR_S),
        }


def _count_links(key: str, runs: Runs, slices: list[dict[str, dict[str, IntArray]]]) -> None:
    """How many events of each client have each value of a linking key."""
    counts: dict[tuple[int, str, str], int] = {}
    values = runs.batch.segments.get(key, np.full(len(runs.batch), None)).tolist()
    for at, client, value in zip(runs.position.tolist(), runs.client.tolist(), values, strict=True):
        if value:
            place = (at, str(value), runs.keys[client])
            counts[place] = counts.get(place, 0) + 1
    for (at, value, client_key), n in counts.items():
        slices[at].setdefault(LINK + key, {})[link_name(value, client_key)] = np.array([n], dtype=np.int64)
