"""How Brandloom uses SQLite: write-ahead log, foreign keys, and transactions that say at once whether they
write."""

from __future__ import annotations

import functools
from typing import Any, Final

from sqlalchemy import Connection, Engine, event

READ_ONLY: Final = "brandloom_read_only"
_BUSY_TIMEOUT_MILLISECONDS: Final = 10_000


def prepare_engine(engine: Engine) -> None:
    """Makes every connection of the engine follow the rules of this module.

    A transaction takes the write lock when it begins, unless its execution options say READ_ONLY: then it
    cannot write.
    """
    # Inserted: SQLAlchemy's own listener already asks the connection something.
    event.listen(engine, "connect", _prepare_connection, insert=True)
    event.listen(engine, "begin", _begin)


def _prepare_connection(connection: Any, _record: object) -> None:
    driver = connection.driver_connection
    # A query cancelled twice has its connection closed by SQLAlchemy and then stopped: aiosqlite's close asks
    # the thread that is gone to stop once more, and waits for ever; asyncio.run would wait for that close.
    driver.stop = functools.cache(driver.stop)
    connection.isolation_level = None  # transactions are begun by _begin, not guessed by the driver
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MILLISECONDS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")  # with WAL: safe against crashes of the process
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get(READ_ONLY):
        connection.exec_driver_sql("PRAGMA query_only = ON")
        connection.exec_driver_sql("BEGIN")
    else:
        connection.exec_driver_sql("PRAGMA query_only = OFF")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
