"""How Alembic reaches the control store; ``gyroscope.store.schema`` hands it the connection."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    # SQLite can roll back changes of tables, which Alembic does not assume: a killed upgrade
    # leaves the database as it was.
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
