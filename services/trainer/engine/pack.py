"""Many LoRA jobs on one resident frozen base; a single job is a pack of one.

Each step takes every job's next rows, drawn by that job's own generators, through ONE forward and backward
pass, and then lets each job's own optimizer step. A job's result is what it would have been alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from lorakit.adapter import Adapter, BaseModules
from lorakit.routing import install, uninstall
from services.trainer.engine.checkpoint import load_checkpoint, save_checkpoint
from services.trainer.engine.fault import JOB_RAISED, LOSS_NOT_FINITE, EngineFault
from services.trainer.engine.items import SampleSettings, TrainingItem
from services.trainer.engine.job import Job
from services.trainer.engine.port import Family, Member, OnProgress, Sample
from services.trainer.engine.shared_pass import run_pass
from services.trainer.engine.spec import JobSpec, StepReport


@dataclass(slots=True)
class _Turn:
    """What one job does in one step."""

    job: Job
    members: list[Member[Any, Any]]
    epoch: int = 0
    learning_rate: float = 0.0
    loss: float = 0.0
    rows: int = 0


class Pack:
    """Trains any number of jobs on one base. Calls come one at a time; jobs join and leave between steps."""

    def __init__(self, family: Family[Any, Any], *, precision: str, device: str = "cpu") -> None:
        """Moves the base to `device` and puts routing layers into it until `close`.

        `precision` is "float32" or "bfloat16" (autocast; parameters and optimizers stay float32).
        """
        self._family = family
        self._autocast = torch.bfloat16 if precision == "bfloat16" else None
        self._jobs: dict[str, Job] = {}
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
        """Drops all jobs and takes the routing layers out of the base again."""
        self._jobs.clear()
        for model in self._family.components.values():
            uninstall(model)

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
        start_from: Adapter | None = None,
        checkpoint: Path | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        """Reads and encodes what the job learns from; it takes part from the next step on.

        `start_from` is a LoRA to continue from, `checkpoint` a file of `save_checkpoint`; its weights win.
        Raises EngineFault, which harms this job only, and ValueError for an id that is already in.
        """
        if job_id in self._jobs:
            raise ValueError(f"the job {job_id} is in the pack already")
        data = self._family.cache(spec, items, on_progress)
        job = Job(job_id, spec, self._family, data, start_from)
        if checkpoint is not None:
            load_checkpoint(job, self._family.sha256, checkpoint)
        self._jobs[job_id] = job

    def remove(self, job_id: str) -> None:
        """Lets a job go, finished or not."""
        del self._jobs[job_id]

    def step(self) -> list[StepReport]:
        """One optimizer step of every job that is neither finished nor ejected."""
        turns = [_Turn(job, []) for job in self._jobs.values() if not job.finished and job.fault is None]
        for turn in turns:
            _guard(turn.job, lambda turn=turn: self._draw(turn))  # type: ignore[misc]
        shapes: dict[Hashable, list[tuple[_Turn, Member[Any, Any]]]] = {}
        for turn in turns:
            for member in turn.members if turn.job.fault is None else ():
                shapes.setdefault(member.rows.shape, []).append((turn, member))
        for shared in shapes.values():
            self._pass([(turn, member) for turn, member in shared if turn.job.fault is None])
        for turn in turns:
            if turn.job.fault is None:
                _guard(turn.job, turn.job.update)
            turn.job.clear_gradients()
        return [_report(turn) for turn in turns]

    def save_checkpoint(self, job_id: str, path: Path) -> None:
        """Writes everything that the job needs to go on bit for bit. Raises OSError."""
        save_checkpoint(self._jobs[job_id], self._family.sha256, path)

    def adapter(self, job_id: str) -> Adapter:
        """A copy of the job's LoRA as it is now, float32 on the CPU."""
        return self._jobs[job_id].adapter()

    def sample(self, job_id: str, prompts: Sequence[str], settings: SampleSettings) -> Sequence[Sample]:
        """Samples of the job as it is now; its training is not touched by it."""
        parameters = self._jobs[job_id].parameters
        return self._family.sample(parameters, prompts, settings, autocast=self._autocast)

    def _draw(self, turn: _Turn) -> None:
        turn.learning_rate = turn.job.learning_rate
        turn.members = turn.job.draw()
        turn.epoch = turn.job.order.epoch
        turn.rows = sum(len(member.rows) for member in turn.members)

    def _pass(self, shared: Sequence[tuple[_Turn, Member[Any, Any]]]) -> None:
        """One pass over rows of one shape; if it raises, each job goes alone, to find whose fault it is."""
        if not shared:
            return
        kept = {turn.job.job_id: _kept(turn.job) for turn, _ in shared}
        try:
            self._count(shared)
        except Exception:
            for turn, member in shared:
                kept[turn.job.job_id]()
                _guard(turn.job, lambda pair=(turn, member): self._count([pair]))  # type: ignore[misc]

    def _count(self, shared: Sequence[tuple[_Turn, Member[Any, Any]]]) -> None:
        losses = run_pass(self._family, [member for _, member in shared], autocast=self._autocast)
        for (turn, _), loss in zip(shared, losses, strict=True):
            turn.loss += loss
            if not math.isfinite(loss):
                turn.job.fault = EngineFault(
                    LOSS_NOT_FINITE,
                    f"the loss was not finite in step {turn.job.step + 1}; try a lower learning rate",
                )


def choose_precision(device: str) -> str:
    """The faster of "float32" and "bfloat16" on a device.

    A CPU needs matrix units (AMX) for bfloat16 to win: with AVX-512 alone a step of a small UNet
    takes 0.9 s against 0.6.
    """
    if torch.device(device).type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if torch.cpu._is_amx_tile_supported() else "float32"


def _kept(job: Job) -> Callable[[], None]:
    """Undoes what a pass that raised has done to the job: drawn dropout, added gradients."""
    dropout = job.generators.dropout.get_state()
    gradients = [None if p.grad is None else p.grad.clone() for p in job.parameters.parameters()]

    def restore() -> None:
        job.generators.dropout.set_state(dropout)
        for parameter, gradient in zip(job.parameters.parameters(), gradients, strict=True):
            parameter.grad = gradient

    return restore


def _guard(job: Job, action: Callable[[], None]) -> None:
    """Whatever one job's own part raises ejects that job alone."""
    try:
        action()
    except EngineFault as fault:
        job.fault = fault
    except Exception as error:
        job.fault = EngineFault(JOB_RAISED, f"step {job.step + 1} failed: {type(error).__name__}: {error}")


def _report(turn: _Turn) -> StepReport:
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
    )
