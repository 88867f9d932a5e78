"""From a trained job to its version: all its files, then the registration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lorakit.adapter import Adapter
from services.trainer.events import JobState
from services.trainer.worker.environment import environment
from services.trainer.worker.evaluation import evaluation
from services.trainer.worker.job_run import JobRun
from services.trainer.worker.publisher import Result
from services.trainer.worker.results import Sample
from services.trainer.worker.tools import Tools


@dataclass(frozen=True, slots=True)
class Trained:
    """What the engine has made of a job."""

    adapter: Adapter
    samples: Sequence[Sample]


@dataclass(frozen=True, slots=True)
class Maker:
    """On what and how it was made; `prediction_type` is empty for language models."""

    device: torch.device
    precision: str
    prediction_type: str


async def publish(tools: Tools, run: JobRun, trained: Trained, maker: Maker) -> None:
    """Puts the files into the store, registers the version once and ends the job."""
    shelf = tools.shelf
    previews = await shelf.put_samples(run, trained.samples, run.step)
    file = await shelf.put_lora(run, trained.adapter, maker.prediction_type)
    await run.outbox.flush()
    points = await run.points()
    plot, sheet = await shelf.put_loss_plot(run, points), await shelf.put_preview_sheet(run)
    await shelf.put_tensorboard(run)
    await run.outbox.flush()
    if run.lost:
        run.close()
        return
    assert run.outcome is not None and run.trained_at is not None
    result = Result(
        file=file,
        evaluation=evaluation(run.outcome, points),
        previews=previews,
        preview_sheet=sheet,
        loss_plot=plot,
        environment=environment(
            run.tally,
            device=maker.device,
            precision=maker.precision,
            worker=run.worker,
            attempt=run.lease.attempt,
        ),
        start_time=run.started_at,
        end_time=run.trained_at,
        training_seconds=run.tally.seconds,
        images_per_second=run.tally.images_per_second,
    )
    version = await tools.publisher.register(run.lease, result)
    await run.complete(JobState.SUCCEEDED, lora_version=version)
