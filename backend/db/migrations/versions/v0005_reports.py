"""Served masks, what regions had cost, recent errors, living processes."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "served_masks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("request_id", sa.String(length=32), nullable=False),
        sa.Column("project", sa.String(length=40), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("target_id", sa.BigInteger(), nullable=False),
        sa.Column("region_id", sa.String(length=128), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("mask", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_served_masks")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("served_masks") as batch_op:
        batch_op.create_index(
            batch_op.f("ix_served_masks_created_at"), ["created_at"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_served_masks_target_id"), ["target_id"], unique=False)

    op.create_table(
        "region_costs",
        sa.Column("project", sa.String(length=40), nullable=False),
        sa.Column("annotation_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("brush", sa.String(length=128), nullable=False),
        sa.Column("region_id", sa.String(length=128), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=32), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("annotator", sa.BigInteger(), nullable=True),
        sa.Column("model_version", sa.String(length=128), nullable=False),
        sa.Column("known", sa.Boolean(), nullable=False),
        sa.Column("origin", sa.String(length=32), nullable=False),
        sa.Column("positive", sa.Integer(), nullable=False),
        sa.Column("negative", sa.Integer(), nullable=False),
        sa.Column("phrases", sa.Integer(), nullable=False),
        sa.Column("undos", sa.Integer(), nullable=False),
        sa.Column("predictions", sa.Integer(), nullable=False),
        sa.Column("interactions", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("area", sa.Integer(), nullable=True),
        sa.Column("pixels", sa.BigInteger(), nullable=True),
        sa.Column("ious", sa.JSON(), nullable=False),
        sa.Column("first_iou", sa.Float(), nullable=True),
        sa.Column("last_iou", sa.Float(), nullable=True),
        sa.Column("needed_85", sa.Integer(), nullable=True),
        sa.Column("corrected", sa.BigInteger(), nullable=True),
        sa.Column("phrase", sa.Text(), nullable=False),
        sa.Column("targets", sa.JSON(), nullable=False),
        sa.Column("shape", sa.String(length=32), nullable=False),
        sa.Column("drawn_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint(
            "project", "annotation_id", "brush", "region_id", name=op.f("pk_region_costs")
        ),
    )
    with op.batch_alter_table("region_costs") as batch_op:
        batch_op.create_index(batch_op.f("ix_region_costs_first_at"), ["first_at"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_region_costs_project_task_id"), ["project", "task_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_region_costs_project_drawn_at"), ["project", "drawn_at"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_region_costs_submitted_at"), ["submitted_at"], unique=False
        )

    op.create_table(
        "annotation_times",
        sa.Column("project", sa.String(length=40), nullable=False),
        sa.Column("annotation_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("lead_time", sa.Double(), nullable=True),
        sa.Column("owner", sa.String(length=254), nullable=False),
        sa.Column("drawn", sa.String(length=32), nullable=False),
        sa.Column("through", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project", "annotation_id", name=op.f("pk_annotation_times")),
    )

    op.create_table(
        "recent_errors",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("where", sa.String(length=64), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recent_errors")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("recent_errors") as batch_op:
        batch_op.create_index(batch_op.f("ix_recent_errors_at"), ["at"], unique=False)

    op.create_table(
        "processes",
        sa.Column("name", sa.String(length=254), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("about", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_processes")),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("processes")
    with op.batch_alter_table("recent_errors") as batch_op:
        batch_op.drop_index(batch_op.f("ix_recent_errors_at"))

    op.drop_table("recent_errors")
    op.drop_table("annotation_times")
    with op.batch_alter_table("region_costs") as batch_op:
        batch_op.drop_index(batch_op.f("ix_region_costs_submitted_at"))
        batch_op.drop_index(batch_op.f("ix_region_costs_project_drawn_at"))
        batch_op.drop_index(batch_op.f("ix_region_costs_project_task_id"))
        batch_op.drop_index(batch_op.f("ix_region_costs_first_at"))

    op.drop_table("region_costs")
    with op.batch_alter_table("served_masks") as batch_op:
        batch_op.drop_index(batch_op.f("ix_served_masks_target_id"))
        batch_op.drop_index(batch_op.f("ix_served_masks_created_at"))

    op.drop_table("served_masks")
