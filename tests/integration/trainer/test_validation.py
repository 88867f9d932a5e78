"""Jobs with their own optimizers, averages and evaluations, from the spec to the registered version."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from brandloom.api.common.v1 import job_pb2
from brandloom.api.registry.v1 import registry_pb2
from brandloom.api.trainer.v1 import resources_pb2, trainer_pb2
from lorakit.safetensors_header import read_header
from services.trainer.worker.leases import LeasedJob
from services.trainer.worker.publisher import Publisher, Result
from tests.integration.trainer.conftest import Bench, add_revision, watch

pytestmark = pytest.mark.timeout(600)

Kind = resources_pb2.OptimizerKind


def steps(count: int, **changes: object) -> resources_pb2.OptimizationSpec:
    return resources_pb2.OptimizationSpec(max_steps=count, batch_size=2, **changes)  # type: ignore[arg-type]


async def version_of(bench: Bench, job: resources_pb2.TrainingJob):  # type: ignore[no-untyped-def]
    request = registry_pb2.GetLoraVersionRequest(name=job.lora_version)
    return await bench.world.registry.GetLoraVersion(request)


async def points_of(bench: Bench, name: str) -> list[resources_pb2.MetricPoint]:
    return list((await bench.trainer.GetMetrics(trainer_pb2.GetMetricsRequest(name=name))).points)


async def test_a_job_that_stops_early_registers_its_best_weights(bench: Bench, tmp_path: Path) -> None:
    await add_revision(bench.world, pictures=6, held_out=3)
    validation = resources_pb2.ValidationSpec(interval_steps=2, patience=2, keep_best=True)
    # Random pictures at such a rate: what is learned of them soon does the others harm.
    name = await bench.create(
        "hero", optimization=steps(200, learning_rate=2e-2, ema_decay=0.2), validation=validation
    )
    await bench.worker()
    events = await watch(bench.trainer, name)
    job = await bench.get(name)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.error
    assert job.progress.step < 200

    losses = {
        point.step: point.validation_loss
        for point in await points_of(bench, name)
        if point.HasField("validation_loss")
    }
    assert list(losses) == list(range(2, job.progress.step + 1, 2))
    best = min(losses, key=lambda step: losses[step])
    assert best == job.progress.step - 4
    [notice] = [event.notice for event in events if event.notice.startswith("stopped early")]
    assert f"after step {job.progress.step} of 200" in notice and f"step {best}" in notice

    assert job.progress.validation_loss == losses[job.progress.step]
    version = await version_of(bench, job)
    assert version.evaluation["validation_loss"] == pytest.approx(losses[best])
    assert (version.evaluation["steps"], version.evaluation["result_step"]) == (job.progress.step, best)
    path = tmp_path / "hero.safetensors"
    path.write_bytes(await bench.file(name, "hero.safetensors"))
    assert read_header(path).metadata["ss_steps"] == str(best)
    [board] = [file for file in job.artifacts if file.kind == resources_pb2.JobArtifact.KIND_TENSORBOARD]
    (tmp_path / board.file_name).write_bytes(await bench.file(name, board.file_name))
    accumulator = EventAccumulator(str(tmp_path / board.file_name))
    accumulator.Reload()
    assert [scalar.step for scalar in accumulator.Scalars("validation/loss")] == list(losses)


class DiesBeforeRegistering(Publisher):
    """The worker is gone before the version is registered: once."""

    died = False

    async def register(self, lease: LeasedJob, result: Result) -> str:
        if not DiesBeforeRegistering.died:
            DiesBeforeRegistering.died = True
            raise ConnectionError("gone")
        return await super().register(lease, result)


async def test_a_job_that_has_stopped_early_is_not_trained_on_by_the_next_attempt(bench: Bench) -> None:
    await add_revision(bench.world, pictures=6, held_out=3)
    validation = resources_pb2.ValidationSpec(interval_steps=2, patience=1, keep_best=True)
    name = await bench.create("hero", optimization=steps(200, learning_rate=2e-2), validation=validation)
    DiesBeforeRegistering.died = False
    await bench.worker(DiesBeforeRegistering)
    events = await watch(bench.trainer, name)
    job = await bench.get(name)
    assert (job.state, job.attempt) == (job_pb2.JOB_STATE_SUCCEEDED, 2), job.error
    notices = [event.notice for event in events if event.notice.startswith("stopped early")]
    assert len(notices) == 2 and notices[0] == notices[1]
    points = await points_of(bench, name)
    assert [point.step for point in points] == list(range(1, job.progress.step + 1))
    version = await version_of(bench, job)
    lowest = min(point.validation_loss for point in points if point.HasField("validation_loss"))
    assert version.evaluation["validation_loss"] == pytest.approx(lowest)
    assert version.evaluation["steps"] == job.progress.step < 200


async def test_jobs_of_one_pack_have_optimizers_of_their_own(bench: Bench, tmp_path: Path) -> None:
    await add_revision(bench.world, pictures=4, held_out=1)
    kinds = {
        "plain": (Kind.OPTIMIZER_KIND_UNSPECIFIED, "torch.optim.AdamW"),
        "prodigy": (Kind.OPTIMIZER_KIND_PRODIGY, "prodigyopt.Prodigy"),
        "factored": (Kind.OPTIMIZER_KIND_ADAFACTOR, "transformers.optimization.Adafactor"),
    }
    names = {
        lora: await bench.create(
            lora,
            optimization=steps(6, optimizer=kind),
            validation=resources_pb2.ValidationSpec(interval_steps=3),
        )
        for lora, (kind, _) in kinds.items()
    }
    await bench.worker()
    for lora, name in names.items():
        job = await bench.ended(name)
        assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.error
        assert job.progress.pack_size == 3
        assert "validation_loss" in (await version_of(bench, job)).evaluation
        path = tmp_path / f"{lora}.safetensors"
        path.write_bytes(await bench.file(name, f"{lora}.safetensors"))
        assert read_header(path).metadata["ss_optimizer"].startswith(kinds[lora][1])
    assert (await bench.get(names["prodigy"])).spec.optimization.learning_rate == 1.0


@pytest.mark.skipif(find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
async def test_8_bit_adamw_without_its_library_fails_with_the_field_named(bench: Bench) -> None:
    name = await bench.create("hero", optimization=steps(4, optimizer=Kind.OPTIMIZER_KIND_ADAMW_8BIT))
    other = await bench.create("city", optimization=steps(4))
    await bench.worker()
    job = await bench.ended(name)
    assert (job.state, job.error.reason) == (job_pb2.JOB_STATE_FAILED, "OPTIMIZER_UNAVAILABLE")
    assert "optimization.optimizer" in job.error.message and job.attempt == 1
    assert (await bench.ended(other)).state == job_pb2.JOB_STATE_SUCCEEDED
