"""Create every table: progress, models, references, deltas, panes, evidence, readings, alerts, deliveries, queue."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("detector", sa.Text(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("members", JSON, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("opened_at", INSTANT, nullable=False),
        sa.Column("last_seen_at", INSTANT, nullable=False),
        sa.Column("resolved_at", INSTANT, nullable=True),
        sa.Column("onset_at", INSTANT, nullable=True),
        sa.Column("readings_total", sa.Integer(), nullable=False),
        sa.Column("quiet_panes", sa.Integer(), nullable=False),
        sa.Column("log_evidence", sa.Double(), nullable=False),
        sa.Column("log_threshold", sa.Double(), nullable=False),
        sa.Column("effect", sa.Double(), nullable=False),
        sa.Column("effect_unit", sa.Text(), nullable=False),
        sa.Column("detail", JSON, nullable=False),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.Column("acknowledged_at", INSTANT, nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alerts"),
        sa.CheckConstraint("severity in ('info', 'warning', 'critical')", name=op.f("ck_alerts_severity")),
        sa.CheckConstraint("status in ('open', 'acknowledged', 'resolved')", name=op.f("ck_alerts_status")),
        comment="opened_at, last_seen_at, resolved_at, onset_at are event time; created_at wall clock.",
    )
    op.create_index("ix_alerts_opened_at_id", "alerts", ["opened_at", "id"])
    op.create_index(
        "uq_alerts_unresolved",
        "alerts",
        ["model", "version", "kind", "subject_type", "subject_id"],
        unique=True,
        postgresql_where=sa.text("status <> 'resolved'"),
        sqlite_where=sa.text("status <> 'resolved'"),
    )

    op.create_table(
        "dead_letters",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=True),
        sa.Column("value_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_dead_letters"),
    )
    op.create_index("ix_dead_letters_created_at", "dead_letters", ["created_at"])

    op.create_table(
        "deltas",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("reference_id", sa.Text(), nullable=False, server_default=""),
        sa.Column("pane_start", sa.BigInteger(), nullable=False),
        sa.Column("pane_s", sa.Integer(), nullable=False),
        sa.Column("n_events", sa.BigInteger(), nullable=False),
        sa.Column("last_event_time", sa.Double(), nullable=False),
        sa.Column("sketch", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deltas"),
    )
    op.create_index("ix_deltas_model_version_pane_start", "deltas", ["model", "version", "pane_start"])

    op.create_table(
        "evidence",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("reference_id", sa.Text(), nullable=False),
        sa.Column("detector", sa.Text(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.Column("pane_start", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "model", "version", "reference_id", "detector", "subject_type", "subject_id", name="pk_evidence"
        ),
    )

    op.create_table(
        "ingest_queue",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ingest_queue"),
        sqlite_autoincrement=True,
        comment="Where events posted over HTTP wait when there is no Kafka; offset = id.",
    )

    op.create_table(
        "models",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("first_seen_at", INSTANT, nullable=False),
        sa.Column("last_event_at", INSTANT, nullable=True),
        sa.Column("events_total", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("judged_until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("model", "version", name="pk_models"),
        comment="One row per model version. judged_until: epoch s of event time.",
    )

    op.create_table(
        "panes",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("reference_id", sa.Text(), nullable=False),
        sa.Column("pane_s", sa.Integer(), nullable=False),
        sa.Column("pane_start", sa.BigInteger(), nullable=False),
        sa.Column("n_events", sa.BigInteger(), nullable=False),
        sa.Column("sketch", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("model", "version", "reference_id", "pane_s", "pane_start", name="pk_panes"),
    )
    op.create_index(
        "ix_panes_model_version_pane_start",
        "panes",
        ["model", "version", "pane_start", "reference_id", "pane_s", "n_events"],
    )

    op.create_table(
        "partitions",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("cluster_id", sa.Text(), nullable=False),
        sa.Column("topic_id", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("high_offset", sa.BigInteger(), nullable=True),
        sa.Column("watermark", sa.Double(), nullable=True),
        sa.Column("events_total", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("lost_total", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("source", "cluster_id", "topic_id", "partition", name="pk_partitions"),
        comment="The only truth about progress; moved in the transaction that stores what the records led to.",
    )

    op.create_table(
        "readings",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("detector", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("pane_start", sa.BigInteger(), nullable=False),
        sa.Column("pane_s", sa.Integer(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("log_evidence", sa.Double(), nullable=False),
        sa.Column("log_threshold", sa.Double(), nullable=False),
        sa.Column("effect", sa.Double(), nullable=False),
        sa.Column("effect_unit", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_readings"),
    )
    op.create_index("ix_readings_model_version_pane_start", "readings", ["model", "version", "pane_start"])

    op.create_table(
        "references",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("n_events", sa.BigInteger(), nullable=False),
        sa.Column("pane_s", sa.Integer(), nullable=False),
        sa.Column("summary", JSON, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_references"),
    )
    op.create_index(
        "uq_references_active",
        "references",
        ["model", "version"],
        unique=True,
        postgresql_where=sa.text("active"),
        sqlite_where=sa.text("active"),
    )

    op.create_table(
        "alert_transitions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("transition", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("event_time", INSTANT, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("detail", JSON, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alert_transitions"),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"], name="fk_alert_transitions_alert_id_alerts"),
        sa.UniqueConstraint("alert_id", "sequence", name="uq_alert_transitions_alert_id_sequence"),
    )

    op.create_table(
        "deliveries",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("transition_id", sa.Text(), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", INSTANT, nullable=False),
        sa.Column("locked_until", INSTANT, nullable=True),
        sa.Column("delivered_at", INSTANT, nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.CheckConstraint("status in ('owed', 'delivered', 'dead')", name=op.f("ck_deliveries_status")),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"], name="fk_deliveries_alert_id_alerts"),
        sa.ForeignKeyConstraint(
            ["transition_id"], ["alert_transitions.id"], name="fk_deliveries_transition_id_alert_transitions"
        ),
        sa.UniqueConstraint("transition_id", "destination", name="uq_deliveries_transition_id_destination"),
    )
    op.create_index("ix_deliveries_alert_id", "deliveries", ["alert_id"])
    op.create_index("ix_deliveries_status_next_attempt_at", "deliveries", ["status", "next_attempt_at"])

    op.create_table(
        "delivery_attempts",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("duration_ms", sa.Double(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_delivery_attempts"),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], name="fk_delivery_attempts_delivery_id_deliveries"),
        sa.UniqueConstraint("delivery_id", "attempt", name="uq_delivery_attempts_delivery_id_attempt"),
    )


def downgrade() -> None:
    op.drop_table("delivery_attempts")
    op.drop_index("ix_deliveries_status_next_attempt_at", table_name="deliveries")
    op.drop_index("ix_deliveries_alert_id", table_name="deliveries")
    op.drop_table("deliveries")
    op.drop_table("alert_transitions")
    op.drop_index("uq_references_active", table_name="references")
    op.drop_table("references")
    op.drop_index("ix_readings_model_version_pane_start", table_name="readings")
    op.drop_table("readings")
    op.drop_table("partitions")
    op.drop_index("ix_panes_model_version_pane_start", table_name="panes")
    op.drop_table("panes")
    op.drop_table("models")
    op.drop_table("ingest_queue")
    op.drop_table("evidence")
    op.drop_index("ix_deltas_model_version_pane_start", table_name="deltas")
    op.drop_table("deltas")
    op.drop_index("ix_dead_letters_created_at", table_name="dead_letters")
    op.drop_table("dead_letters")
    op.drop_index("uq_alerts_unresolved", table_name="alerts")
    op.drop_index("ix_alerts_opened_at_id", table_name="alerts")
    op.drop_table("alerts")
