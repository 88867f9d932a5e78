"""Which faults of a database driver pass by themselves, as errors that a caller can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from servicekit.errors import Aborted, Unavailable

# PostgreSQL: serialization_failure and deadlock_detected. The whole transaction may simply be run again.
_CONFLICT_STATES: Final = frozenset({"40001", "40P01"})
_PASSING_WORDS_OF_SQLITE: Final = (
    "database is locked",
    "unable to open database file",
    "database or disk is full",
    "disk I/O error",
)


@contextmanager
def translated_faults() -> Iterator[None]:
    """Raises Aborted for lost races and Unavailable for lost connections; all other errors stay as they
    are."""
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) in _CONFLICT_STATES:
            raise Aborted(
                "another transaction was first; try again", reason="TRANSACTION_CONFLICT"
            ) from error
        if _is_passing(error):
            raise Unavailable(
                "the database cannot be used right now",
                reason="DATABASE_UNAVAILABLE",
                retry_after_seconds=1.0,
            ) from error
        raise


def _is_passing(error: DBAPIError) -> bool:
    if error.connection_invalidated or isinstance(error, InterfaceError):
        return True
    if not isinstance(error, OperationalError):
        return False
    text = str(error.orig)
    if any(words in text for words in _PASSING_WORDS_OF_SQLITE):
        return True
    # psycopg gives no SQLSTATE when no server was there to give one; 08 and 57P are lost connections and
    # shutdowns.
    state = getattr(error.orig, "sqlstate", "")
    return state is None or state.startswith(("08", "57P"))
