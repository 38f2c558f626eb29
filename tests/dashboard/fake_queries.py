"""An in-memory read side with rich, seeded rows, hostile names among them, and the actions that change it."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from monitor.errors import Conflict, TransientError
from monitor.queries import (
    AlertFilter,
    AlertRow,
    BudgetRow,
    DeadLetterRow,
    DeliveryRow,
    DetectorLedgerRow,
    LedgerRow,
    ModelRow,
    OverviewRow,
    Page,
    PartitionRow,
    ReadingRow,
    TransitionRow,
    VolumePoint,
)

SCRIPT = "<script>window.hacked=1</script>"
IMAGE = '"><img src=x onerror="window.hacked=1">'
LINK = '<a href="https://evil.example/">click</a>'
BACKWARDS = "invoice‮gpj.exe"
LONG = "a-very-long-name-" * 20
HOSTILE_MODEL = f"{SCRIPT}/../{LINK}"

Key = tuple[str, str]


@dataclass
class FakeQueries:
    """Answers from its lists; ``away`` makes every question fail as an absent database does."""

    model_rows: list[ModelRow] = field(default_factory=list)
    alert_rows: list[AlertRow] = field(default_factory=list)
    transition_rows: list[TransitionRow] = field(default_factory=list)
    delivery_rows: list[DeliveryRow] = field(default_factory=list)
    reading_rows: dict[Key, list[ReadingRow]] = field(default_factory=dict)
    volume_rows: dict[Key, list[VolumePoint]] = field(default_factory=dict)
    summaries: dict[Key, Mapping[str, Any]] = field(default_factory=dict)
    budget_rows: dict[Key, BudgetRow] = field(default_factory=dict)
    partition_rows: list[PartitionRow] = field(default_factory=list)
    dead_letter_rows: list[DeadLetterRow] = field(default_factory=list)
    events_last_minute: int = 0
    away: bool = False
    acts: list[tuple[str, str, str, str]] = field(default_factory=list)
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def overview(self) -> OverviewRow:
        self._check()
        unresolved = [row for row in self.alert_rows if row.status != "resolved"]
        severities = ("critical", "warning", "info")
        return OverviewRow(
            open_alerts={name: n for name in severities if (n := sum(row.severity == name for row in unresolved))},
            models=len(self.model_rows),
            events_total=sum(row.events_total for row in self.model_rows),
            events_last_minute=self.events_last_minute,
            dead_letters_total=len(self.dead_letter_rows),
            deliveries_owed=sum(row.status == "owed" for row in self.delivery_rows),
            deliveries_dead=sum(row.status == "dead" for row in self.delivery_rows),
            last_commit_at=max((row.updated_at for row in self.partition_rows), default=None),
        )

    def models(self) -> Sequence[ModelRow]:
        self._check()
        return self.model_rows

    def model(self, model: str, version: str) -> ModelRow | None:
        self._check()
        return next((row for row in self.model_rows if (row.model, row.version) == (model, version)), None)

    def alerts(self, where: AlertFilter, limit: int = 100, cursor: str | None = None) -> Page[AlertRow]:
        self._check()
        rows = sorted((row for row in self.alert_rows if _matches(row, where)), key=lambda row: row.opened_at)[::-1]
        return Page(rows[:limit], "next" if len(rows) > limit else None)

    def alert(self, alert_id: str) -> AlertRow | None:
        self._check()
        return next((row for row in self.alert_rows if row.id == alert_id), None)

    def strange_values(self, alert_id: str) -> Mapping[str, Mapping[str, Any]]:
        return self.values

    def transitions(self, alert_id: str) -> Sequence[TransitionRow]:
        return [row for row in self.transition_rows if row.alert_id == alert_id]

    def deliveries(self, alert_id: str) -> Sequence[DeliveryRow]:
        return [row for row in self.delivery_rows if row.alert_id == alert_id]

    def readings(
        self, model: str, version: str, since: datetime, until: datetime, limit: int = 5_000
    ) -> Sequence[ReadingRow]:
        rows = self.reading_rows.get((model, version), [])
        return [row for row in rows if since <= row.pane_start < until][:limit]

    def volume(
        self, model: str, version: str, since: datetime, until: datetime, points: int = 300
    ) -> Sequence[VolumePoint]:
        rows = [row for row in self.volume_rows.get((model, version), []) if since <= row.at < until]
        step = max(1, math.ceil(len(rows) / points))
        chunks = [rows[index : index + step] for index in range(0, len(rows), step)]
        return [VolumePoint(chunk[0].at, sum(row.n_events for row in chunk)) for chunk in chunks]

    def event_range(self, model: str, version: str) -> tuple[datetime, datetime] | None:
        rows = self.volume_rows.get((model, version))
        return (rows[0].at, rows[-1].at) if rows else None

    def reference_summary(self, model: str, version: str) -> Mapping[str, Any] | None:
        return self.summaries.get((model, version))

    def budget(self, model: str, version: str) -> BudgetRow | None:
        return self.budget_rows.get((model, version))

    def partitions(self) -> Sequence[PartitionRow]:
        return self.partition_rows

    def dead_letters(self, limit: int = 100, cursor: str | None = None) -> Page[DeadLetterRow]:
        return Page(self.dead_letter_rows[:limit], None)

    def acknowledge(self, alert_id: str, by: str, note: str) -> None:
        self._change(alert_id, "acknowledged", by, note)

    def resolve(self, alert_id: str, by: str, note: str) -> None:
        self._change(alert_id, "resolved", by, note)

    def mark(self, alert_id: str, verdict: str | None, by: str, note: str) -> None:
        self._check()
        row, now = self.alert(alert_id), datetime.now(UTC)
        if row is None or row.verdict == verdict:
            raise Conflict(f"alert {alert_id} is already marked so")
        said = {"verdict": verdict, "verdict_by": by if verdict else None, "verdict_at": now if verdict else None}
        self._record(row, f"marked_{verdict}" if verdict else "unmarked", said, by, note)

    def dismiss(self, alert_id: str, by: str, note: str) -> None:
        self.mark(alert_id, "false_alarm", by, note)
        row = self.alert(alert_id)
        if row is not None and row.status != "resolved":
            self.resolve(alert_id, by, "")

    def _change(self, alert_id: str, status: str, by: str, note: str) -> None:
        self._check()
        row, now = self.alert(alert_id), datetime.now(UTC)
        if row is None or row.status == "resolved":
            raise Conflict(f"alert {alert_id} is not open")
        changes: dict[str, Any] = {"status": status}
        if status == "acknowledged":
            changes |= {"acknowledged_by": by, "acknowledged_at": now}
        else:
            changes |= {"resolved_at": row.last_seen_at}
        self._record(row, status, changes, by, note)

    def _record(self, row: AlertRow, transition: str, changes: Mapping[str, Any], by: str, note: str) -> None:
        self.alert_rows[self.alert_rows.index(row)] = dataclasses.replace(row, **changes)
        n, now = len(self.transitions(row.id)) + 1, datetime.now(UTC)
        self.transition_rows.append(
            TransitionRow(f"{row.id}-{n}", row.id, n, transition, row.severity, row.last_seen_at, by, note, now)
        )
        self.acts.append((transition, row.id, by, note))

    def _check(self) -> None:
        if self.away:
            raise TransientError("The database at db.internal:5432 does not answer; trying again.")


def _matches(row: AlertRow, where: AlertFilter) -> bool:
    text = " ".join((row.model, row.subject_id, row.title, row.reason)).lower()
    return (
        (not where.model or row.model in where.model)
        and (not where.kind or row.kind in where.kind)
        and (not where.status or row.status in where.status)
        and (not where.severity or row.severity in where.severity)
        and (not where.verdict or (row.verdict or "none") in where.verdict)
        and where.search.lower() in text
    )


def empty() -> FakeQueries:
    """A system that has read nothing."""
    return FakeQueries()


def rich(now: datetime, seed: int = 7) -> FakeQueries:
    """Six model versions, alerts of each kind and state, a busy pipeline, and hostile names everywhere."""
    rng = random.Random(seed)
    fake = FakeQueries(events_last_minute=12_431)
    _add_models(fake, now, rng)
    _add_thief(fake, now)
    _add_alerts(fake, now, rng)
    _add_pipeline(fake, now)
    return fake


def _add_models(fake: FakeQueries, now: datetime, rng: random.Random) -> None:
    names = (
        ("credit-risk", "2026.03", "alarm", 4_812_331),
        ("credit-risk", "2026.02", "ok", 18_204_411),
        ("image-moderation", "v14", "alarm", 2_204_118),
        ("churn", "3", "warning", 881_204),
        ("pricing", "", "ok", 120_482),
        ("fraud-embeddings", "7", "warming", 4_210),
        (HOSTILE_MODEL, SCRIPT, "warming", 12),
        (LONG, LONG, "ok", 99),
    )
    for index, (model, version, status, total) in enumerate(names):
        key = (model, version)
        fitted = status != "warming"
        fake.model_rows.append(
            ModelRow(
                model=model,
                version=version,
                status=status,
                events_total=total,
                first_seen_at=now - timedelta(days=40 - index),
                last_event_at=now - timedelta(seconds=3 + 40 * index),
                open_alerts=0,
                reference_id=f"ref-{index:04d}8f3a9c" if fitted else None,
                reference_events=20_000 if fitted else None,
                reference_created_at=now - timedelta(days=31) if fitted else None,
                pane_s=10 if fitted else None,
            )
        )
        if fitted:
            _add_history(fake, key, now, rng, index)


def _add_history(fake: FakeQueries, key: Key, now: datetime, rng: random.Random, index: int) -> None:
    start = now - timedelta(hours=8)
    fake.volume_rows[key] = [
        VolumePoint(start + timedelta(minutes=m), max(0, round(900 + 350 * math.sin(m / 60) + rng.gauss(0, 60))))
        for m in range(480)
    ]
    fake.budget_rows[key] = _budget(key, now, index)
    fake.summaries[key] = {
        "n_clients": 412,
        "schema": {
            "columns": [
                ["age", "numeric"],
                ["income", "numeric"],
                ["plan", "categorical"],
                [SCRIPT, "categorical"],
                [LONG, "numeric"],
                ["device", "categorical"],
            ],
            "classes": ["approve", "refer", "decline"],
        },
        "detectors": sorted(SHARES),
        "unfit": {"embedding": "the reference holds no embeddings"},
    }
    fake.reading_rows[key] = [
        row for detector, kind, threshold in DETECTORS for row in _readings(key, detector, kind, threshold, start, rng)
    ]


SHARES: Mapping[str, float] = {"drift": 0.4, "extraction": 0.3, "ood": 0.15, "performance": 0.1, "quality": 0.05}


def _budget(key: Key, now: datetime, index: int) -> BudgetRow:
    """Unlike from model to model: within the budget, beyond it by chance, and beyond it for sure."""
    week_s = 7 * 86_400
    false = (2, 0, 21, 4, 1)[index % 5]
    return BudgetRow(
        *key,
        alarms_per_week=1.0,
        shares=SHARES,
        last_week=_ledger(now, 1, 5.1e5 / week_s, min(false, 2), 1, index % 3),
        last_4_weeks=_ledger(now, 4, 3.4, false, 3, 2 + index % 3),
    )


def _ledger(now: datetime, weeks: int, watched: float, false: int, real: int, unmarked: int) -> LedgerRow:
    """Drift raised the false ones, extraction the real ones, a detector that is gone all others."""
    low, high = (0.24, 7.2) if false == 2 else (0.6 * false, 1.6 * false + 3.7)
    counts = {"drift": (false, 0, 0), "extraction": (0, real, 0), "retired": (0, 0, unmarked)}
    lines = [
        DetectorLedgerRow(
            detector=name,
            share=SHARES.get(name, 0.0),
            allowed=watched * SHARES.get(name, 0.0),
            alerts=sum(counts.get(name, (0, 0, 0))),
            false_alarms=counts.get(name, (0, 0, 0))[0],
            real=counts.get(name, (0, 0, 0))[1],
            unmarked=counts.get(name, (0, 0, 0))[2],
        )
        for name in (*SHARES, "retired")
    ]
    return LedgerRow(
        since=now - timedelta(weeks=weeks),
        until=now,
        watched_s=watched * 7 * 86_400,
        allowed=watched,
        alerts=false + real + unmarked,
        false_alarms=false,
        real=real,
        unmarked=unmarked,
        false_alarms_per_week=false / watched,
        false_alarms_per_week_low=low / watched,
        false_alarms_per_week_high=high / watched,
        detectors=lines,
    )


def _add_thief(fake: FakeQueries, now: datetime) -> None:
    """Readings of the client that the theft alert is about."""
    fake.reading_rows["credit-risk", "2026.03"] += [
        ReadingRow(
            detector="extraction",
            kind="extraction",
            subject_type="client",
            subject_id="key-7731",
            pane_start=now - timedelta(minutes=60 - minute),
            pane_s=60,
            level="alarm" if minute > 22 else "warning" if minute > 18 else "ok",
            log_evidence=0.4 if minute < 12 else min(0.4 + 1.15 * (minute - 12), 41.0),
            log_threshold=12.2,
            effect=0.5,
            effect_unit="share of queries",
            reason="61 % of its queries sit next to the decision boundary",
        )
        for minute in range(60)
    ]


DETECTORS = (
    ("drift", "drift", 11.7),
    ("ood", "ood", 12.6),
    ("extraction", "extraction", 12.2),
    ("performance", "performance", 13.1),
    ("quality", "quality", 13.6),
)


def _readings(
    key: Key, detector: str, kind: str, threshold: float, start: datetime, rng: random.Random
) -> list[ReadingRow]:
    rising = {("credit-risk", "drift"): 400, ("image-moderation", "ood"): 420, ("churn", "drift"): 430}
    onset = rising.get((key[0], detector), 10_000) if key[1] != "2026.02" else 10_000
    value, rows = 0.5, []
    for minute in range(480):
        value = max(0.2, value + rng.gauss(0, 0.25)) if minute < onset else value + rng.uniform(0.05, 0.45)
        value = min(value, 9.5) if key[0] == "churn" else min(value, 3.0 if minute < onset else 18.0)
        level = "alarm" if value >= threshold else "warning" if value >= 0.7 * threshold else "ok"
        rows.append(
            ReadingRow(
                detector=detector,
                kind=kind,
                subject_type="model",
                subject_id="",
                pane_start=start + timedelta(minutes=minute),
                pane_s=60,
                level=level,
                log_evidence=value,
                log_threshold=threshold,
                effect=0.2,
                effect_unit="share of traffic",
                reason=f"income has moved a little on {SCRIPT}" if level != "ok" else "nothing unusual",
            )
        )
    return rows


def _add_alerts(fake: FakeQueries, now: datetime, rng: random.Random) -> None:
    fake.alert_rows += [
        _alert(
            now,
            id="a1f3c5d7e9drift",
            model="credit-risk",
            version="2026.03",
            kind="drift",
            severity="critical",
            title="Inputs of credit-risk 2026.03 drifted: income, plan and 3 more columns",
            reason="income is 38 % lower than in the reference and 31 % of plan moved from basic to pro. "
            "The change began about 80 minutes ago and grows; 41 % of events are affected.",
            minutes=74,
            evidence=17.4,
            threshold=11.7,
            effect=0.41,
            effect_unit="share of traffic",
            detail=DRIFT,
        ),
        _alert(
            now,
            id="b2e4theft",
            model="credit-risk",
            version="2026.03",
            kind="extraction",
            severity="critical",
            title="Client key-7731 queries credit-risk like somebody copying the model",
            reason="key-7731 sent 18,204 queries in 40 minutes that sweep the input space evenly and sit next to the "
            "decision boundary; ordinary clients do neither.",
            minutes=38,
            evidence=41.0,
            threshold=12.2,
            effect=0.54,
            effect_unit="share of queries",
            subject=("client", "key-7731"),
            detail=EXTRACTION,
        ),
        _alert(
            now,
            id="c3ood",
            model="image-moderation",
            version="v14",
            kind="ood",
            severity="warning",
            status="acknowledged",
            title="image-moderation v14 receives inputs unlike anything in its reference",
            reason="12.4 % of events are stranger than all but 1 % of the reference; three clients send most of them.",
            minutes=55,
            evidence=15.1,
            threshold=12.6,
            effect=0.124,
            effect_unit="share of traffic",
            detail=OOD,
        ),
        _alert(
            now,
            id="d4hostile",
            model=HOSTILE_MODEL,
            version=SCRIPT,
            kind="quality",
            severity="info",
            title=f"{SCRIPT}{IMAGE}{LINK}",
            reason=f"{IMAGE} {BACKWARDS} {LONG}",
            minutes=300,
            evidence=13.0,
            threshold=12.0,
            effect=1.0,
            effect_unit=SCRIPT,
            subject=("client_group", LONG),
            members=(SCRIPT, LONG, BACKWARDS),
            detail=HOSTILE,
        ),
        _alert(
            now,
            id="e5pipeline",
            model="churn",
            version="3",
            kind="pipeline",
            severity="warning",
            title="1,204 records of inference-logs/3 were lost to retention",
            reason="The topic's retention passed the committed offset while no worker held the partition.",
            minutes=600,
            evidence=math.inf,
            threshold=0.0,
            effect=1204.0,
            effect_unit="records lost",
            subject=("segment", "inference-logs-3"),
        ),
        _alert(
            now,
            id="f6quality",
            model="churn",
            version="3",
            kind="quality",
            severity="warning",
            title="Data quality of churn has dropped",
            reason="18.4 % of balance is missing where 0.6 % is usual, and 3.1 % of events came twice.",
            minutes=90,
            evidence=19.8,
            threshold=13.6,
            effect=0.184,
            effect_unit="share of values",
            detail=QUALITY,
        ),
        _alert(
            now,
            id="g7performance",
            model="pricing",
            version="",
            kind="performance",
            severity="warning",
            title="Performance of pricing has dropped",
            reason="Accuracy is estimated at 0.81 where the reference has 0.92; 1,204 labels that came since agree.",
            minutes=200,
            evidence=16.2,
            threshold=13.1,
            effect=0.11,
            effect_unit="share of predictions",
            verdict="real",
            detail=PERFORMANCE,
        ),
    ]
    for index in range(24):
        model, version = rng.choice((("credit-risk", "2026.02"), ("churn", "3"), ("pricing", "")))
        column = rng.choice(("income", "age", "region", "device", "balance"))
        fake.alert_rows.append(
            _alert(
                now,
                id=f"old{index:02d}",
                model=model,
                version=version,
                kind=rng.choice(("drift", "ood", "quality")),
                severity=rng.choice(("info", "warning", "critical")),
                status="resolved",
                title=f"{column} of {model} moved away from its reference",
                reason=f"{column} moved by {rng.uniform(0.1, 1.2):.2f} σ and came back on its own.",
                minutes=1_500 + 700 * index,
                lasting=rng.randint(10, 200),
                evidence=13.0 + rng.random() * 3,
                threshold=12.0,
                effect=0.3,
                effect_unit="σ",
                subject=("feature", column),
                verdict=(None, "false_alarm", "real")[index % 3],
            )
        )
    counts: dict[Key, int] = {}
    for row in fake.alert_rows:
        _add_audit(fake, row)
        if row.status != "resolved":
            counts[row.model, row.version] = counts.get((row.model, row.version), 0) + 1
    fake.model_rows = [
        dataclasses.replace(row, open_alerts=counts.get((row.model, row.version), 0)) for row in fake.model_rows
    ]


def _alert(
    now: datetime,
    *,
    id: str,
    model: str,
    version: str,
    kind: str,
    severity: str,
    title: str,
    reason: str,
    minutes: int,
    evidence: float,
    threshold: float,
    effect: float,
    effect_unit: str,
    status: str = "open",
    lasting: int | None = None,
    subject: tuple[str, str] = ("model", ""),
    members: tuple[str, ...] = (),
    verdict: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> AlertRow:
    opened = now - timedelta(minutes=minutes)
    seen = opened + timedelta(minutes=lasting) if lasting is not None else now - timedelta(seconds=20)
    return AlertRow(
        id=id,
        model=model,
        version=version,
        kind=kind,
        detector=kind,
        subject_type=subject[0],
        subject_id=subject[1],
        members=members,
        status=status,
        severity=severity,
        title=title,
        reason=reason,
        opened_at=opened,
        last_seen_at=seen,
        resolved_at=seen if status == "resolved" else None,
        onset_at=opened - timedelta(minutes=6),
        readings_total=max(1, round((seen - opened).total_seconds() / 60)),
        log_evidence=evidence,
        log_threshold=threshold,
        effect=effect,
        effect_unit=effect_unit,
        detail=detail or {},
        acknowledged_by="Ines Okafor" if status == "acknowledged" else None,
        acknowledged_at=opened + timedelta(minutes=4) if status == "acknowledged" else None,
        verdict=verdict,
        verdict_by="Ines Okafor" if verdict else None,
        verdict_at=opened + timedelta(minutes=30) if verdict else None,
        created_at=opened + timedelta(seconds=9),
    )


def _add_audit(fake: FakeQueries, row: AlertRow) -> None:
    steps = [("opened", "", "", row.created_at)]
    if row.severity == "critical" and row.status != "resolved":
        steps.append(
            ("escalated", "", "evidence passed ten times its threshold", row.created_at + timedelta(minutes=12))
        )
    if row.acknowledged_by:
        steps.append(
            ("acknowledged", row.acknowledged_by, "Known partner test, asked them to stop.", row.acknowledged_at)
        )
    if row.verdict:
        steps.append((f"marked_{row.verdict}", row.verdict_by or "", "", row.verdict_at))
    if row.resolved_at:
        steps.append(("resolved", "", "back to normal for 30 panes", row.resolved_at))
    for number, (transition, actor, note, at) in enumerate(steps, 1):
        fake.transition_rows.append(
            TransitionRow(
                f"{row.id}-{number}", row.id, number, transition, row.severity, row.opened_at, actor, note, at
            )
        )
    if row.status == "resolved":
        return
    outcomes = (
        ("ops-webhook", "delivered", 1, 200, "ok", "accepted"),
        ("slack", "owed", 3, 429, "busy", f"rate_limited {IMAGE}"),
        ("pager", "dead", 9, 410, "gone", "no such hook"),
    )
    for destination, status, attempts, code, outcome, answer in outcomes[: 3 if row.severity == "critical" else 1]:
        fake.delivery_rows.append(
            DeliveryRow(
                id=f"{row.id}-{destination}",
                alert_id=row.id,
                transition="opened",
                destination=destination,
                status=status,
                attempts=attempts,
                next_attempt_at=row.last_seen_at + timedelta(minutes=4) if status == "owed" else None,
                delivered_at=row.created_at + timedelta(seconds=1) if status == "delivered" else None,
                last_outcome=outcome,
                last_status_code=code,
                last_answer=answer,
            )
        )


def _add_pipeline(fake: FakeQueries, now: datetime) -> None:
    for partition in range(6):
        lag = (0, 12, 0, 48_210, 3, 0)[partition]
        fake.partition_rows.append(
            PartitionRow(
                source="kafka",
                topic="inference-logs" if partition < 5 else SCRIPT,
                partition=partition,
                owner=f"worker-{partition % 2}" if partition < 5 else LONG,
                next_offset=4_000_000 + partition * 1_371,
                high_offset=4_000_000 + partition * 1_371 + lag,
                lag=lag,
                events_total=4_000_000 + partition * 1_371,
                lost_total=1_204 if partition == 3 else 0,
                updated_at=now - timedelta(seconds=1 if partition != 3 else 400),
            )
        )
    fake.dead_letter_rows += [
        DeadLetterRow(i, "kafka", "inference-logs", 2, 812 + i, 0, "undecodable", f"bad JSON {SCRIPT}", 412, now)
        for i in range(7)
    ]


DRIFT: Mapping[str, Any] = {
    "n_events": 24_118,
    "n_columns": 23,
    "cohort": {
        "type": "client",
        "id": "batch-backfill",
        "share_of_events": 0.38,
        "explains": 0.83,
        "words": "Without client batch-backfill, 83 % of the change is gone: look there before the model.",
    },
    "segments": [
        {"segment": "region=north", "n_events": 9_871, "log10_evidence": 11.2, "words": "income is 44 % lower"},
        {"segment": "channel=partner", "n_events": 4_102, "log10_evidence": 3.4, "words": "plan moved to pro"},
        {"segment": "region=islands", "n_events": 812, "log10_evidence": -0.3, "words": "as in the reference"},
    ],
    "columns": [
        {
            "name": "income",
            "role": "numeric",
            "effect": -0.84,
            "effect_unit": "sd",
            "psi": 0.62,
            "js": 0.27,
            "wasserstein_sd": 0.86,
            "e_value_log10": 8.4,
            "listed": True,
            "share_moved": 0.41,
            "evidence_share": 0.58,
            "labels": ["< 18k", "18k–26k", "26k–34k", "34k–43k", "43k–55k", "55k–72k", "72k–98k", "≥ 98k"],
            "reference": [0.125, 0.125, 0.125, 0.125, 0.125, 0.125, 0.125, 0.125],
            "current": [0.31, 0.22, 0.15, 0.11, 0.08, 0.06, 0.04, 0.03],
        },
        {
            "name": "plan",
            "role": "categorical",
            "effect": 0.31,
            "effect_unit": "share of traffic",
            "psi": 0.41,
            "js": 0.21,
            "e_value_log10": 5.9,
            "listed": True,
            "share_moved": 0.31,
            "evidence_share": 0.22,
            "labels": ["basic", "plus", "pro", "other"],
            "reference": [0.62, 0.24, 0.12, 0.02],
            "current": [0.31, 0.25, 0.42, 0.02],
        },
        {
            "name": "probabilities[approve]",
            "role": "output",
            "effect": -0.35,
            "effect_unit": "sd",
            "psi": 0.18,
            "js": 0.09,
            "wasserstein_sd": 0.35,
            "e_value_log10": 2.2,
            "listed": True,
            "share_moved": 0.14,
            "evidence_share": 0.13,
            "labels": ["0–0.2", "0.2–0.4", "0.4–0.6", "0.6–0.8", "0.8–1"],
            "reference": [0.1, 0.14, 0.2, 0.26, 0.3],
            "current": [0.22, 0.19, 0.2, 0.21, 0.18],
        },
        {
            "name": "region",
            "role": "categorical",
            "effect": 0.08,
            "effect_unit": "share of traffic",
            "psi": 0.05,
            "js": 0.02,
            "e_value_log10": 0.4,
            "listed": False,
            "share_moved": 0.08,
            "evidence_share": 0.07,
            "labels": ["north", "south", "east", "west", "islands", "unknown"],
            "reference": [0.2, 0.22, 0.18, 0.26, 0.1, 0.04],
            "current": [0.22, 0.18, 0.17, 0.25, 0.1, 0.08],
        },
    ],
}

OOD: Mapping[str, Any] = {
    "n_events": 9_204,
    "n_strange": 1_141,
    "share_strange": 0.124,
    "expected_share": 0.01,
    "p_bins": ["<0.0005", "0.0005–0.005", "0.005–0.05", "0.05–0.2", "0.2–0.5", "≥0.5"],
    "reference": [0.0005, 0.0045, 0.045, 0.15, 0.3, 0.5],
    "current": [0.071, 0.053, 0.082, 0.14, 0.25, 0.404],
    "clients": [
        {"client": "uploader-eu", "n": 1_204, "n_strange": 702},
        {"client": "batch-backfill", "n": 410, "n_strange": 231},
        {"client": SCRIPT, "n": 88, "n_strange": 61},
    ],
    "strangest": [
        {
            "event_id": f"evt-{index}f3a9",
            "score": 41.2 - index,
            "p_value": 0.00005,
            "client_id": "uploader-eu",
            "p_from": "tail model",
            "because": "its embedding points where no reference embedding does",
            "columns": [
                {"name": "contrast", "z": 8.4, "words": "8.4 sd above"},
                {"name": "brightness", "z": None, "words": "missing"},
                {"name": SCRIPT, "z": 3, "words": SCRIPT},
            ],
        }
        for index in range(5)
    ],
    "n_one_by_one": 812,
    "false_discovery_rate": 0.1,
    "strange_columns": [
        {"name": "contrast", "n_strange": 702, "share": 0.62, "words": "contrast is 8.4 sd above the reference"},
        {"name": SCRIPT, "n_strange": 3, "share": 0.002, "words": f"{SCRIPT} is missing"},
    ],
    "because": [{"words": "its embedding points where no reference embedding does", "n_strange": 811, "share": 0.71}],
    "strange_segments": [{"segment": "region=(new)", "n": 900, "n_strange": 640}],
    "inputs_missing": [{"input": "logits", "n": 1_100, "share": 0.12}],
}

EXTRACTION: Mapping[str, Any] = {
    "n_queries": 18_204,
    "family": "active learning along the decision boundary",
    "calibration": "calibrated on 412 honest clients of the reference",
    "heads": [
        {
            "name": "boundary",
            "title": "Hugs the decision boundary",
            "p_value": 2e-9,
            "log10_evidence": 8.1,
            "words": "61 % of queries have a margin below 0.05; honest clients have 7 %.",
        },
        {
            "name": "coverage",
            "title": "Sweeps the input space evenly",
            "p_value": 4e-6,
            "log10_evidence": 5.2,
            "words": "Visits 94 % of the cells that all clients together visit in a month.",
        },
        {"name": "rate", "title": "Asks much", "p_value": 0.01, "log10_evidence": 1.4, "words": "18,204 queries."},
        {
            "name": "repeats",
            "title": "Walks in small steps",
            "p_value": 0.4,
            "log10_evidence": 0.1,
            "words": "As usual.",
        },
    ],
    "coordinates": [
        {"words": "share of queries rarer than 1 in 500 for their class", "client": 0.38, "peers": 0.003},
        {"words": "share of queries with a margin below 0.05", "client": 0.61, "peers": 0.07},
        {"words": "share of queries that nearly repeat an earlier one", "client": 0.021, "peers": 0.18},
    ],
    "classes": {"labels": ["approve", "refer", "decline"], "client": [0.34, 0.33, 0.33], "peers": [0.71, 0.08, 0.21]},
    "histograms": [
        {
            "title": "Margin between the two best classes",
            "labels": ["<0.05", "0.05–0.2", "0.2–0.5", "0.5–0.8", "≥0.8"],
            "reference": [0.07, 0.12, 0.22, 0.28, 0.31],
            "current": [0.61, 0.2, 0.1, 0.05, 0.04],
        }
    ],
    "exposure": {
        "n_queries": 18_204,
        "agreement": 0.84,
        "usual": 0.41,
        "ceiling": 0.97,
        "share": 0.77,
        "words": "A copy trained on these 18,204 answers would agree with the model on 84 % of ordinary inputs.",
    },
    "coverage": {"words": "In any 800 of its queries it visits 94 regions, honest clients of equal volume 51."},
    "tempo": [
        {"name": "night share", "words": "61 % of its events come at night", "client": 0.61, "peers": 0.09},
        {"name": "burst ratio", "words": "it asks evenly", "client": 0.3},
    ],
    "actions": [
        {"id": "AML.M0004", "name": "Restrict Number of AI Model Queries", "words": "Limit this key's queries a day."},
    ],
    "techniques": [
        {"id": "AML.T0024.002", "name": "Extract AI Model", "source": "MITRE ATLAS"},
        {"id": "ML05:2023", "name": "Model Theft", "source": "OWASP ML Top 10"},
        {"id": "NISTAML.031", "name": "Model Extraction", "source": "NIST AI 100-2 E2025"},
    ],
    "atlas_release": "5.6.0",
    "benign_explanations": [
        "A load test or a synthetic monitor uses this key",
        "A partner back-fills a data set",
        "A new integration with another kind of customer went live",
    ],
}

EVASION: Mapping[str, Any] = {
    "n_queries": 130,
    "n_steps": 121,
    "n_chains": 4,
    "longest_chain": 64,
    "n_flips": 38,
    "family": "score-based optimisation",
    "calibration": "60 honest clients in the reference",
    "heads": [
        {
            "name": "W2",
            "title": "follows falling confidence",
            "p_value": 3e-13,
            "log10_evidence": 12.5,
            "words": "goes on from tries that made the model less sure and takes back the others",
        }
    ],
    "coordinates": [
        {"words": "queries that nearly repeat an earlier one of its own", "client": 0.93, "peers": 0.05},
        {"words": "of tries that made the model less sure, it went on from (55 of 60)", "client": 0.917},
    ],
    "histograms": [
        {
            "title": "Direction of each step against the one before (-1 back, 1 straight on)",
            "labels": ["-1.0 to 0.0", "0.0 to 1.0"],
            "reference": [0.5, 0.5],
            "current": [0.6, 0.4],
        }
    ],
    "techniques": [{"id": "AML.T0043.001", "name": "Black-Box Optimization", "source": "MITRE ATLAS"}],
    "atlas_release": "5.6.0",
    "benign_explanations": ["A robustness evaluation agreed with the owner of the model"],
}

QUALITY: Mapping[str, Any] = {
    "n_events": 11_402,
    "checks": [
        {
            "name": "missing values",
            "words": "balance is missing more often than it was",
            "expected": 0.006,
            "current": 0.184,
            "unit": "share of values",
            "evidence_share": 0.81,
        },
        {
            "name": "duplicates",
            "words": "The same event id came more than once",
            "expected": 0.0004,
            "current": 0.031,
            "unit": "share of events",
            "evidence_share": 0.16,
        },
        {"name": "latency", "words": "95th percentile", "expected": 41.0, "current": 48.2, "unit": "ms",
         "evidence_share": 0.03},
        {"name": "type", "words": "age held whole numbers", "expected": "integer", "current": "text", "unit": ""},
    ],
}  # fmt: skip

PERFORMANCE: Mapping[str, Any] = {
    "n_events": 8_113,
    "metrics": [
        {"name": "accuracy", "reference": 0.92, "estimated": 0.81, "estimated_low": 0.78, "estimated_high": 0.84,
         "measured": 0.803, "measured_low": 0.776, "measured_high": 0.828, "n_labels": 1_204},
        {"name": "roc_auc", "reference": 0.95, "estimated": 0.9, "estimated_low": 0.87, "estimated_high": 0.92},
        {"name": "recall[refer]", "reference": 0.71, "measured": 0.44, "measured_low": 0.35, "measured_high": 0.53,
         "n_labels": 118},
        {"name": "mean absolute error", "reference": 212.0, "estimated": 340.0, "estimated_low": 300.0,
         "estimated_high": 391.0},
    ],
    "confusion": {
        "labels": ["approve", "refer", "decline"],
        "counts": [[612, 14, 31], [38, 52, 28], [96, 30, 303]],
    },
}  # fmt: skip

HOSTILE: Mapping[str, Any] = {
    "columns": [
        {
            "name": SCRIPT,
            "role": IMAGE,
            "effect": float("nan"),
            "effect_unit": LINK,
            "labels": [SCRIPT, IMAGE, LINK, LONG],
            "reference": [0.25, 0.25, 0.25, 0.25],
            "current": [0.7, 0.1, 0.1, 0.1],
        },
        {"name": LONG, "labels": "not a list", "reference": None},
        "not a mapping",
    ],
    "heads": [{"title": SCRIPT, "words": IMAGE}, 3],
    "exposure": {"agreement": 7, "usual": float("nan"), "ceiling": "x", "words": SCRIPT},
    "exposures": [{"client": SCRIPT, "n_queries": -1, "agreement": "x", "share": 2}, None],
    "coverage": {"words": IMAGE},
    "tempo": [{"words": SCRIPT, "client": LINK, "peers": 9}, 3],
    "actions": [{"id": SCRIPT, "name": IMAGE, "words": LINK}, "x"],
    "techniques": [{"id": SCRIPT, "name": IMAGE, "source": LINK}],
    "benign_explanations": [SCRIPT, None],
    "histograms": [{"title": SCRIPT, "labels": [LINK], "reference": [1], "current": ["x"]}],
    "clients": {"not": "a list"},
    "cohort": {"type": LINK, "id": SCRIPT, "explains": 7, "words": IMAGE},
    "segments": [{"segment": SCRIPT, "n_events": -1, "log10_evidence": 1e9, "words": LINK}, None],
    "checks": [{"name": SCRIPT, "words": IMAGE, "expected": LINK, "current": LONG, "unit": SCRIPT}],
    "metrics": [
        {"name": SCRIPT, "reference": 0.5, "estimated": 0.4, "estimated_low": 0.9, "estimated_high": "x"},
        {"name": LONG, "measured": 1e300, "n_labels": -3},
    ],
    "confusion": {"labels": [SCRIPT, LONG], "counts": [[1, 0], [1, 1e300]]},
}
