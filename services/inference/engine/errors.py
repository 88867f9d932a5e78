"""Why a job could not be done; each becomes an error of the service that the caller sees."""

from __future__ import annotations

from collections.abc import Mapping

from services.inference.engine_messages import Failure


class JobError(Exception):
    """Fails one job alone. ``kind`` names the error class of servicekit."""

    def __init__(
        self,
        message: str,
        *,
        kind: str = "FailedPrecondition",
        reason: str,
        field: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.failure = Failure(
            kind=kind, reason=reason, message=message, field=field, metadata=dict(metadata or {})
        )


def internal_failure(message: str, *, reason: str = "ENGINE_FAULT") -> Failure:
    """A fault of the engine's own that may not come again."""
    return Failure(kind="Unavailable", reason=reason, message=message, metadata={})


def first_line(error: BaseException) -> str:
    """What an unforeseen error says, short enough for an answer."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
