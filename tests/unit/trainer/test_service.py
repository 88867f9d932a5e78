"""The use cases of those who want a LoRA, over a real SQLite and simple stand-ins for the other services."""

# ruff: noqa: ASYNC110 - other processes ring no bell

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from servicekit.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from servicekit.identity import Principal, set_principal
from services.trainer.events import ArtifactKind, JobArtifact, JobState, Notice
from services.trainer.leasing import Wish
from services.trainer.ports import JobQuery
from services.trainer.preemption import Seat
from services.trainer.service import NewJob
from services.trainer.service_workers import Completion, Held, Report
from services.trainer.sources import Blob
from services.trainer.spec import Optimizer, ValidationSpec
from tests.fixtures.trainer_jobs import BASE, PARENT, REVISION, draft, manifest, pictures
from tests.fixtures.trainer_service import Trainer, trainer_over_fakes

REQUEST = "0b0f7a55-2a86-4d9c-9a53-3f0d0f6f1234"


@pytest.fixture
async def trainer(tmp_path: Path) -> AsyncIterator[Trainer]:
    async with trainer_over_fakes(tmp_path) as made:
        yield made


@pytest.fixture(autouse=True)
def administrator() -> None:
    become(None)


def become(brands: frozenset[str] | None, *, administrator: bool = True) -> None:
    set_principal(Principal(subject="me", brands=brands, administrator=administrator))


def new_job(brand: str = "acme", request_id: str = "", digest: str = "1", **changes: Any) -> NewJob:
    return NewJob(
        brand=brand,
        draft=draft(**changes),
        display_name="Hero",
        priority=0,
        request_id=request_id,
        body_digest=digest,
    )


async def fields(trainer: Trainer, **changes: Any) -> set[str]:
    with pytest.raises(InvalidArgument) as caught:
        await trainer.service.create(new_job(**changes))
    return {violation.field for violation in caught.value.violations}


async def test_a_new_job_is_queued_with_everything_filled_in_and_advice(trainer: Trainer) -> None:
    latest = REVISION.name.replace("/3", "/latest")
    record = await trainer.service.create(new_job(dataset_revision=latest, batch_size=2))
    job = record.job
    assert job.state is JobState.QUEUED
    assert job.creator == "me"
    assert job.spec.dataset_revision == REVISION.name
    assert job.sources.base == BASE
    assert job.total_steps == 600
    assert {advice.code for advice in job.advice} == {"BATCH_SIZE_SMALL"}
    assert await trainer.service.get(job.name) == record


async def test_the_validation_rpc_plans_without_keeping_anything(trainer: Trainer) -> None:
    plan = await trainer.service.validate("acme", draft(epochs=2))
    assert plan.total_steps == 60
    page = await trainer.service.page(
        "brands/acme", JobQuery(filter="", order_by="", page_size=0, page_token="")
    )
    assert page.records == ()


async def test_unknown_things_are_all_named_at_once(trainer: Trainer) -> None:
    found = await fields(
        trainer,
        base_model="baseModels/none",
        dataset_revision="brands/acme/datasets/none/revisions/1",
        parent_version="brands/acme/loras/none/versions/1",
    )
    assert found == {
        "training_job.spec.base_model",
        "training_job.spec.dataset_revision",
        "training_job.spec.parent_version",
    }


async def test_a_name_that_the_labeler_refuses_is_named_as_in_the_spec(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_name: str) -> None:
        raise InvalidArgument.of("name", "must end in a revision's number")

    monkeypatch.setattr(trainer.labeler, "revision", refuse)
    assert await fields(trainer) == {"training_job.spec.dataset_revision"}


async def test_things_of_another_brand_are_refused(trainer: Trainer) -> None:
    found = await fields(
        trainer, lora="brands/zeta/loras/hero", parent_version=PARENT.name.replace("acme", "zeta")
    )
    assert found == {"training_job.spec.lora", "training_job.spec.parent_version"}


async def test_an_unknown_brand_is_refused(trainer: Trainer) -> None:
    lora = {"lora": "brands/zeta/loras/hero", "dataset_revision": REVISION.name.replace("acme", "zeta")}
    trainer.labeler.add(replace(REVISION, name=lora["dataset_revision"]))
    assert await fields(trainer, brand="zeta", **lora) == {"parent"}


async def test_a_parent_of_another_base_or_rank_is_refused(trainer: Trainer) -> None:
    trainer.registry.versions[PARENT.name] = replace(PARENT, base_model_sha256="f" * 64)
    found = await fields(trainer, parent_version=PARENT.name, rank=4)
    assert found == {"training_job.spec.parent_version", "training_job.spec.adapter.rank"}


async def test_a_revision_without_training_pictures_is_refused(trainer: Trainer) -> None:
    trainer.artifacts.blobs[REVISION.manifest.sha256] = manifest(pictures(2, split="validation"))
    assert await fields(trainer) == {"training_job.spec.dataset_revision"}


async def test_evaluations_need_a_validation_split(trainer: Trainer) -> None:
    for asked in ({"validation_interval_steps": 5}, {"patience": 2}, {"keep_best": True}):
        assert await fields(trainer, **asked) == {"training_job.spec.validation"}
    split = (*pictures(3), *pictures(1, split="validation"))
    trainer.artifacts.blobs[REVISION.manifest.sha256] = manifest(split)
    made = await trainer.service.create(new_job(patience=2))
    assert made.job.spec.validation == ValidationSpec(interval_steps=100, patience=2, max_items=64)


async def test_an_optimizer_whose_library_is_missing_is_refused(trainer: Trainer) -> None:
    found = await fields(trainer, optimizer=Optimizer.ADAMW_8BIT)
    assert found == {"training_job.spec.optimization.optimizer"}
    assert await trainer.service.create(new_job(optimizer=Optimizer.ADAFACTOR))


async def test_a_repeated_request_gets_the_first_answer_even_when_others_are_away(trainer: Trainer) -> None:
    first = await trainer.service.create(new_job(request_id=REQUEST))
    trainer.registry.bases.clear()
    again = await trainer.service.create(new_job(request_id=REQUEST))
    assert again.job.name == first.job.name
    with pytest.raises(AlreadyExists):
        await trainer.service.create(new_job(request_id=REQUEST, digest="2"))


async def test_requests_at_the_same_time_make_one_job(trainer: Trainer) -> None:
    made = await asyncio.gather(*(trainer.service.create(new_job(request_id=REQUEST)) for _ in range(5)))
    assert len({record.job.name for record in made}) == 1


async def test_a_service_that_is_away_is_not_the_callers_fault(trainer: Trainer) -> None:
    async def away(name: str) -> Any:
        raise Unavailable("no registry")

    trainer.registry.base_model = away  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await trainer.service.create(new_job())


async def test_a_listing_of_all_brands_is_one_of_the_callers(trainer: Trainer) -> None:
    await trainer.service.create(new_job())
    everything = JobQuery(filter="", order_by="", page_size=0, page_token="")
    assert len((await trainer.service.page("brands/-", everything)).records) == 1
    become(frozenset({"zeta"}), administrator=False)
    assert (await trainer.service.page("brands/-", everything)).records == ()


async def test_unknown_jobs(trainer: Trainer) -> None:
    name = "brands/acme/trainingJobs/none"
    for call in (
        trainer.service.get(name),
        trainer.service.cancel(name),
        trainer.service.metrics(name, 0),
        trainer.service.download(name, "x"),
        anext(trainer.service.watch(name, 0)),
    ):
        with pytest.raises(NotFound):
            await call


async def begun(trainer: Trainer) -> Held:
    await trainer.service.create(new_job())
    job = (await trainer.workers.lease(Seat("w1", 8, "CPU"), Wish(max_jobs=8)))[0]
    return Held(job.name, job.fencing_token)


async def test_a_watch_replays_and_then_follows_to_the_end(trainer: Trainer) -> None:
    held = await begun(trainer)
    seen: list[object] = []

    async def watch() -> None:
        async for event in trainer.service.watch(held.job, 1):
            seen.append((event.sequence, event.payload))

    watching = asyncio.create_task(watch())
    async with asyncio.timeout(10):
        while not seen:
            await asyncio.sleep(0.01)
    assert seen == [(2, JobState.PREPARING), (3, Notice("alone in its pack"))]
    await trainer.workers.report(Report(held=held, payloads=[JobState.RUNNING, Notice("n")]))
    await trainer.workers.complete(Completion(held=held, state=JobState.SUCCEEDED, lora_version="v"))
    await asyncio.wait_for(watching, 10)
    assert [sequence for sequence, _ in seen] == [2, 3, 4, 5, 6, 7]  # type: ignore[misc]
    again = [event.sequence async for event in trainer.service.watch(held.job, 5)]
    assert again == [6, 7]


async def test_a_download_is_the_file_that_was_reported(trainer: Trainer) -> None:
    held = await begun(trainer)
    trainer.artifacts.blobs["a" * 64] = b"picture"
    artifact = JobArtifact(
        kind=ArtifactKind.LOSS_PLOT,
        file_name="loss.png",
        blob=Blob("a" * 64, 7),
        media_type="image/png",
        step=1,
    )
    await trainer.workers.report(Report(held=held, payloads=[artifact]))
    download = await trainer.service.download(held.job, "loss.png")
    assert download.artifact == artifact
    assert [chunk async for chunk in download.chunks] == [b"picture"]


async def test_cancelling_and_resuming(trainer: Trainer) -> None:
    name = (await trainer.service.create(new_job())).job.name
    assert (await trainer.service.cancel(name)).job.state is JobState.CANCELLED
    with pytest.raises(FailedPrecondition):
        await trainer.service.cancel(name)
    assert (await trainer.service.resume(name)).job.state is JobState.QUEUED
    with pytest.raises(FailedPrecondition):
        await trainer.service.resume(name)
