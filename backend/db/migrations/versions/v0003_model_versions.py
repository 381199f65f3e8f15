"""Model versions, their promotions, what Label Studio was told; the version of each target."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "versions",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("project", sa.String(length=40), nullable=False),
        sa.Column("parent", sa.String(length=128), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("sums", sa.JSON(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("gate", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=254), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_versions")),
    )
    with op.batch_alter_table("versions") as batch_op:
        batch_op.create_index(batch_op.f("ix_versions_project"), ["project"], unique=False)

    op.create_table(
        "promotions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("project", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("version", sa.String(length=128), nullable=False),
        sa.Column("before", sa.String(length=128), nullable=False),
        sa.Column("who", sa.String(length=254), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotions")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("promotions") as batch_op:
        batch_op.create_index(batch_op.f("ix_promotions_project"), ["project"], unique=False)

    op.create_table(
        "announcements",
        sa.Column("project", sa.String(length=40), nullable=False),
        sa.Column("version", sa.String(length=128), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("try_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", name=op.f("pk_announcements")),
    )

    # Not in a batch, which would copy SQLite's table and lose its AUTOINCREMENT.
    op.add_column(
        "targets",
        sa.Column("model_version", sa.String(length=128), nullable=False, server_default=""),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_column("targets", "model_version")
    op.drop_table("announcements")
    with op.batch_alter_table("promotions") as batch_op:
        batch_op.drop_index(batch_op.f("ix_promotions_project"))

    op.drop_table("promotions")
    with op.batch_alter_table("versions") as batch_op:
        batch_op.drop_index(batch_op.f("ix_versions_project"))

    op.drop_table("versions")
