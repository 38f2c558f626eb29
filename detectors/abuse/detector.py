"""Abuse detector: which client wastes the model's time, runs up its cost, or feels for its edges.

Map side: every event becomes a row of counts, summed by client. Reduce side: five rates (slow and very slow answers,
faulty inputs, one-feature steps, rare classes) hold evidence that may be looked at any time (``clients/rates.py``), and
the volume of each client's day so far is compared with its past (``volume.py``). The chance that an honest client is
ever accused, by whichever head, stays below what the budget's share allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from detectors.abuse.faults import Faults
from detectors.abuse.heads import LEAST_EVENTS, LEAST_FOLD, RATES, VOLUME, VOLUME_PART, counts_of, fit_rates, unwatched
from detectors.abuse.layout import AT, PER_EVENT, WIDTH, Reader, sampling_rates
from detectors.abuse.sweeps import LastQueries, swept_columns
from detectors.abuse.volume import Asked, Crowd, Volumes, VolumeWatch, has_past, hours_active
from detectors.abuse.words import Facts, detail, reason
from detectors.base import MODEL, Arrays, Judgement, Kind, Level, Pane, Part, Reading, Subject, SubjectType, Unfit
from detectors.batch import EventBatch, FloatArray, IntArray
from detectors.budget import AlarmBudget
from detectors.clients.rates import MEMORY, NO_RATE, HonestRate
from detectors.clients.ratewatch import Company, RateLook, RateWatch
from detectors.clients.spending import clients_per_week, log_threshold
from detectors.clients.standing import LEVELS, Look, Standing
from detectors.clients.sums import client_number, numbered, sums_by_client
from detectors.keys import client_key
from detectors.schema import Schema
from detectors.sketch import Sketch

CLIENTS = "clients"
_RATE_UNIT = "share of queries beyond what is expected"
_VOLUME_UNIT = "times the expected volume"


class AbuseDetector:
    """Names the clients that abuse the model; see the module's text."""

    name: ClassVar[str] = "abuse"
    kind: ClassVar[Kind] = Kind.ABUSE

    def __init__(
        self,
        reader: Reader,
        watch: RateWatch,
        asking: VolumeWatch | None,
        columns: tuple[str, ...],
        threshold: float,
        calibration: str,
    ) -> None:
        self.reader = reader
        self.watch = watch
        self.asking = asking
        self.columns = columns
        self.log_threshold = threshold
        self.calibration = calibration

    @classmethod
    def fit(cls, reference: EventBatch, schema: Schema, pane_s: float, seed: int) -> Part | Unfit:
        """Learn what honest clients do; unfit without client ids."""
        client, names = numbered(reference)
        if len(names) < 2:
            return Unfit("events name fewer than two clients, so no client can be told from the others")
        kept = client >= 0
        reference, client = reference.take(kept), client[kept]
        columns = swept_columns(schema)
        reference = LastQueries(columns, max_clients=len(names)).annotate(reference)
        reader = Reader.fit(reference, Faults.fit(reference, schema))
        rows = reader.rows(reference)
        rates = fit_rates(rows, reference, client, len(names), pane_s)
        sums = np.zeros((len(names), WIDTH))
        np.add.at(sums, client, rows)
        arrays: dict[str, NDArray[np.generic]] = dict(reader.to_arrays())
        arrays |= {
            "rates": np.stack([rate.to_array() for rate in rates]),
            "known": np.array([client_key(name) for name in names], dtype=str),
            "known_counts": np.rint(counts_of(sums)).astype(np.int64),
        }
        facts: dict[str, Any] = reader.to_facts()
        fitted = Volumes.fit(reference.timestamp, client, 1.0 / sampling_rates(reference), len(names), pane_s)
        if fitted is not None:
            volumes, days, means = fitted
            arrays |= {"known_days": days, "known_means": means, **volumes.to_arrays()}
            facts["volumes"] = volumes.calibration
        silent = unwatched({h.name: rate for h, rate in zip(RATES, rates, strict=True)}, reader)
        if fitted is None:
            silent["volume"] = "the reference is shorter than three hours, or three panes where those are longer"
        facts |= {
            "clients_per_week": clients_per_week(reference),
            "n_clients": len(names),
            "columns": list(columns),
            "pane_s": pane_s,
            "unwatched": silent,
        }
        return Part(arrays, facts)

    @classmethod
    def build(cls, part: Part, schema: Schema, budget: AlarmBudget) -> Self:
        """The detector; the budget's share is divided among the honest clients of a week, as far as tails bear it."""
        silent = part.facts["unwatched"]
        parts = np.array([0.0 if head.name in silent else head.part for head in RATES])
        whole = max(float(parts.sum()) + (VOLUME_PART if "volumes" in part.facts else 0.0), 1e-9)
        known = part.arrays["known"].tolist()
        counts = {c: row.astype(np.float64) for c, row in zip(known, part.arrays["known_counts"], strict=True)}
        rates = tuple(
            NO_RATE if head.name in silent else HonestRate.from_array(np.asarray(row, dtype=np.float64))
            for head, row in zip(RATES, part.arrays["rates"], strict=True)
        )
        return cls(
            Reader.load(part.arrays, part.facts),
            RateWatch(rates, np.maximum(parts / whole, 1e-12), float(part.facts["pane_s"]), counts),
            _asking(part, known, VOLUME_PART / whole),
            tuple(part.facts["columns"]),
            log_threshold(budget.alarms_per_week_of(cls.name), float(part.facts["clients_per_week"])),
            _calibration(part),
        )

    @property
    def memory_key(self) -> str:
        """Detectors with equal keys can share one memory."""
        return self.name

    def new_memory(self, max_clients: int = 10_000) -> LastQueries:
        """Empty memory of clients' last queries; who reads a stream annotates each batch, in arrival order."""
        return LastQueries(self.columns, max_clients)

    def sketch(self, batch: EventBatch, starts: IntArray) -> Sequence[Sketch]:
        """Per slice and client the sums of the rows; events without a client id are left out."""
        slices = sums_by_client(batch, starts, self.reader.rows)
        return [Sketch(keyed={CLIENTS: clients} if clients else {}) for clients in slices]

    def subjects(self, pane: Pane) -> Sequence[Subject]:
        """The model, and every client seen in the pane."""
        return [MODEL, *(_subject(client) for client in pane.sketch.keyed.get(CLIENTS, {}))]

    def judge(self, evidence: Mapping[Subject, Arrays], pane: Pane) -> Judgement:
        """Fold the pane into each client's evidence."""
        added = pane.sketch.keyed.get(CLIENTS, {})
        clients = sorted(added)
        if not clients:
            return Judgement({}, [self._summary(0, 0.0, ())])
        stored = [evidence.get(_subject(c)) for c in clients]
        standings = [Standing.load(s, pane.start) for s in stored]
        sums = np.stack([added[c] for c in clients]).astype(np.float64)
        model = evidence.get(MODEL)
        look = self.watch.look(
            self.watch.load(clients, stored),
            Company.load(model, len(RATES), pane.start),
            counts_of(sums),
            np.array([s.status < 2 for s in standings]),
            pane.start,
        )
        days = self._days(clients, stored, sums, pane.start)
        crowd = self._crowd(model, clients, days, standings)
        faded = self._faded(stored, sums)
        kept: dict[Subject, Arrays] = {MODEL: {**look.company.to_arrays(), **crowd.to_arrays(self._n_windows)}}
        readings: list[Reading] = []
        highest = 0.0
        for i, client in enumerate(clients):
            asked = self._ask(client, days[i], crowd)
            seen = self._look(i, look, faded[i], asked, standings[i])
            after = standings[i].after(seen, self.log_threshold, pane.start + pane.width_s)
            if standings[i].status == 2 and after.status == 0:
                self.watch.acquitted(look.after, i)
            highest = max(highest, seen.evidence if after.status == 0 else 0.0)
            state = {"recent": faded[i], "volume": days[i], "standing": after.to_array()}
            kept[_subject(client)] = look.after.to_arrays(i) | state
            if after.status or standings[i].status:
                readings.append(self._reading(client, after, self._facts(i, look, faded[i], days[i], asked)))
        return Judgement(kept, [*readings, self._summary(len(clients), highest, readings)])

    @property
    def _n_windows(self) -> int:
        return 0 if self.asking is None else self.asking.n_windows

    def _crowd(
        self,
        model: Arrays | None,
        clients: Sequence[str],
        days: Sequence[FloatArray],
        standings: Sequence[Standing],
    ) -> Crowd:
        """What everybody's day is like, those of this pane included; clients under an alarm are not asked."""
        table = dict(Crowd.load(model, self._n_windows).table)
        if self.asking is not None:
            for client, day, standing in zip(clients, days, standings, strict=True):
                if standing.status < 2 and has_past(day):
                    table[client_number(client)] = (float(day[0]), self.asking.volumes.surprise(day))
        return Crowd(table)

    def _faded(self, stored: Sequence[Arrays | None], sums: FloatArray) -> FloatArray:
        """(c, width) sums of about the last hundred events of each client."""
        before = np.stack([np.zeros(WIDTH) if s is None else s["recent"] for s in stored]).astype(np.float64)
        n = sums[:, [AT["events"]]]
        return np.asarray(before * np.exp(-n / MEMORY) + sums * np.minimum(1.0, MEMORY / np.maximum(n, 1.0)))

    def _days(
        self, clients: Sequence[str], stored: Sequence[Arrays | None], sums: FloatArray, start: float
    ) -> list[FloatArray]:
        """Each client's day so far."""
        if self.asking is None:
            return [np.zeros(0) for _ in clients]
        before = [None if s is None else np.asarray(s["volume"], dtype=np.float64) for s in stored]
        volume = sums[:, AT["volume"]] / PER_EVENT
        rows = zip(clients, before, volume.tolist(), strict=True)
        return [self.asking.after(client, state, start, v) for client, state, v in rows]

    def _ask(self, client: str, day: FloatArray, crowd: Crowd) -> Asked:
        if self.asking is None:
            return Asked(-np.inf, 0.0, 0, np.zeros(0), True)
        return self.asking.ask(client_number(client), day, crowd)

    def _look(self, i: int, look: RateLook, sums: FloatArray, asked: Asked, standing: Standing) -> Look:
        """The loudest head of one client; one that may accuse goes before one that may not."""
        evidence = [*look.evidence[i].tolist(), asked.evidence]
        found = [self._of_head(j, i, look, sums, asked, evidence[j]) for j in range(len(evidence))]
        best = max(found, key=lambda seen: (seen.accusable and seen.evidence >= self.log_threshold, seen.evidence))
        return Look(best.head, best.evidence, best.effect, best.accusable, found[standing.head].lingers)

    def _of_head(self, j: int, i: int, look: RateLook, sums: FloatArray, asked: Asked, evidence: float) -> Look:
        if j == VOLUME:
            able = asked.fold >= LEAST_FOLD and not asked.alone
            return Look(j, evidence, asked.fold, able, asked.fold >= 0.5 * LEAST_FOLD)
        head = RATES[j]
        effect = float(look.share[i, j] - look.expected[i, j])
        able = effect >= head.minimum_effect and look.n[i, j] >= LEAST_EVENTS and head.is_spread(sums)
        return Look(j, evidence, effect, bool(able and not look.alone[i, j]), effect >= 0.5 * head.minimum_effect)

    def _facts(self, i: int, look: RateLook, sums: FloatArray, day: FloatArray, asked: Asked) -> Facts:
        v = None if self.asking is None else self.asking.volumes
        return Facts(
            evidence=np.append(look.evidence[i], asked.evidence),
            share=look.share[i],
            n=look.n[i],
            expected=look.expected[i],
            sums=sums,
            today=np.zeros(0) if v is None else v.today(day),
            usual=np.zeros(0) if v is None else v.usual(day),
            widths=np.zeros(0) if v is None else v.widths,
            window=asked.window,
            hours=0 if v is None else hours_active(day),
            rise=asked.rise,
            alone=bool(look.alone[i].all()) and asked.alone,
        )

    def _reading(self, client: str, standing: Standing, facts: Facts) -> Reading:
        level = LEVELS[standing.status]
        volume = standing.head == VOLUME
        return Reading(
            detector=self.name,
            kind=self.kind,
            subject=_subject(client),
            level=level,
            log_evidence=float(max(standing.evidence, 0.0)),
            log_threshold=self.log_threshold,
            effect=float(standing.effect),
            effect_unit=_VOLUME_UNIT if volume else _RATE_UNIT,
            minimum_effect=LEAST_FOLD if volume else RATES[standing.head].minimum_effect,
            since=standing.since if level is not Level.OK else None,
            reason=reason(client, standing.head, facts, level.value),
            detail=detail(standing.head, facts, self.calibration) if level is not Level.OK else {},
        )

    def _summary(self, n_clients: int, highest: float, readings: Sequence[Reading]) -> Reading:
        """One reading for all clients that gave no reason to speak of."""
        odd = sum(r.level in (Level.WARNING, Level.ALARM) for r in readings)
        return Reading(
            detector=self.name,
            kind=self.kind,
            subject=MODEL,
            level=Level.OK if n_clients else Level.WARMING,
            log_evidence=float(max(highest, 0.0)),
            log_threshold=self.log_threshold,
            effect=0.0,
            effect_unit=_RATE_UNIT,
            minimum_effect=RATES[0].minimum_effect,
            since=None,
            reason=f"{n_clients} clients seen, {odd} with a warning or an alarm of their own.",
            detail={"n_clients": n_clients, "calibration": self.calibration},
        )


def _asking(part: Part, known: Sequence[str], share: float) -> VolumeWatch | None:
    if "volumes" not in part.facts:
        return None
    rows = zip(known, part.arrays["known_days"], part.arrays["known_means"], strict=True)
    past = {c: (float(days), np.asarray(means, dtype=np.float64)) for c, days, means in rows}
    return VolumeWatch(Volumes.load(part.arrays, part.facts["volumes"]), past, share)


def _calibration(part: Part) -> str:
    words = [f"{part.facts['n_clients']} clients in the reference", part.facts.get("volumes", "")]
    silent = part.facts["unwatched"]
    if silent:
        words.append("not watched: " + ", ".join(f"{name} ({why})" for name, why in silent.items()))
    return "; ".join(word for word in words if word)


def _subject(client: str) -> Subject:
    return Subject(SubjectType.CLIENT, client)
