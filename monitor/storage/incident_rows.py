"""Rows of ``alerts`` into incidents and back."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from detectors.base import Kind, Subject, SubjectType
from monitor.alerting.incident import Incident, Status, Verdict
from monitor.config import Severity
from monitor.storage.tables import alerts


def incident_of(row: sa.Row[Any], transitions_total: int) -> Incident:
    """The incident in a row that has every column of ``alerts``."""
    values = {column.name: getattr(row, column.name) for column in alerts.columns}
    members = tuple(values.pop("members"))
    subject = Subject(SubjectType(values.pop("subject_type")), values.pop("subject_id"), members)
    values["kind"] = Kind(values["kind"])
    values["status"] = Status(values["status"])
    values["severity"] = Severity(values["severity"])
    values["verdict"] = values["verdict"] and Verdict(values["verdict"])
    return Incident(subject=subject, transitions_total=transitions_total, **values)


def row_of(item: Incident) -> dict[str, Any]:
    values = {column.name: getattr(item, column.name, None) for column in alerts.columns}
    values["subject_type"] = item.subject.type.value
    values["subject_id"] = item.subject.id
    values["members"] = list(item.subject.members)
    values["kind"] = item.kind.value
    values["status"] = item.status.value
    values["severity"] = item.severity.value
    values["verdict"] = item.verdict and item.verdict.value
    values["detail"] = dict(item.detail)
    return values
