"""Pictures of what candidates won and lost."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "gate_pictures",
        sa.Column("version", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("version", "name", name=op.f("pk_gate_pictures")),
    )
    with op.batch_alter_table("gate_pictures") as batch_op:
        batch_op.create_index(batch_op.f("ix_gate_pictures_created_at"), ["created_at"])


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("gate_pictures") as batch_op:
        batch_op.drop_index(batch_op.f("ix_gate_pictures_created_at"))

    op.drop_table("gate_pictures")
