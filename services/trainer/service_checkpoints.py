"""Use case: delete checkpoints that nothing will go on from."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from servicekit.clock import Clock
from services.trainer.ports import Artifacts, Jobs

_JOBS_AT_ONCE: Final = 200
_FILES_AT_ONCE: Final = 500


class CheckpointKeeper:
    """Keeps the newest checkpoint of each job, until it has succeeded or for `keep` after another end.

    A checkpoint is a file of its job alone: a random number in its header makes its digest its own. So nobody
    can be putting the same bytes into the store while they are deleted.
    """

    def __init__(self, jobs: Jobs, artifacts: Artifacts, clock: Clock, *, keep: timedelta) -> None:
        self._jobs = jobs
        self._artifacts = artifacts
        self._clock = clock
        self._keep = keep

    async def sweep(self) -> None:
        """Takes worn checkpoints from their jobs, then deletes the files; killed in between, the next sweep
        goes on."""
        await self._discard()
        async with self._jobs.snapshot() as reader:
            files = await reader.discarded_files(limit=_FILES_AT_ONCE)
        for sha256 in files:
            await self._delete(sha256)

    async def _discard(self) -> None:
        ended_before = self._clock.now() - self._keep
        async with self._jobs.transaction() as transaction:
            for name in await transaction.worn_checkpoints(ended_before, limit=_JOBS_AT_ONCE):
                job = await transaction.lock(name)
                if job is None:
                    continue
                job.give_up_checkpoint(ended_before)
                await transaction.save(job)
                kept = job.checkpoint.blob.sha256 if job.checkpoint else ""
                await transaction.discard_checkpoints(name, keep=kept)

    async def _delete(self, sha256: str) -> None:
        async with self._jobs.transaction() as transaction:
            if await transaction.is_referenced(sha256):
                await transaction.forget_discarded(sha256)
                return
        # Not within the transaction: the store may take its time.
        await self._artifacts.delete(sha256)
        async with self._jobs.transaction() as transaction:
            await transaction.forget_discarded(sha256)
