"""Strange events: what an out-of-distribution alert may name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "strange_events",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("pane_start", sa.BigInteger(), nullable=False),
        sa.Column("event_time", sa.Double(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("p_value", sa.Double(), nullable=False),
        sa.Column("facts", _JSON, nullable=False),
        sa.Column("event_values", _JSON, nullable=True),
        sa.Column("values_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("named", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_strange_events"),
        comment="What an out-of-distribution alert may name. event_values are erased at values_until.",
    )
    op.create_index("ix_strange_events_model_version_pane_start", "strange_events", ["model", "version", "pane_start"])
    op.create_index("ix_strange_events_values_until", "strange_events", ["values_until"])


def downgrade() -> None:
    op.drop_table("strange_events")
