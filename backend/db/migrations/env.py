"""What Alembic runs for each migration; the connection is handed over by ``Database.migrate``."""

from alembic import context

from backend.db.models.core import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite cannot alter a table in place; Alembic then copies it.
    render_as_batch=True,
    # Half a step is worse than none.
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
