"""A worker's life: lease jobs, train them as a pack, let more join, give everything back when told to
stop.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from servicekit.errors import ServiceError
from services.trainer.engine import MemoryBook, Pack, choose_precision
from services.trainer.events import Failure
from services.trainer.leasing import PackKey
from services.trainer.service_workers import Instruction
from services.trainer.spec import Precision
from services.trainer.worker.bases import BASE_UNAVAILABLE, BaseUnusableError, ResidentBase
from services.trainer.worker.families import Base, family_on, prediction_type
from services.trainer.worker.job_run import JobRun, Phase
from services.trainer.worker.leases import LeasedJob
from services.trainer.worker.memory_report import MemoryReporter
from services.trainer.worker.pack_loop import STOPS, PackLoop
from services.trainer.worker.tools import Tools
from services.trainer.worker.trainer_client import TrainerClient
from services.trainer.worker_names import is_gone

_POLL_SECONDS: Final = 0.5
_HEARTBEAT_SECONDS: Final = 5.0
_JOIN_SECONDS: Final = 1.0
_FLUSH_SECONDS: Final = 0.25
_AWAY_SECONDS: Final = 2.0
_log = structlog.get_logger(__name__)


class Worker:
    """Works until `stop`."""

    def __init__(
        self,
        name: str,
        trainer: TrainerClient,
        tools: Tools,
        base: ResidentBase,
        *,
        device: str,
        pack_size: int,
        home: Path,
        pass_memory_bytes: int = 0,
    ) -> None:
        """`pass_memory_bytes` bounds what a pass may take; 0: by what is free on the device."""
        self._name = name
        self._trainer = trainer
        self._tools = tools
        self._device = device
        self._pack_size = pack_size
        self._home = home
        self._base = base
        self._memory = MemoryBook(pass_memory_bytes)
        self._runs: dict[str, JobRun] = {}
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Asks it to give its jobs back, each with a checkpoint, and to end."""
        self._stopping.set()

    async def run(self) -> None:
        """Leases and trains until it is stopped."""
        await asyncio.to_thread(_remove_leftovers, self._home)
        chores = [asyncio.create_task(chore()) for chore in (self._keep_leases, self._keep_telling)]
        try:
            while not self._stopping.is_set():
                leases = await self._lease(self._pack_size, None)
                if leases:
                    await self._train(leases)
                else:
                    await self._rest(_POLL_SECONDS)
        finally:
            for chore in chores:
                chore.cancel()
            await asyncio.gather(*chores, return_exceptions=True)

    async def _train(self, leases: Sequence[LeasedJob]) -> None:
        """Trains a pack that begins with these jobs."""
        key = leases[0].pack_key
        runs = [self._open(lease) for lease in leases]
        try:
            base = await self._load_base(runs)
        except BaseUnusableError as error:
            for run in runs:
                # A disk or network that is away for a moment may be back for the next attempt.
                retryable = error.reason == BASE_UNAVAILABLE
                run.then(run.fail(Failure(error.reason, error.message), retryable=retryable))
            await self._close(runs)
            return
        if base is None:
            await self._close(runs)
            return
        precision = (
            key.precision.value if key.precision is not Precision.AUTO else choose_precision(self._device)
        )
        family = family_on(base, resolution=key.resolution)
        pack = await self._tools.engine.run(
            partial(Pack, family, precision=precision, device=self._device, memory=self._memory)
        )
        reporter = MemoryReporter(
            family, self._device, self._memory, asked=key.precision, precision=precision
        )
        loop = PackLoop(self._tools, prediction_type(base), pack)
        try:
            for run in runs:
                if run.phase is Phase.PREPARING:
                    loop.open(run)
            await self._turn_until_empty(loop, key, reporter)
        finally:
            await loop.done()
            await self._close(list(self._runs.values()))
            await self._tools.engine.run(pack.close)

    async def _load_base(self, runs: Sequence[JobRun]) -> Base | None:
        """The jobs' base; None when nobody waits for it any more: fetching one may take long."""
        loading = asyncio.create_task(self._base.load(runs[0].lease))
        try:
            while not loading.done():
                await asyncio.wait({loading}, timeout=_POLL_SECONDS)
                if self._stopping.is_set():
                    self._give_back()
                for run in runs:
                    if run.lost:
                        run.close()
                    elif run.phase is Phase.PREPARING and run.instruction in STOPS:
                        run.phase = Phase.FINISHING
                        run.then(run.complete(STOPS[run.instruction]))
                if all(run.phase is not Phase.PREPARING for run in runs):
                    return None
            return await loading
        finally:
            loading.cancel()

    async def _turn_until_empty(self, loop: PackLoop, key: PackKey, reporter: MemoryReporter) -> None:
        joining: asyncio.Task[list[LeasedJob]] | None = None
        while loop.size or joining is not None:
            if joining is not None and joining.done():
                for lease in joining.result():
                    loop.open(self._open(lease))
                joining = None
            if self._stopping.is_set():
                self._give_back()
            elif joining is None and 0 < loop.size < self._pack_size:
                joining = asyncio.create_task(self._join(self._pack_size - loop.size, key))
            await loop.turn()
            await self._tell_memory(reporter)
            self._forget_ended()

    async def _tell_memory(self, reporter: MemoryReporter) -> None:
        news = reporter.news()
        if news is None:
            return
        try:
            await self._trainer.report_memory(news)
        except ServiceError as error:
            # The next pack measures nothing new, but tells it.
            _log.warning("measured memory not told", reason=error.reason, message=error.message)

    async def _join(self, most: int, key: PackKey) -> list[LeasedJob]:
        """After a while, more jobs for the pack; none once the worker is to stop."""
        await self._rest(_JOIN_SECONDS)
        return [] if self._stopping.is_set() else await self._lease(most, key)

    async def _lease(self, most: int, key: PackKey | None) -> list[LeasedJob]:
        try:
            return await self._trainer.lease(most, key)
        except ServiceError as error:
            _log.warning("no jobs can be leased", reason=error.reason, message=error.message)
            await self._rest(_AWAY_SECONDS)
            return []

    def _open(self, lease: LeasedJob) -> JobRun:
        _log.info("job leased", job=lease.name, attempt=lease.attempt, token_number=lease.token)
        directory = self._home / self._name / lease.name.rpartition("/")[2]
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        run = JobRun(self._trainer, lease, directory)
        self._runs[lease.name] = run
        return run

    async def _close(self, runs: Sequence[JobRun]) -> None:
        for run in runs:
            await run.done()
            run.close()
        self._forget_ended()

    def _forget_ended(self) -> None:
        for name, run in list(self._runs.items()):
            if run.phase is Phase.ENDED:
                del self._runs[name]

    def _give_back(self) -> None:
        for run in self._runs.values():
            if run.instruction is Instruction.CONTINUE:
                run.instruct(Instruction.PREEMPT)

    async def _keep_leases(self) -> None:
        """Heartbeats, at least three in the time that a lease holds."""
        while True:
            held = [run.lease for run in self._runs.values()]
            wait = min([lease.timeout.total_seconds() / 3 for lease in held] + [_HEARTBEAT_SECONDS])
            if held:
                await self._heartbeat(held)
            await asyncio.sleep(wait)

    async def _heartbeat(self, held: Sequence[LeasedJob]) -> None:
        try:
            told = await self._trainer.heartbeat(held)
        except ServiceError as error:
            _log.warning("heartbeat not answered", reason=error.reason)
            return
        for name, instruction in told.items():
            run = self._runs.get(name)
            if run is not None and instruction is not Instruction.CONTINUE:
                run.instruct(instruction)

    async def _keep_telling(self) -> None:
        """Sends what jobs have to say, a few times a second."""
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            await asyncio.gather(*(self._tell(run) for run in list(self._runs.values())))

    async def _tell(self, run: JobRun) -> None:
        try:
            await run.outbox.flush()
        except ServiceError as error:
            _log.warning(
                "a report was refused", job=run.lease.name, reason=error.reason, message=error.message
            )

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass


def _remove_leftovers(home: Path) -> None:
    """Drops the files of this host's workers that were killed."""
    if home.is_dir():
        for directory in home.iterdir():
            if is_gone(directory.name):
                shutil.rmtree(directory, ignore_errors=True)
