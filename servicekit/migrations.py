"""Runs a service's Alembic migrations from code, and finds models that no migration has caught up with."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData, create_engine, event, text
from sqlalchemy.engine import URL

from servicekit.database_url import SQLITE, checked_url, make_parent


def migrate(url: str, script_location: Path | str, *, revision: str = "head") -> None:
    """Brings the database to `revision`. Blocks: from a running event loop call it through asyncio.to_thread.

    Several processes may call it at once: one migrates, the others wait and find nothing left to do. The
    env.py in `script_location` needs one line: `run_migrations(Base.metadata)` of servicekit.migrations_env.
    """
    config = Config()
    config.set_main_option("script_location", str(script_location).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with _locked_connection(checked_url(url)) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()


def schema_drift(url: str, metadata: MetaData) -> list[Any]:
    """The differences between the database and the models, as Alembic's operations; empty when they agree."""
    with _locked_connection(checked_url(url)) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))


@contextmanager
def _locked_connection(url: URL) -> Iterator[Connection]:
    if url.get_backend_name() == SQLITE:
        with _sqlite_connection(url) as connection:
            yield connection
        return
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            # Held by the session, and so to the end even where a migration commits in between.
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _lock_key(url)})
            connection.commit()
            yield connection
    finally:
        engine.dispose()


@contextmanager
def _sqlite_connection(url: URL) -> Iterator[Connection]:
    make_parent(url)
    engine = create_engine(url.set(drivername="sqlite"))
    event.listen(engine, "connect", _wait_for_writers)
    try:
        with Path(f"{url.database}.migration-lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with engine.connect() as connection:
                yield connection
    finally:
        engine.dispose()


def _wait_for_writers(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA busy_timeout = 10000")
    connection.execute("PRAGMA journal_mode = WAL")


def _lock_key(url: URL) -> int:
    digest = hashlib.sha256(f"brandloom migrations of {url.database}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
