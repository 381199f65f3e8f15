"""Alembic's environment; ``migrate`` passes the connection."""

from alembic import context

from backend.db.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite cannot alter a table in place; Alembic then copies it.
    render_as_batch=True,
    # All migrations in one transaction: a failure leaves the old schema.
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
