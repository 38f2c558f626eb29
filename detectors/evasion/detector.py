"""Evasion detector: which client feels its way along the model's answers.

Map side: the ring memory tells how each query follows from the client's own recent ones, and each client's tells are
counted. Reduce side: a client's counts are put to six heads on a schedule of looks whose price is paid beforehand, so
the chance that an honest client is ever accused stays below the level its budget share allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np

from detectors.arrays import led, under
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
from detectors.budget import AlarmBudget
from detectors.clients.rings import CAPACITY, ClientRings, RingCode
from detectors.clients.spending import clients_per_week, log_threshold
from detectors.clients.sums import sums_by_client
from detectors.evasion.crowd import Crowd
from detectors.evasion.fitting import fit
from detectors.evasion.honest import Baseline
from detectors.evasion.tally import Tally, contributions
from detectors.evasion.verdict import MIN_EFFECT, Finding, examine
from detectors.evasion.walkers import FIRST_LOOK, Walker
from detectors.evasion.words import detail, family, reason
from detectors.schema import Schema
from detectors.sketch import Sketch

CLIENTS = "clients"
UNIT = "share of queries"
MOST_ALPHA = 1e-3
"""What one client may spend in its life at most."""
LINGERING = float(np.log(0.1))
_LEVELS = (Level.OK, Level.WARNING, Level.ALARM)


class EvasionDetector:
    """Names the clients that walk along the model's answers; see the module's text.

    Args:
        log_threshold: -ln of the chance, per honest client and life, of a false alarm.
    """

    name: ClassVar[str] = "evasion"
    kind: ClassVar[Kind] = Kind.EVASION

    def __init__(self, ring_code: RingCode, baseline: Baseline, log_threshold: float) -> None:
        self.ring_code = ring_code
        self.baseline = baseline
        self.log_threshold = log_threshold

    @classmethod
    def fit(cls, reference: EventBatch, schema: Schema, pane_s: float, seed: int) -> Part | Unfit:
        """Learn how honest clients walk; unfit without client ids, inputs or predicted classes."""
        found = fit(reference, schema, seed)
        if isinstance(found, Unfit):
            return found
        code, baseline = found
        arrays = led("rings", code.to_arrays()) | led("baseline", baseline.to_arrays())
        facts = {
            "rings": code.map.to_facts(),
            "labels": list(code.labels),
            "clients_per_week": clients_per_week(reference),
            "calibration": baseline.calibration,
        }
        return Part(arrays, facts)

    @classmethod
    def build(cls, part: Part, schema: Schema, budget: AlarmBudget) -> Self:
        """The detector; the budget's share is divided among the honest clients of a week."""
        return cls(
            RingCode.load(under("rings", part.arrays), part.facts["rings"], tuple(part.facts["labels"])),
            Baseline.load(under("baseline", part.arrays)),
            log_threshold(budget.alarms_per_week_of(cls.name), float(part.facts["clients_per_week"]), MOST_ALPHA),
        )

    @property
    def memory_key(self) -> str:
        """Detectors with equal keys can share one memory."""
        return self.ring_code.fingerprint

    def new_memory(self, capacity: int = CAPACITY, max_clients: int = 10_000) -> ClientRings:
        """Empty rings; who reads a stream holds them and annotates each batch, in arrival order, before sketching."""
        return ClientRings(self.ring_code, capacity, max_clients)

    def sketch(self, batch: EventBatch, starts: IntArray) -> Sequence[Sketch]:
        """Per slice and client the counts of its walks; events without a client id are left out."""
        slices = sums_by_client(batch, starts, contributions)
        return [Sketch(keyed={CLIENTS: clients} if clients else {}) for clients in slices]

    def subjects(self, pane: Pane) -> Sequence[Subject]:
        """The model, and every client seen in the pane."""
        return [MODEL, *(_subject(client) for client in pane.sketch.keyed.get(CLIENTS, {}))]

    def judge(self, evidence: Mapping[Subject, Arrays], pane: Pane) -> Judgement:
        """Fold the pane into each client's counts, and look at the clients that are due."""
        added = pane.sketch.keyed.get(CLIENTS, {})
        walkers = {c: Walker.load(evidence.get(_subject(c)), pane.start) for c in sorted(added)}
        crowd = Crowd.load(evidence.get(MODEL))
        crowd = crowd.met({c: added[c] for c, walker in walkers.items() if walker.status < 2})
        kept: dict[Subject, Arrays] = {}
        readings: list[Reading] = []
        accused: list[str] = []
        looked, highest, most = 0, 0.0, 0
        for client, before in walkers.items():
            walker, reading, looks = self._look(client, before.after(added[client], pane.start), crowd)
            looked += looks
            most = max(most, Tally(walker.total)["steps"])
            highest = max(highest, walker.evidence if looks and walker.status == 0 else 0.0)
            kept[_subject(client)] = walker.to_arrays()
            if reading is not None:
                readings.append(reading)
            if walker.status == 2:
                accused.append(client)
        kept[MODEL] = crowd.without(accused).to_arrays()
        return Judgement(kept, [*readings, self._summary(len(added), looked, most, highest, readings)])

    def _look(self, client: str, walker: Walker, crowd: Crowd) -> tuple[Walker, Reading | None, int]:
        total, block = walker.total_due, walker.block_due
        peers = crowd.flip_rate(client)
        if not total and not block:
            if walker.status < 2:
                return walker, None, 0
            standing = examine(Tally(walker.total), walker.total_looks, self.baseline, peers)
            return walker, self._reading(client, walker, standing, "since first seen", 2), 0
        found: list[tuple[Finding, str, float]] = []
        if total:
            whole = examine(Tally(walker.total), walker.total_looks, self.baseline, peers)
            found.append((whole, "since first seen", walker.first_at))
        if block:
            recent = examine(Tally(walker.block), walker.block_looks, self.baseline, peers)
            found.append((recent, "since the last look", walker.block_at))
        finding, window, since = max(found, key=lambda item: (self._rank(item[0]), item[0].evidence))
        status = self._rank(finding)
        if walker.status == 2 and status < 2:
            finding, window, since = found[-1]
            status = 2 if self._lingers(finding) else 0
        earlier = walker.status
        grown = max(finding.evidence, walker.evidence) if status == 2 == earlier else finding.evidence
        walker = replace(
            walker.looked(total, block),
            status=status,
            evidence=min(grown, 0.99 * self.log_threshold) if status < 2 else grown,
            since=walker.since if earlier and status else since,
        )
        if not status and not earlier:
            return walker, None, 1
        return walker, self._reading(client, walker, finding, window, status), 1

    def _rank(self, finding: Finding) -> int:
        if finding.evidence < self.log_threshold:
            return 0
        return 2 if finding.effect >= MIN_EFFECT else 1

    def _lingers(self, finding: Finding) -> bool:
        """Whether a client under alarm still acts on the answers, or walks more than nine in ten honest clients do."""
        still = min(finding.log_p) <= float(np.log(0.02))
        return finding.effect >= MIN_EFFECT and (still or self.baseline.log_rarity(finding.tally.walking) <= LINGERING)

    def _reading(self, client: str, walker: Walker, finding: Finding, window: str, status: int) -> Reading:
        level = _LEVELS[status]
        walk = family(finding)
        facts: Mapping[str, Any] = detail(finding, walk, self.baseline, window) if status else {}
        return Reading(
            detector=self.name,
            kind=self.kind,
            subject=_subject(client),
            level=level,
            log_evidence=float(walker.evidence),
            log_threshold=self.log_threshold,
            effect=max(finding.effect, MIN_EFFECT) if status == 2 else finding.effect,
            effect_unit=UNIT,
            minimum_effect=MIN_EFFECT,
            since=walker.since if status else None,
            reason=reason(client, finding, walk, level.value),
            detail=facts,
        )

    def _summary(self, n_clients: int, looked: int, most: int, highest: float, readings: Sequence[Reading]) -> Reading:
        """One reading for all clients that gave no reason to speak of."""
        odd = sum(r.level in (Level.WARNING, Level.ALARM) for r in readings)
        return Reading(
            detector=self.name,
            kind=self.kind,
            subject=MODEL,
            level=Level.OK if looked or odd or most >= FIRST_LOOK else Level.WARMING,
            log_evidence=float(highest),
            log_threshold=self.log_threshold,
            effect=0.0,
            effect_unit=UNIT,
            minimum_effect=MIN_EFFECT,
            since=None,
            reason=f"{n_clients} clients seen, {looked} looked at, {odd} with a warning or an alarm of their own.",
            detail={"n_clients": n_clients, "n_looked_at": looked, "calibration": self.baseline.calibration},
        )


def _subject(client: str) -> Subject:
    return Subject(SubjectType.CLIENT, client)
