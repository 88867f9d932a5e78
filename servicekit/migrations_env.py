"""The body of every service's Alembic env.py:

from servicekit.migrations_env import run_migrations
from services.registry.tables import Base
run_migrations(Base.metadata)
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, MetaData, create_engine

from servicekit.database_url import SQLITE, checked_url


def run_migrations(metadata: MetaData) -> None:
    """Runs the migrations on the connection that servicekit.migrations made, or, under the `alembic` command,
    on one made from `-x url=...`."""
    connection = context.config.attributes.get("connection")
    if connection is not None:
        _run_on(connection, metadata)
        return
    url = checked_url(context.get_x_argument(as_dictionary=True)["url"])
    if url.get_backend_name() == SQLITE:
        url = url.set(drivername="sqlite")
    engine = create_engine(url)
    with engine.connect() as connection:
        _run_on(connection, metadata)
        connection.commit()
    engine.dispose()


def _run_on(connection: Connection, metadata: MetaData) -> None:
    # SQLite cannot alter most of a table: batch mode makes a new one and copies.
    is_sqlite = connection.dialect.name == SQLITE
    context.configure(
        connection=connection, target_metadata=metadata, render_as_batch=is_sqlite, compare_type=True
    )
    with context.begin_transaction():
        context.run_migrations()
