"""Many LoRA jobs on one resident frozen base; a single job is a pack of one.

Each step takes every job's next rows, drawn by that job's own generators, through ONE forward and backward
pass (more where shapes differ or memory is short), and then lets each job's own optimizer step. A job's
result is what it would have been alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from lorakit.adapter import Adapter, BaseModules
from lorakit.device_memory import is_out_of_memory, release_unused
from lorakit.routing import install, uninstall
from services.trainer.engine.checkpoint import load_checkpoint, save_checkpoint
from services.trainer.engine.device_memory import taken_bytes
from services.trainer.engine.fault import OUT_OF_MEMORY, EngineFault
from services.trainer.engine.items import SampleSettings, TrainingItem
from services.trainer.engine.job import Job
from services.trainer.engine.memory import MemoryBook
from services.trainer.engine.memory_bound import memory_bound
from services.trainer.engine.port import Family, OnProgress, Sample
from services.trainer.engine.shared_passes import SharedPasses
from services.trainer.engine.spec import JobSpec, Outcome, StepReport
from services.trainer.engine.turn import Turn
from services.trainer.engine.validation import cache_held_out


class Pack:
    """Trains any number of jobs on one base. Calls come one at a time; jobs join and leave between steps."""

    def __init__(
        self,
        family: Family[Any, Any],
        *,
        precision: str,
        device: str = "cpu",
        memory: MemoryBook | None = None,
    ) -> None:
        """Moves the base to `device` and puts routing layers into it until `close`.

        `precision` is "float32" or "bfloat16" (autocast; parameters and optimizers stay float32). `memory`
        says how much a pass may take; without it a pass is made smaller only after one has not fitted.
        """
        self.precision = precision
        self.device = torch.device(device)
        self._family = family
        self._autocast = torch.bfloat16 if precision == "bfloat16" else None
        self._jobs: dict[str, Job] = {}
        self._memory = memory
        self._passes = SharedPasses(family, self._autocast, memory)
        family.prepare(device)
        for component, model in family.components.items():
            install(model, family.modules(component))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drops all jobs and takes the routing layers out of the base again; gives unused memory back."""
        self._jobs.clear()
        self._passes.close()
        for model in self._family.components.values():
            uninstall(model)
        release_unused(self._family.device)

    @property
    def job_ids(self) -> tuple[str, ...]:
        """The jobs that are in, in the order they came."""
        return tuple(self._jobs)

    @property
    def base_modules(self) -> BaseModules:
        """What a LoRA to continue from may sit on: as lorakit.adapter.load_adapter wants it."""
        family = self._family
        return {component: dict(family.modules(component)) for component in family.components}

    def add(
        self,
        job_id: str,
        spec: JobSpec,
        items: Sequence[TrainingItem],
        *,
        held_out: Sequence[TrainingItem] = (),
        prior: Sequence[TrainingItem] = (),
        start_from: Adapter | None = None,
        checkpoint: Path | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        """Reads and encodes what the job learns from; it takes part from the next step on.

        `held_out` is what it is evaluated on, if its spec asks for that; `prior` are class pictures that join
        each step with a weight of their own; `start_from` is a LoRA to continue from, `checkpoint` a file of
        `save_checkpoint`; its weights win.
        Raises EngineFault, which harms this job only, and ValueError for an id that is already in.
        """
        if job_id in self._jobs:
            raise ValueError(f"the job {job_id} is in the pack already")
        with self._enough_memory("encoding what the job learns from"):
            data = self._family.cache(spec, items, on_progress)
            held_out_data = cache_held_out(self._family, spec, held_out)
            joins = spec.prior_weight > 0.0 and len(prior) > 0
            prior_data = self._family.cache(spec, prior, None) if joins else None
        job = Job(job_id, spec, self._family, data, start_from, held_out_data, prior_data)
        if checkpoint is not None:
            load_checkpoint(job, self._family.sha256, checkpoint)
        self._jobs[job_id] = job

    def remove(self, job_id: str) -> None:
        """Lets a job go, finished or not."""
        del self._jobs[job_id]
        self._passes.forget()

    @property
    def device_memory_bytes(self) -> int:
        """What this process has taken of the device's memory."""
        return taken_bytes(self.device)

    def step(self) -> list[StepReport]:
        """One optimizer step of every job that is neither finished nor ejected."""
        with memory_bound(self._family.device, self._memory):
            return self._step()

    def _step(self) -> list[StepReport]:
        turns = [Turn(job) for job in self._jobs.values() if not job.finished and job.fault is None]
        for turn in turns:
            turn.guarded(turn.draw)
        self._passes.run(turns)
        for turn in turns:
            if turn.job.fault is None:
                turn.guarded(turn.job.update)
            turn.job.clear_gradients()
        begin = time.monotonic()
        for turn in turns:
            if turn.job.fault is None:
                turn.guarded(lambda turn=turn: self._validate(turn))  # type: ignore[misc]
        pause_seconds = time.monotonic() - begin
        return [_report(turn, pause_seconds) for turn in turns]

    def save_checkpoint(self, job_id: str, path: Path) -> None:
        """Writes everything that the job needs to go on bit for bit. Raises OSError."""
        save_checkpoint(self._jobs[job_id], self._family.sha256, path)

    def adapter(self, job_id: str) -> Adapter:
        """A copy of the job's result as it is now, float32 on the CPU."""
        return self._jobs[job_id].adapter()

    def outcome(self, job_id: str) -> Outcome:
        """What the job's result is, as it stands."""
        return self._jobs[job_id].outcome

    def finished(self, job_id: str) -> bool:
        """Whether the job is not stepped any more."""
        return self._jobs[job_id].finished

    def sample(self, job_id: str, prompts: Sequence[str], settings: SampleSettings) -> Sequence[Sample]:
        """Samples of the job as it is now; its training is not touched by it."""
        parameters = self._jobs[job_id].shown
        with self._enough_memory("making samples"):
            return self._family.sample(parameters, prompts, settings, autocast=self._autocast)

    @contextmanager
    def _enough_memory(self, what: str) -> Iterator[None]:
        """EngineFault where memory is too short for it."""
        try:
            with memory_bound(self._family.device, self._memory):
                yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            text = f"{what} takes more memory than is free; a smaller resolution needs less"
            raise EngineFault(OUT_OF_MEMORY, text) from error

    def _validate(self, turn: Turn) -> None:
        turn.validation = turn.job.validate(self._autocast)


def choose_precision(device: str) -> str:
    """The faster of "float32" and "bfloat16" on a device.

    A CPU needs matrix units (AMX) for bfloat16 to win: with AVX-512 alone a step of a small UNet
    takes 0.9 s against 0.6.
    """
    if torch.device(device).type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if torch.cpu._is_amx_tile_supported() else "float32"


def _report(turn: Turn, pause_seconds: float) -> StepReport:
    job = turn.job
    return StepReport(
        job_id=job.job_id,
        step=job.step,
        total_steps=job.spec.total_steps,
        epoch=turn.epoch,
        loss=turn.loss,
        learning_rate=turn.learning_rate,
        rows=turn.rows,
        finished=job.finished,
        fault=job.fault,
        validation=turn.validation,
        notices=tuple(turn.notices),
        pause_seconds=pause_seconds,
    )
