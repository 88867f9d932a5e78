"""Both services of the trainer over the wire."""

from __future__ import annotations

import hashlib
from typing import Any

import grpc
import grpc.aio
import pytest

from brandloom.api.common.v1 import artifact_pb2, family_pb2, job_pb2
from brandloom.api.trainer.v1 import resources_pb2, trainer_pb2, trainer_pb2_grpc, worker_pb2
from servicekit.errors import InvalidArgument, ServiceError
from servicekit.status import from_rpc_error
from tests.fixtures.trainer_jobs import BASE, PARENT, REVISION
from tests.grpc.trainer.conftest import Api

REQUEST = "0b0f7a55-2a86-4d9c-9a53-3f0d0f6f1234"
DATA = b"a" * (3 << 20)
DIGEST = hashlib.sha256(DATA).hexdigest()


def spec(**changes: Any) -> resources_pb2.TrainingSpec:
    fields: dict[str, Any] = {
        "base_model": BASE.name,
        "dataset_revision": REVISION.name.replace("/3", "/latest"),
        "lora": "brands/acme/loras/hero",
    }
    return resources_pb2.TrainingSpec(**{**fields, **changes})


def create(request_id: str = "", **changes: Any) -> trainer_pb2.CreateTrainingJobRequest:
    job = resources_pb2.TrainingJob(spec=spec(**changes), display_name="Hero", priority=3)
    return trainer_pb2.CreateTrainingJobRequest(parent="brands/acme", training_job=job, request_id=request_id)


async def error_of(call: Any) -> ServiceError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


def fields_of(error: ServiceError) -> set[str]:
    assert isinstance(error, InvalidArgument), error
    return {violation.field for violation in error.violations}


async def lease(api: Api) -> worker_pb2.TrainingLease:
    request = worker_pb2.LeaseTrainingJobsRequest(worker="host.1.pid-7", max_jobs=8)
    (found,) = (await api.workers.LeaseTrainingJobs(request)).leases
    return found


async def report(api: Api, held: worker_pb2.HeldLease, *events: Any, **more: Any) -> Any:
    request = worker_pb2.ReportTrainingEventsRequest(lease=held, events=events, **more)
    return await api.workers.ReportTrainingEvents(request)


async def test_a_job_from_its_creation_to_its_end(api: Api) -> None:
    job = await api.jobs.CreateTrainingJob(create(parent_version=PARENT.name, resolution=256))
    assert job.spec.dataset_revision == REVISION.name
    assert job.spec.adapter.rank == PARENT.rank
    assert job.spec.optimization.epochs == 10
    assert job.state == job_pb2.JOB_STATE_QUEUED
    assert (job.display_name, job.priority, job.creator) == ("Hero", 3, "local-administrator")

    leased = await lease(api)
    assert leased.job == job.name
    assert leased.base_model_source == BASE.source
    assert leased.family == family_pb2.MODEL_FAMILY_SD15
    assert leased.parent_artifact.sha256 == PARENT.file.sha256
    assert leased.total_steps == 300
    assert leased.registration_id
    assert not leased.HasField("checkpoint")
    assert job.advice
    assert list(leased.advice) == list(job.advice)

    held = worker_pb2.HeldLease(job=leased.job, fencing_token=leased.fencing_token)
    checkpoint = resources_pb2.JobArtifact(
        kind=resources_pb2.JobArtifact.KIND_CHECKPOINT,
        file_name="checkpoint",
        artifact=artifact_pb2.Artifact(sha256=DIGEST, size_bytes=len(DATA)),
        step=5,
    )
    point = resources_pb2.MetricPoint(
        step=5, loss=0.5, time=job.create_time, pack_images_per_second=8.0, device_memory_bytes=5 << 30
    )
    await report(
        api,
        held,
        resources_pb2.TrainingEvent(state=job_pb2.JOB_STATE_RUNNING),
        resources_pb2.TrainingEvent(artifact=checkpoint),
        points=[point],
    )
    beat = worker_pb2.HeartbeatRequest(worker="host.1.pid-7", leases=[held])
    (told,) = (await api.workers.Heartbeat(beat)).instructions
    assert told.action == worker_pb2.LeaseInstruction.ACTION_CONTINUE
    done = worker_pb2.CompleteTrainingJobRequest(
        lease=held, state=job_pb2.JOB_STATE_SUCCEEDED, lora_version="brands/acme/loras/hero/versions/3"
    )
    await api.workers.CompleteTrainingJob(done)
    await api.workers.CompleteTrainingJob(done)

    job = await api.jobs.GetTrainingJob(trainer_pb2.GetTrainingJobRequest(name=job.name))
    assert job.lora_version == "brands/acme/loras/hero/versions/3"
    watched = api.jobs.WatchTrainingJob(trainer_pb2.WatchTrainingJobRequest(name=job.name, after_sequence=3))
    kinds = [event.WhichOneof("event") async for event in watched]
    assert kinds == ["state", "artifact", "lora_version", "state"]
    metrics = await api.jobs.GetMetrics(trainer_pb2.GetMetricsRequest(name=job.name))
    assert list(metrics.points) == [point]


async def test_an_artifact_is_streamed_after_its_description(api: Api) -> None:
    job = await api.jobs.CreateTrainingJob(create())
    leased = await lease(api)
    held = worker_pb2.HeldLease(job=leased.job, fencing_token=leased.fencing_token)
    api.behind.artifacts.blobs[DIGEST] = DATA
    artifact = resources_pb2.JobArtifact(
        kind=resources_pb2.JobArtifact.KIND_LORA,
        file_name="hero.safetensors",
        artifact=artifact_pb2.Artifact(sha256=DIGEST, size_bytes=len(DATA), media_type="x/y"),
    )
    await report(api, held, resources_pb2.TrainingEvent(artifact=artifact))
    request = trainer_pb2.DownloadJobArtifactRequest(name=job.name, file_name="hero.safetensors")
    first, *rest = [chunk async for chunk in api.jobs.DownloadJobArtifact(request)]
    assert (first.artifact.sha256, first.artifact.size_bytes) == (DIGEST, len(DATA))
    assert first.file_name == "hero.safetensors"
    assert b"".join(chunk.data for chunk in rest) == DATA


async def test_a_cancelled_job_is_told_in_the_next_answer(api: Api) -> None:
    job = await api.jobs.CreateTrainingJob(create())
    leased = await lease(api)
    held = worker_pb2.HeldLease(job=leased.job, fencing_token=leased.fencing_token)
    job = await api.jobs.CancelTrainingJob(trainer_pb2.CancelTrainingJobRequest(name=job.name))
    assert job.state == job_pb2.JOB_STATE_CANCELLING
    answer = await report(api, held, resources_pb2.TrainingEvent(notice="n"))
    assert answer.action == worker_pb2.LeaseInstruction.ACTION_CANCEL
    done = worker_pb2.CompleteTrainingJobRequest(lease=held, state=job_pb2.JOB_STATE_CANCELLED)
    await api.workers.CompleteTrainingJob(done)
    job = await api.jobs.ResumeTrainingJob(trainer_pb2.ResumeTrainingJobRequest(name=job.name))
    assert job.state == job_pb2.JOB_STATE_QUEUED


async def test_an_old_token_is_refused(api: Api) -> None:
    await api.jobs.CreateTrainingJob(create())
    leased = await lease(api)
    held = worker_pb2.HeldLease(job=leased.job, fencing_token=leased.fencing_token + 1)
    error = await error_of(report(api, held, resources_pb2.TrainingEvent(notice="n")))
    assert error.reason == "LEASE_LOST"


async def test_a_repeated_request_and_a_reused_id(api: Api) -> None:
    first = await api.jobs.CreateTrainingJob(create(REQUEST))
    assert (await api.jobs.CreateTrainingJob(create(REQUEST))).name == first.name
    error = await error_of(api.jobs.CreateTrainingJob(create(REQUEST, horizontal_flip=True)))
    assert error.reason == "REQUEST_ID_REUSED"


async def test_a_listing_is_filtered_and_paged(api: Api) -> None:
    names = [(await api.jobs.CreateTrainingJob(create())).name for _ in range(3)]
    request = trainer_pb2.ListTrainingJobsRequest(parent="brands/-", page_size=2, filter="state = QUEUED")
    first = await api.jobs.ListTrainingJobs(request)
    request.page_token = first.next_page_token
    second = await api.jobs.ListTrainingJobs(request)
    assert {job.name for job in (*first.training_jobs, *second.training_jobs)} == set(names)
    assert (len(first.training_jobs), second.next_page_token) == (2, "")
    wrong = trainer_pb2.ListTrainingJobsRequest(parent="brands/acme", filter="state = BUSY")
    assert fields_of(await error_of(api.jobs.ListTrainingJobs(wrong))) == {"filter"}


async def test_a_plan_without_a_job(api: Api) -> None:
    request = trainer_pb2.ValidateTrainingSpecRequest(
        parent="brands/acme",
        spec=spec(optimization=resources_pb2.OptimizationSpec(batch_size=2, max_steps=7)),
    )
    plan = await api.jobs.ValidateTrainingSpec(request)
    assert plan.total_steps == 7
    assert plan.spec.optimization.max_steps == 7
    assert [advice.code for advice in plan.advice] == ["BATCH_SIZE_SMALL"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"base_model": "sd15"}, "training_job.spec.base_model"),
        ({"dataset_revision": "brands/acme/datasets/hero/revisions/0"}, "training_job.spec.dataset_revision"),
        ({"adapter": {"rank": 513}}, "training_job.spec.adapter.rank"),
        ({"adapter": {"dropout": 1.0}}, "training_job.spec.adapter.dropout"),
        ({"adapter": {"targets": [0]}}, "training_job.spec.adapter.targets[0]"),
        ({"optimization": {"learning_rate": float("nan")}}, "training_job.spec.optimization.learning_rate"),
        ({"seed": 1 << 32}, "training_job.spec.seed"),
        ({"base_model": "baseModels/none"}, "training_job.spec.base_model"),
        ({"lora": "brands/zeta/loras/hero"}, "training_job.spec.lora"),
        ({"resolution": 500}, "training_job.spec.resolution"),
        ({"samples": {"prompts": ["a\0b"]}}, "training_job.spec.samples.prompts[0]"),
        ({"trigger_words": ["fine", "\0"]}, "training_job.spec.trigger_words[1]"),
    ],
)
async def test_a_wrong_field_is_named(api: Api, changes: dict[str, Any], field: str) -> None:
    assert fields_of(await error_of(api.jobs.CreateTrainingJob(create(**changes)))) == {field}


async def test_a_watch_ends_when_the_server_stops(api: Api) -> None:
    job = await api.jobs.CreateTrainingJob(create())
    call = api.jobs.WatchTrainingJob(trainer_pb2.WatchTrainingJobRequest(name=job.name))
    seen = 0
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            seen += 1
            await api.server.stop(5)
    assert seen == 1
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_an_unknown_job(api: Api) -> None:
    request = trainer_pb2.GetTrainingJobRequest(name="brands/acme/trainingJobs/none")
    assert (await error_of(api.jobs.GetTrainingJob(request))).reason == "NOT_FOUND"


async def test_where_a_base_model_lies_is_told_to_administrators_only(api: Api) -> None:
    job = await api.jobs.CreateTrainingJob(create())
    failure = job_pb2.Failure(reason="BASE_UNUSABLE", message="/srv/secret holds no model")
    for retryable in (True, False):
        held = await lease(api)
        await api.workers.CompleteTrainingJob(
            worker_pb2.CompleteTrainingJobRequest(
                lease=worker_pb2.HeldLease(job=job.name, fencing_token=held.fencing_token),
                state=job_pb2.JOB_STATE_FAILED,
                error=failure,
                retryable=retryable,
            )
        )
        api.behind.clock.advance(60)
    told = [await everything_about(stub, job.name) for stub in (api.jobs, api.guests_jobs)]
    assert [text.count("/srv/secret") for text in told] == [4, 0]
    assert told[1].count("BASE_UNUSABLE") == 3
    assert told[1].count("administrators are told why") == 4


async def everything_about(stub: trainer_pb2_grpc.TrainerServiceStub, name: str) -> str:
    job = await stub.GetTrainingJob(trainer_pb2.GetTrainingJobRequest(name=name))
    listed = await stub.ListTrainingJobs(trainer_pb2.ListTrainingJobsRequest(parent="brands/acme"))
    watched = stub.WatchTrainingJob(trainer_pb2.WatchTrainingJobRequest(name=name))
    return f"{job}{listed}{[event async for event in watched]}"
