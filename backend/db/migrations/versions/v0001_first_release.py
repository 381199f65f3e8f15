"""The tables of the first release.

A new database is created from the models and marked with the newest revision, so a revision only
changes the tables of an earlier release. This first one has nothing to change.
"""

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing to do."""


def downgrade() -> None:
    """Nothing to do."""
