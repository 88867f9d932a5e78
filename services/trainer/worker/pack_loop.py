"""Trains a pack: jobs come in at the boundaries of steps, share every pass, and leave when they are done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import structlog

from lorakit.adapter import Adapter, load_adapter
from lorakit.errors import LorakitError
from services.trainer.engine import EngineFault, Pack, SampleSettings, StepReport
from services.trainer.engine.fault import JOB_RAISED, PARENT_MISMATCH
from services.trainer.engine.progress import PackMeter, PackReport
from services.trainer.events import Failure, JobState, Notice
from services.trainer.service_workers import Instruction
from services.trainer.worker.engine_spec import engine_spec
from services.trainer.worker.evaluation import early_end
from services.trainer.worker.job_run import JobRun, Phase
from services.trainer.worker.materials import fetch_materials
from services.trainer.worker.publication import Maker, Trained, publish
from services.trainer.worker.results import Sample
from services.trainer.worker.tools import Tools

STOPS: Final = {Instruction.CANCEL: JobState.CANCELLED, Instruction.PREEMPT: JobState.PREEMPTED}
"""How a job ends that is told to stop."""
_IDLE_SECONDS: Final = 0.02
_TOGETHER_SECONDS: Final = 5.0
"""For how long a pack's first step waits for jobs that are still fetching: what starts together shares all
passes.
"""
_log = structlog.get_logger(__name__)


class _ToldToStopError(Exception):
    """A job is to leave while it is being encoded."""


def _go_on(run: JobRun) -> None:
    if run.lost or run.instruction in STOPS:
        raise _ToldToStopError


class PackLoop:
    """One pack on one base, from its first job to its last."""

    def __init__(self, tools: Tools, prediction_type: str, pack: Pack) -> None:
        self._tools = tools
        self._prediction_type = prediction_type
        self._pack = pack
        self._runs: dict[str, JobRun] = {}
        self._meter = PackMeter()
        self._first_step_by: float | None = None
        """When the first step is made at the latest, once a job is ready for it."""

    @property
    def size(self) -> int:
        """Jobs that are being prepared or trained."""
        return sum(run.phase in {Phase.PREPARING, Phase.TRAINING} for run in self._runs.values())

    def open(self, run: JobRun) -> None:
        """Takes a leased job on; it trains as soon as its materials are there."""
        self._runs[run.lease.name] = run
        run.then(self._prepare(run))

    async def turn(self) -> None:
        """What is due between two steps, then one step of all jobs that are ready."""
        for run in list(self._runs.values()):
            await self._guarded(run, self._between_steps(run))
        training = [run for run in self._runs.values() if run.phase is Phase.TRAINING]
        if not training or self._gathers():
            await asyncio.sleep(_IDLE_SECONDS)
            return
        reports, pack = await self._step()
        for report in reports:
            run = self._runs[report.job_id]
            await self._guarded(run, self._after_step(run, report, pack))

    def _gathers(self) -> bool:
        """Whether jobs are ready for the first step, and others soon may be."""
        if self._first_step_by is None:
            self._first_step_by = time.monotonic() + _TOGETHER_SECONDS
        if all(run.phase is not Phase.PREPARING for run in self._runs.values()):
            self._first_step_by = 0.0
        return time.monotonic() < self._first_step_by

    async def _step(self) -> tuple[list[StepReport], PackReport]:
        begin = time.monotonic()
        reports = await self._tools.engine.run(self._pack.step)
        pause_seconds = max((report.pause_seconds for report in reports), default=0.0)
        return reports, PackReport(
            job_ids=frozenset(report.job_id for report in reports),
            images_per_second=self._meter.update(reports),
            step_seconds=max(time.monotonic() - begin - pause_seconds, 0.0),
            device_memory_bytes=self._pack.device_memory_bytes,
        )

    async def done(self) -> None:
        """Waits for the uploads and registrations that are under way."""
        for run in list(self._runs.values()):
            await run.done()
            await self._drop(run)

    async def _guarded(self, run: JobRun, work: Coroutine[Any, Any, None]) -> None:
        """Whatever goes wrong with one job ends that job alone."""
        try:
            await work
        except Exception as error:
            _log.exception("a job left its pack", job=run.lease.name)
            if isinstance(error, EngineFault):
                fault = error
            else:
                fault = EngineFault(JOB_RAISED, f"{type(error).__name__}: {error}")
            await self._eject(run, fault)

    async def _eject(self, run: JobRun, fault: EngineFault) -> None:
        run.phase = Phase.FINISHING
        await self._leave_pack(run)
        # What the engine did not expect may be the machine's fault; all else happens again in each attempt.
        retryable = fault.reason == JOB_RAISED
        run.then(run.fail(Failure(fault.reason, fault.message), retryable=retryable))

    async def _leave_pack(self, run: JobRun) -> None:
        if run.lease.name in self._pack.job_ids:
            await self._tools.engine.run(partial(self._pack.remove, run.lease.name))

    async def _between_steps(self, run: JobRun) -> None:
        if run.phase is Phase.ENDED:
            await self._drop(run)
        elif run.lost:
            run.close()
        elif self._waits(run) and run.instruction in STOPS:
            # Not when its pictures are there: the store may be away for long.
            run.phase = Phase.FINISHING
            run.abort()
            run.then(run.complete(STOPS[run.instruction]))
        elif run.phase is Phase.TRAINING and self._waits(run):
            await self._enter(run)
        elif run.phase is Phase.TRAINING and run.instruction in STOPS:
            await self._stop(run, STOPS[run.instruction])

    def _waits(self, run: JobRun) -> bool:
        """Whether the job is not in the pack yet."""
        arrived = run.phase is Phase.TRAINING and run.lease.name not in self._pack.job_ids
        return arrived or run.phase is Phase.PREPARING

    async def _drop(self, run: JobRun) -> None:
        await self._leave_pack(run)
        self._runs.pop(run.lease.name, None)

    async def _prepare(self, run: JobRun) -> None:
        """Fetches the job's materials; a job that an earlier attempt has finished ends here."""
        if run.lease.attempt > 1:
            version = await self._tools.publisher.registered(run.lease)
            if version is not None:
                await run.complete(JobState.SUCCEEDED, lora_version=version)
                return
        run.outbox.tell(Notice(f"fetching {run.lease.material}"))
        run.materials = await fetch_materials(
            self._tools.store, run.lease, run.directory, self._tools.patience
        )
        run.phase = Phase.TRAINING

    async def _enter(self, run: JobRun) -> None:
        """Encodes what the job learns from and lets it into the pack."""
        self._pause_all()
        assert run.materials is not None
        run.outbox.tell(Notice(f"encoding {len(run.materials.items)} {run.lease.material}"))
        run.then(run.outbox.flush())
        try:
            await self._tools.engine.run(partial(self._add, run))
        except _ToldToStopError:
            return  # what was told is done before the next step
        if run.lease.checkpoint is not None:
            run.outbox.tell(Notice(f"going on from step {run.lease.checkpoint_step}"))
        run.outbox.tell(JobState.RUNNING)
        if self._pack.finished(run.lease.name):
            await self._finish(run)

    def _add(self, run: JobRun) -> None:
        assert run.materials is not None
        parent: Adapter | None = None
        if run.materials.parent is not None:
            try:
                parent = load_adapter(run.materials.parent, base_modules=self._pack.base_modules)
            except LorakitError as error:
                raise EngineFault(PARENT_MISMATCH, f"the parent version cannot be used: {error}") from error
        self._pack.add(
            run.lease.name,
            engine_spec(run.lease),
            run.materials.items,
            held_out=run.materials.held_out,
            prior=run.materials.prior,
            start_from=parent,
            checkpoint=run.materials.checkpoint,
            on_progress=lambda done, total: _go_on(run),
        )

    async def _after_step(self, run: JobRun, report: StepReport, pack: PackReport) -> None:
        for text in report.notices:
            run.outbox.tell(Notice(text))
        if report.fault is not None:
            await self._eject(run, report.fault)
            return
        run.take(report, pack)
        samples = run.lease.spec.samples
        if report.finished:
            await self._finish(run)
            return
        if report.step % run.lease.spec.checkpoint_interval_steps == 0:
            await self._checkpoint(run)
        if samples.interval_steps and report.step % samples.interval_steps == 0:
            made = await self._sample(run)
            run.then(self._put_samples(run, made, report.step))

    async def _finish(self, run: JobRun) -> None:
        """The job is trained: what needs the engine is done here, the rest while the others go on."""
        run.phase = Phase.FINISHING
        run.trained_at = datetime.now(UTC)
        run.outcome = self._pack.outcome(run.lease.name)
        if run.outcome.stopped_early:
            run.outbox.tell(Notice(early_end(run.outcome, run.lease.total_steps)))
        if run.step > run.saved_step:
            # Whatever happens until the version is registered, nothing is trained twice.
            await self._checkpoint(run)
        made = await self._sample(run)
        adapter = await self._tools.engine.run(partial(self._pack.adapter, run.lease.name))
        await self._leave_pack(run)
        maker = Maker(self._pack.device, self._pack.precision, self._prediction_type)
        run.then(publish(self._tools, run, Trained(adapter, made), maker))

    async def _stop(self, run: JobRun, state: JobState) -> None:
        run.phase = Phase.FINISHING
        if run.step > run.saved_step:
            await self._checkpoint(run)
        await self._leave_pack(run)
        run.then(self._tools.shelf.put_tensorboard(run))
        run.then(run.complete(state))

    async def _checkpoint(self, run: JobRun) -> None:
        self._pause_all()
        path = run.directory / f"checkpoint-{run.step:06d}.safetensors"
        await self._tools.engine.run(partial(self._pack.save_checkpoint, run.lease.name, path))
        run.saved_step = run.step
        run.then(self._tools.shelf.put_checkpoint(run, path, run.step))

    async def _sample(self, run: JobRun) -> list[Sample]:
        wanted = run.lease.spec.samples
        if not wanted.prompts:
            return []
        self._pause_all()
        settings = SampleSettings(
            seed=wanted.seed,
            steps=wanted.steps,
            guidance_scale=wanted.guidance_scale,
            max_new_tokens=wanted.max_new_tokens,
            temperature=wanted.temperature,
        )
        try:
            made = await self._tools.engine.run(
                partial(self._pack.sample, run.lease.name, wanted.prompts, settings)
            )
        except EngineFault as fault:
            # What was trained is as good without them.
            run.outbox.tell(Notice(f"no samples are made: {fault.message}"))
            return []
        return [Sample(prompt, sample) for prompt, sample in zip(wanted.prompts, made, strict=True)]

    async def _put_samples(self, run: JobRun, made: Sequence[Sample], step: int) -> None:
        await self._tools.shelf.put_samples(run, made, step)

    def _pause_all(self) -> None:
        self._meter.pause()
        for run in self._runs.values():
            run.pause()
