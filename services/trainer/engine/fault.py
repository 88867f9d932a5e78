"""Why a job left its pack."""

from __future__ import annotations

from typing import Final

LOSS_NOT_FINITE: Final = "LOSS_NOT_FINITE"
GRADIENT_NOT_FINITE: Final = "GRADIENT_NOT_FINITE"
CHECKPOINT_MISMATCH: Final = "CHECKPOINT_MISMATCH"
PARENT_MISMATCH: Final = "PARENT_MISMATCH"
NO_PICTURES: Final = "NO_PICTURES"
PICTURE_UNREADABLE: Final = "PICTURE_UNREADABLE"
WRONG_ITEMS: Final = "WRONG_ITEMS"
TEXT_UNUSABLE: Final = "TEXT_UNUSABLE"
TEXT_TOO_LONG: Final = "TEXT_TOO_LONG"
NO_TEXTS: Final = "NO_TEXTS"
NOTHING_TO_TRAIN: Final = "NOTHING_TO_TRAIN"
NOTHING_TO_VALIDATE: Final = "NOTHING_TO_VALIDATE"
OPTIMIZER_UNAVAILABLE: Final = "OPTIMIZER_UNAVAILABLE"
OUT_OF_MEMORY: Final = "OUT_OF_MEMORY"
JOB_RAISED: Final = "JOB_RAISED"


class EngineFault(Exception):  # noqa: N818 - it ends a job, not the call
    """One job cannot go on; the others of its pack can. The message is for the job's owner to act on."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        self.message = message
        super().__init__(f"{message} ({reason})")
