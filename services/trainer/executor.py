"""Runs training workers as local processes: one for each accelerator, or one on the CPU.

A worker that dies is replaced, after a wait that doubles while it keeps dying, and its jobs go back to the
queue at once. Each worker watches its standard input, a pipe from this process: it ends when this process
does, however that ends.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from services.trainer.accelerators import visible_accelerator
from services.trainer.worker_names import is_gone, worker_name, worker_prefix

_log = structlog.get_logger(__name__)

_COMMAND: Final = (sys.executable, "-m", "services.trainer.worker", "--exit-with-parent")
# A worker that lived so long was well: the next death starts the waits from the beginning.
_HEALTHY_SECONDS: Final = 60.0


class Leases(Protocol):
    """What the executor tells about workers that are gone."""

    async def release(self, worker: str, why: str, *, blameless: bool = False) -> int:
        """Takes all jobs from the worker."""
        ...

    async def lease_holders(self, prefix: str) -> set[str]:
        """Workers with that prefix to their name that hold leases."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutorSettings:
    """How many workers, what they are given, how they are stopped and replaced."""

    workers: int
    environment: Mapping[str, str]
    """All of a worker's environment but its accelerator."""
    command: Sequence[str] = _COMMAND
    stop_seconds: float = 15.0
    """Between SIGTERM, at which a worker gives its jobs back, and SIGKILL."""
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30.0


class LocalExecutor:
    """Keeps local workers running from `start` to `stop`."""

    def __init__(self, settings: ExecutorSettings, leases: Leases, on_restart: Callable[[], None]) -> None:
        self._settings = settings
        self._leases = leases
        self._on_restart = on_restart
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = False

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers that run now."""
        return [process.pid for process in self._processes.values() if process.returncode is None]

    async def start(self) -> None:
        """Starts the workers; the jobs of workers that a former process on this host left behind are
        freed.
        """
        await self.free_orphaned_leases()
        self._keepers = [asyncio.create_task(self._keep(index)) for index in range(self._settings.workers)]

    async def stop(self) -> None:
        """Lets the workers give their jobs back and end; kills those that do not within the time they
        have.
        """
        self._stopping = True
        for process in self._running():
            process.terminate()
        if self._keepers:
            _, late = await asyncio.wait(self._keepers, timeout=self._settings.stop_seconds)
            for process in self._running():
                _log.warning("killing a worker that did not stop", pid=process.pid)
                process.kill()
            for keeper in late:
                await asyncio.wait({keeper}, timeout=5)
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    def kill(self) -> None:
        """Kills what a stop that was cut short has left."""
        for process in self._running():
            process.kill()

    async def free_orphaned_leases(self) -> None:
        """Frees the jobs of this host's workers whose process is gone."""
        for worker in await self._leases.lease_holders(worker_prefix()):
            if is_gone(worker):
                await self._leases.release(worker, "the worker's process was gone")

    def _running(self) -> list[asyncio.subprocess.Process]:
        return [process for process in self._processes.values() if process.returncode is None]

    async def _keep(self, index: int) -> None:
        """Runs worker after worker in one place."""
        wait = self._settings.first_wait_seconds
        loop = asyncio.get_running_loop()
        while not self._stopping:
            started = loop.time()
            try:
                code = await self._run_one(index)
            except OSError:
                _log.exception("no worker could be started", place=index)
                code = -1
            if self._stopping:
                return
            if loop.time() - started > _HEALTHY_SECONDS:
                wait = self._settings.first_wait_seconds
            _log.warning("a worker died and will be replaced", place=index, code=code, wait_seconds=wait)
            self._on_restart()
            await asyncio.sleep(wait)
            wait = min(wait * 2, self._settings.longest_wait_seconds)

    async def _run_one(self, index: int) -> int:
        """Starts one worker, waits for its end, frees its jobs; returns its exit code."""
        process = await asyncio.create_subprocess_exec(
            *self._settings.command,
            stdin=asyncio.subprocess.PIPE,
            env=self._environment(index),
        )
        self._processes[index] = process
        _log.info("worker started", place=index, pid=process.pid)
        if self._stopping:
            process.terminate()
        code = await process.wait()
        why = (
            f"the worker ended with code {code}" if code >= 0 else f"the worker was killed by signal {-code}"
        )
        try:
            await self._leases.release(worker_name(process.pid), why, blameless=self._stopping)
        except Exception:  # the leases run out by themselves; a worker in this place is worth more
            _log.exception("the jobs of a dead worker could not be freed", pid=process.pid)
        return code

    def _environment(self, index: int) -> dict[str, str]:
        environment = dict(self._settings.environment)
        accelerator = visible_accelerator(index)
        if accelerator:
            environment["CUDA_VISIBLE_DEVICES"] = accelerator
        return environment
