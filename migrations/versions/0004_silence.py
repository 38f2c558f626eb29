"""Silence: how late a model's events come, and until when each partition is known to be read to its end."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("models", sa.Column("delay_s", sa.Double(), nullable=True))
    op.add_column("models", sa.Column("delay_until", sa.BigInteger(), nullable=True))
    op.add_column("partitions", sa.Column("caught_up_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("partitions", "caught_up_at")
    op.drop_column("models", "delay_until")
    op.drop_column("models", "delay_s")
