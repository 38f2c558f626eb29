"""The tables: where the loops meet. Each noun of the glossary is one table; Alembic (``migrations/``) makes them.

``_at`` columns are wall-clock instants (UTC, aware). Event time is carried as epoch seconds in ``pane_start`` (whole)
and as an instant in ``event_time``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = sa.MetaData(naming_convention=NAMING)


class Instant(sa.types.TypeDecorator[datetime]):
    """UTC instant: ``timestamptz`` on PostgreSQL, ISO text in UTC on SQLite; always aware in Python."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("instants are aware: give a time zone")
        return value.astimezone(UTC) if dialect.name == "postgresql" else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
JsonOrNull = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _column(name: str, type_: Any, *constraints: sa.ForeignKey, **options: Any) -> sa.Column[Any]:
    options.setdefault("nullable", False)
    return sa.Column(name, type_, *constraints, **options)


partitions = sa.Table(
    "partitions",
    metadata,
    _column("source", sa.Text, primary_key=True),
    _column("cluster_id", sa.Text, primary_key=True),
    _column("topic_id", sa.Text, primary_key=True),
    _column("partition", sa.Integer, primary_key=True),
    _column("topic", sa.Text),
    _column("epoch", sa.BigInteger),
    _column("next_offset", sa.BigInteger),
    _column("owner", sa.Text),
    _column("high_offset", sa.BigInteger, nullable=True),
    _column("watermark", sa.Double, nullable=True),
    _column("events_total", sa.BigInteger, server_default="0"),
    _column("lost_total", sa.BigInteger, server_default="0"),
    _column("updated_at", Instant),
    _column("caught_up_at", Instant, nullable=True),
    comment="The only truth about progress; moved in the transaction that stores what the records led to.",
)

models = sa.Table(
    "models",
    metadata,
    _column("model", sa.Text, primary_key=True),
    _column("version", sa.Text, primary_key=True),
    _column("first_seen_at", Instant),
    _column("last_event_at", Instant, nullable=True),
    _column("events_total", sa.BigInteger, server_default="0"),
    _column("judged_until", sa.BigInteger, nullable=True),
    _column("delay_s", sa.Double, nullable=True),
    _column("delay_until", sa.BigInteger, nullable=True),
    comment="One row per model version. judged_until: epoch s of event time.",
)

references = sa.Table(
    "references",
    metadata,
    _column("id", sa.Text, primary_key=True),
    _column("model", sa.Text),
    _column("version", sa.Text),
    _column("active", sa.Boolean),
    _column("n_events", sa.BigInteger),
    _column("pane_s", sa.Integer),
    _column("summary", Json),
    _column("data", sa.LargeBinary),
    _column("created_at", Instant),
    sa.Index(
        "uq_references_active",
        "model",
        "version",
        unique=True,
        postgresql_where=sa.text("active"),
        sqlite_where=sa.text("active"),
    ),
)

deltas = sa.Table(
    "deltas",
    metadata,
    _column("id", Id, primary_key=True, autoincrement=True),
    _column("model", sa.Text),
    _column("version", sa.Text),
    _column("reference_id", sa.Text, server_default=""),
    _column("pane_start", sa.BigInteger),
    _column("pane_s", sa.Integer),
    _column("n_events", sa.BigInteger),
    _column("last_event_time", sa.Double),
    _column("sketch", sa.LargeBinary),
    _column("created_at", Instant),
    sa.Index("ix_deltas_model_version_pane_start", "model", "version", "pane_start"),
)

panes = sa.Table(
    "panes",
    metadata,
    _column("model", sa.Text, primary_key=True),
    _column("version", sa.Text, primary_key=True),
    _column("reference_id", sa.Text, primary_key=True),
    _column("pane_s", sa.Integer, primary_key=True),
    _column("pane_start", sa.BigInteger, primary_key=True),
    _column("n_events", sa.BigInteger),
    _column("sketch", sa.LargeBinary),
    sa.Index(
        "ix_panes_model_version_pane_start", "model", "version", "pane_start", "reference_id", "pane_s", "n_events"
    ),
)

evidence = sa.Table(
    "evidence",
    metadata,
    _column("model", sa.Text, primary_key=True),
    _column("version", sa.Text, primary_key=True),
    _column("reference_id", sa.Text, primary_key=True),
    _column("detector", sa.Text, primary_key=True),
    _column("subject_type", sa.Text, primary_key=True),
    _column("subject_id", sa.Text, primary_key=True),
    _column("state", sa.LargeBinary),
    _column("pane_start", sa.BigInteger),
)

readings = sa.Table(
    "readings",
    metadata,
    _column("id", sa.Text, primary_key=True),
    _column("model", sa.Text),
    _column("version", sa.Text),
    _column("detector", sa.Text),
    _column("kind", sa.Text),
    _column("subject_type", sa.Text),
    _column("subject_id", sa.Text),
    _column("pane_start", sa.BigInteger),
    _column("pane_s", sa.Integer),
    _column("level", sa.Text),
    _column("log_evidence", sa.Double),
    _column("log_threshold", sa.Double),
    _column("effect", sa.Double),
    _column("effect_unit", sa.Text),
    _column("reason", sa.Text),
    _column("detail", Json),
    sa.Index("ix_readings_model_version_pane_start", "model", "version", "pane_start"),
)

alerts = sa.Table(
    "alerts",
    metadata,
    _column("id", sa.Text, primary_key=True),
    _column("model", sa.Text),
    _column("version", sa.Text),
    _column("kind", sa.Text),
    _column("detector", sa.Text),
    _column("subject_type", sa.Text),
    _column("subject_id", sa.Text),
    _column("members", Json),
    _column("status", sa.Text),
    _column("severity", sa.Text),
    _column("title", sa.Text),
    _column("reason", sa.Text),
    _column("opened_at", Instant),
    _column("last_seen_at", Instant),
    _column("resolved_at", Instant, nullable=True),
    _column("onset_at", Instant, nullable=True),
    _column("readings_total", sa.Integer),
    _column("quiet_panes", sa.Integer),
    _column("log_evidence", sa.Double),
    _column("log_threshold", sa.Double),
    _column("effect", sa.Double),
    _column("effect_unit", sa.Text),
    _column("detail", Json),
    _column("acknowledged_by", sa.Text, nullable=True),
    _column("acknowledged_at", Instant, nullable=True),
    sa.Column("verdict", sa.Text, sa.CheckConstraint("verdict in ('false_alarm', 'real')", name="verdict")),
    _column("verdict_by", sa.Text, nullable=True),
    _column("verdict_at", Instant, nullable=True),
    _column("created_at", Instant),
    sa.CheckConstraint("status in ('open', 'acknowledged', 'resolved')", name="status"),
    sa.CheckConstraint("severity in ('info', 'warning', 'critical')", name="severity"),
    sa.Index(
        "uq_alerts_unresolved",
        "model",
        "version",
        "kind",
        "subject_type",
        "subject_id",
        unique=True,
        postgresql_where=sa.text("status <> 'resolved'"),
        sqlite_where=sa.text("status <> 'resolved'"),
    ),
    sa.Index("ix_alerts_opened_at_id", "opened_at", "id"),
    comment="opened_at, last_seen_at, resolved_at, onset_at are event time; created_at wall clock.",
)

alert_transitions = sa.Table(
    "alert_transitions",
    metadata,
    _column("id", sa.Text, primary_key=True),
    _column("alert_id", sa.Text, sa.ForeignKey("alerts.id")),
    _column("sequence", sa.Integer),
    _column("transition", sa.Text),
    _column("severity", sa.Text),
    _column("event_time", Instant),
    _column("actor", sa.Text),
    _column("note", sa.Text),
    _column("detail", Json),
    _column("created_at", Instant),
    sa.UniqueConstraint("alert_id", "sequence"),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    _column("id", sa.Text, primary_key=True),
    _column("transition_id", sa.Text, sa.ForeignKey("alert_transitions.id")),
    _column("alert_id", sa.Text, sa.ForeignKey("alerts.id")),
    _column("sequence", sa.Integer),
    _column("destination", sa.Text),
    _column("status", sa.Text),
    _column("attempts", sa.Integer),
    _column("next_attempt_at", Instant),
    _column("locked_until", Instant, nullable=True),
    _column("delivered_at", Instant, nullable=True),
    _column("created_at", Instant),
    sa.CheckConstraint("status in ('owed', 'delivered', 'dead')", name="status"),
    sa.UniqueConstraint("transition_id", "destination"),
    sa.Index("ix_deliveries_status_next_attempt_at", "status", "next_attempt_at"),
    sa.Index("ix_deliveries_alert_id", "alert_id"),
)

delivery_attempts = sa.Table(
    "delivery_attempts",
    metadata,
    _column("id", Id, primary_key=True, autoincrement=True),
    _column("delivery_id", sa.Text, sa.ForeignKey("deliveries.id")),
    _column("attempt", sa.Integer),
    _column("started_at", Instant),
    _column("duration_ms", sa.Double),
    _column("outcome", sa.Text),
    _column("status_code", sa.Integer, nullable=True),
    _column("answer", sa.Text),
    sa.UniqueConstraint("delivery_id", "attempt"),
)

dead_letters = sa.Table(
    "dead_letters",
    metadata,
    _column("id", Id, primary_key=True, autoincrement=True),
    _column("source", sa.Text),
    _column("topic", sa.Text),
    _column("partition", sa.Integer),
    _column("offset", sa.BigInteger),
    _column("row", sa.Integer),
    _column("reason", sa.Text),
    _column("message", sa.Text),
    _column("value", sa.LargeBinary, nullable=True),
    _column("value_bytes", sa.BigInteger),
    _column("created_at", Instant),
    sa.Index("ix_dead_letters_created_at", "created_at"),
)

ingest_queue = sa.Table(
    "ingest_queue",
    metadata,
    _column("id", Id, primary_key=True, autoincrement=True),
    _column("value", sa.LargeBinary),
    _column("received_at", Instant),
    sqlite_autoincrement=True,
    comment="Where events posted over HTTP wait when there is no Kafka; offset = id.",
)

waiting_labels = sa.Table(
    "waiting_labels",
    metadata,
    _column("model", sa.Text, primary_key=True),
    _column("event_id", sa.Text, primary_key=True),
    _column("version", sa.Text, nullable=True),
    _column("answer", sa.Text, nullable=True),
    _column("confidence", sa.Double, nullable=True),
    _column("answered_at", sa.Double, nullable=True),
    _column("label", sa.Text, nullable=True),
    _column("labelled_at", sa.Double, nullable=True),
    _column("expires_at", Instant),
    sa.Index("ix_waiting_labels_expires_at", "expires_at"),
    comment="Halves of one event id until both are there. answered_at, labelled_at: epoch s of event time.",
)

strange_events = sa.Table(
    "strange_events",
    metadata,
    _column("id", Id, primary_key=True, autoincrement=True),
    _column("model", sa.Text),
    _column("version", sa.Text),
    _column("pane_start", sa.BigInteger),
    _column("event_time", sa.Double),
    _column("event_id", sa.Text),
    _column("client_id", sa.Text),
    _column("score", sa.Double),
    _column("p_value", sa.Double),
    _column("facts", Json),
    _column(
        "event_values",
        sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql"),
        nullable=True,
    ),
    _column("values_until", Instant, nullable=True),
    _column("named", sa.Boolean),
    _column("created_at", Instant),
    sa.Index("ix_strange_events_model_version_pane_start", "model", "version", "pane_start"),
    sa.Index("ix_strange_events_values_until", "values_until"),
    comment="What an out-of-distribution alert may name. event_values are erased at values_until.",
)
