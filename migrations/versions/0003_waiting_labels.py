"""Answers that wait for their label, and labels that wait for their answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "waiting_labels",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("answered_at", sa.Double(), nullable=True),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("labelled_at", sa.Double(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("model", "event_id", name="pk_waiting_labels"),
        comment="Halves of one event id until both are there. answered_at, labelled_at: epoch s of event time.",
    )
    op.create_index("ix_waiting_labels_expires_at", "waiting_labels", ["expires_at"])


def downgrade() -> None:
    op.drop_index("ix_waiting_labels_expires_at", table_name="waiting_labels")
    op.drop_table("waiting_labels")
