"""The errors of base models that cannot be had, in words for whoever registered them."""

from __future__ import annotations

from typing import Final

from servicekit.errors import FailedPrecondition, Unavailable

UNUSABLE: Final = "BASE_MODEL_UNUSABLE"
"""Nothing at the source can be loaded, today or tomorrow."""
CHANGED: Final = "BASE_MODEL_CHANGED"
"""The source holds another model than was registered."""
UNAVAILABLE: Final = "BASE_MODEL_UNAVAILABLE"
"""The source cannot be read just now."""


def unusable(message: str) -> FailedPrecondition:
    """There is no base model at the source."""
    return FailedPrecondition(message, reason=UNUSABLE)


def changed(where: str, found: str, registered: str) -> FailedPrecondition:
    """There is another one than was registered; both digests are named."""
    return FailedPrecondition(
        f"{where} has the digest {found}, not {registered}, with which it was registered",
        reason=CHANGED,
        metadata={"found_sha256": found, "registered_sha256": registered},
    )


def unavailable(message: str) -> Unavailable:
    """It may be there in a while."""
    return Unavailable(message, reason=UNAVAILABLE, retry_after_seconds=5.0)
