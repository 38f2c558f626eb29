"""A log that forgot records before they were read: an alert that says how many, in the commit that steps over them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from detectors.base import Kind, Level, Reading, Subject, SubjectType
from monitor.alerting.book import BookPolicy
from monitor.alerting.incident import Change, PaneRef
from monitor.alerting.routing import Route
from monitor.sources.base import Partition
from monitor.storage.alerts import record


def record_gap(
    conn: sa.Connection, partition: Partition, lost: int, routes: Sequence[Route], now: datetime
) -> Sequence[Change]:
    """Open (or count towards) the pipeline alert of a partition whose retention passed the committed offset.

    It stays open until a person resolves it: nothing that comes later brings the records back.
    """
    name = f"{partition.topic}-{partition.number}"
    reading = Reading(
        detector="retention",
        kind=Kind.PIPELINE,
        subject=Subject(SubjectType.SEGMENT, name),
        level=Level.ALARM,
        log_evidence=math.inf,
        log_threshold=0.0,
        effect=float(lost),
        effect_unit="records lost",
        minimum_effect=1.0,
        since=now.timestamp(),
        reason=(
            f"{lost:,} records of {name} were deleted by the log's retention before they were read; "
            "give the topic more retention or run more workers."
        ),
        detail={"topic": partition.topic, "partition": partition.number, "records_lost": lost},
    )
    pane = PaneRef(partition.topic, "", int(now.timestamp()), 1)
    return record(conn, pane=pane, readings=(reading,), policy=BookPolicy(), destinations=routes, now=now)
