"""Add to alerts what a person says each of them was: a false alarm, or real."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # The check is part of its column: SQLite adds and drops it in place, though other tables refer to alerts.
    known = sa.CheckConstraint("verdict in ('false_alarm', 'real')", name=op.f("ck_alerts_verdict"))
    op.add_column("alerts", sa.Column("verdict", sa.Text(), known, nullable=True))
    op.add_column("alerts", sa.Column("verdict_by", sa.Text(), nullable=True))
    op.add_column("alerts", sa.Column("verdict_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    for column in ("verdict_at", "verdict_by", "verdict"):
        op.drop_column("alerts", column)
