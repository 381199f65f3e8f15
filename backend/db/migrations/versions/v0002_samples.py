"""Accepted labels: annotations, the pictures under them, and one row for each brush region."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "sampled_projects",
        sa.Column("key", sa.String(length=40), nullable=False),
        sa.Column("label_config", sa.Text(), nullable=False),
        sa.Column("config_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("gone_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("busy_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_sampled_projects")),
    )

    op.create_table(
        "annotated_tasks",
        sa.Column("project", sa.String(length=40), nullable=False),
        sa.Column("task_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("mark", sa.String(length=80), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("gone_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("project", "task_id", name=op.f("pk_annotated_tasks")),
    )

    op.create_table(
        "annotations",
        sa.Column("project", sa.String(length=40), nullable=False),
        sa.Column("annotation_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("digest", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("annotator", sa.BigInteger(), nullable=True),
        sa.Column("skipped", sa.Boolean(), nullable=False),
        sa.Column("ground_truth", sa.Boolean(), nullable=False),
        sa.Column("left_out", sa.JSON(), nullable=False),
        sa.Column("gone_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("project", "annotation_id", name=op.f("pk_annotations")),
    )
    with op.batch_alter_table("annotations") as batch_op:
        batch_op.create_index(
            batch_op.f("ix_annotations_project_task_id"), ["project", "task_id"], unique=False
        )

    op.create_table(
        "annotated_pictures",
        sa.Column("project", sa.String(length=40), nullable=False),
        sa.Column("annotation_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("image", sa.String(length=128), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("look_after", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project", "annotation_id"],
            ["annotations.project", "annotations.annotation_id"],
            name=op.f("fk_annotated_pictures_project_annotation_id_annotations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "project", "annotation_id", "image", name=op.f("pk_annotated_pictures")
        ),
    )
    with op.batch_alter_table("annotated_pictures") as batch_op:
        batch_op.create_index(batch_op.f("ix_annotated_pictures_state"), ["state"], unique=False)

    op.create_table(
        "samples",
        sa.Column("project", sa.String(length=40), nullable=False),
        sa.Column("annotation_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("region_id", sa.String(length=128), nullable=False),
        sa.Column("image", sa.String(length=128), nullable=False),
        sa.Column("brush", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("origin", sa.String(length=32), nullable=False),
        sa.Column("phrase", sa.Text(), nullable=False),
        sa.Column("clicks", sa.JSON(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("area", sa.Integer(), nullable=False),
        sa.Column("mask", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project", "annotation_id"],
            ["annotations.project", "annotations.annotation_id"],
            name=op.f("fk_samples_project_annotation_id_annotations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("project", "annotation_id", "number", name=op.f("pk_samples")),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("samples")
    with op.batch_alter_table("annotated_pictures") as batch_op:
        batch_op.drop_index(batch_op.f("ix_annotated_pictures_state"))

    op.drop_table("annotated_pictures")
    with op.batch_alter_table("annotations") as batch_op:
        batch_op.drop_index(batch_op.f("ix_annotations_project_task_id"))

    op.drop_table("annotations")
    op.drop_table("annotated_tasks")
    op.drop_table("sampled_projects")
