"""Why a job could not be done; each becomes an error of the service that the caller sees."""

from __future__ import annotations

from collections.abc import Mapping

from lorakit.device_memory import is_out_of_memory
from services.inference.engine_messages import Failure

_MIB = 1024 * 1024


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


def too_large(forward_rows: int, size_bytes: int, free_bytes: int) -> Failure:
    """A step of one of the job's pictures takes more memory than there is, as earlier ones show."""
    return _too_large(
        forward_rows, f"about {size_bytes / _MIB:.0f} MiB of memory, and {free_bytes / _MIB:.0f} MiB are free"
    )


def step_failure(error: Exception, *, forward_rows: int, alone: bool) -> Failure:
    """A step failed, for one job or for several that shared it."""
    if alone and is_out_of_memory(error):
        return _too_large(forward_rows, "more memory than there is")
    # Whose fault it was cannot be told; together with others it may go well.
    return internal_failure(f"a denoising step failed: {first_line(error)}", reason="ENGINE_STEP_FAILED")


def _too_large(forward_rows: int, memory: str) -> Failure:
    message = (
        f"a step of such a picture is {forward_rows} passes of the base model at once, which takes {memory}; "
        "ask for a smaller picture, or for fewer LoRAs with compositions, windows or regions of their own"
    )
    return Failure(kind="ResourceExhausted", reason="PICTURE_TOO_LARGE", message=message, metadata={})


def first_line(error: BaseException) -> str:
    """What an unforeseen error says, short enough for an answer."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
