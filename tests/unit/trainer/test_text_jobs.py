"""Jobs that learn texts, as they are planned: what is refused at once, and what is filled in."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from brandloom.api.trainer.v1.worker_pb2 import LeaseTrainingJobsRequest
from servicekit.errors import FailedPrecondition, InvalidArgument
from servicekit.identity import Principal, set_principal
from services.trainer import planning
from services.trainer.leasing import PackKey
from services.trainer.ports import TextFault
from services.trainer.registry_client import targets_of
from services.trainer.service import NewJob
from services.trainer.sources import BaseModel
from services.trainer.spec import Precision, Target
from services.trainer.text_manifest import Text, read_texts
from services.trainer.worker_servicer import wish_of
from tests.fixtures.trainer_jobs import BASE, REVISION, draft, manifest, pictures
from tests.fixtures.trainer_service import Trainer, trainer_over_fakes

LLAMA = BaseModel(
    name="baseModels/llama", family="causal_lm", source="/models/llama", sha256="e" * 64, resolution=0
)


@pytest.fixture
async def trainer(tmp_path: Path) -> AsyncIterator[Trainer]:
    set_principal(Principal(subject="me", brands=None, administrator=True))
    async with trainer_over_fakes(tmp_path) as made:
        made.registry.bases[LLAMA.name] = LLAMA
        put_texts(made, 30)
        yield made


def put_texts(trainer: Trainer, count: int, **changes: Any) -> None:
    rows = [
        {"kind": "text", "prompt": f"Say {index}", "response": str(index), **changes}
        for index in range(count)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    trainer.artifacts.blobs[REVISION.manifest.sha256] = lines.encode()


def new_job(**changes: Any) -> NewJob:
    return NewJob(
        brand="acme",
        draft=draft(**{"base_model": LLAMA.name, **changes}),
        display_name="Voice",
        priority=0,
        request_id="",
        body_digest="1",
    )


async def test_reading_a_large_dataset_keeps_nobody_waiting(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may take many seconds, and the same loop answers the heartbeats of all workers."""

    def slow(data: bytes) -> Sequence[Text]:
        time.sleep(0.5)
        return read_texts(data)

    monkeypatch.setattr(planning, "read_texts", slow)
    planned = asyncio.create_task(trainer.service.validate("acme", new_job().draft))
    longest, before = 0.0, time.monotonic()
    while not planned.done():
        await asyncio.sleep(0.01)
        now = time.monotonic()
        longest, before = max(longest, now - before), now
    assert (await planned).total_steps
    assert longest < 0.4


async def test_what_only_pictures_have_is_left_out(trainer: Trainer) -> None:
    job = (await trainer.service.create(new_job(epochs=2, batch_size=4))).job
    assert (job.spec.resolution, job.spec.loss.min_snr_gamma) == (0, 0.0)
    assert job.spec.adapter.targets == {Target.ATTENTION, Target.FEED_FORWARD}
    assert (job.total_steps, job.sources.train_images) == (16, 30)
    assert (job.spec.samples.max_new_tokens, job.spec.samples.temperature) == (64, 0.0)
    assert job.advice == ()


async def test_advice_is_about_texts(trainer: Trainer) -> None:
    put_texts(trainer, 5)
    job = (await trainer.service.create(new_job(max_steps=500, learning_rate=0.01))).job
    assert [advice.code for advice in job.advice] == ["FEW_TEXTS", "MANY_EPOCHS", "LEARNING_RATE_HIGH"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"resolution": 512}, "resolution"),
        ({"horizontal_flip": True}, "horizontal_flip"),
        ({"train_text_encoder": True}, "adapter.train_text_encoder"),
        ({"targets": frozenset({Target.CONV_1X1})}, "adapter.targets"),
        ({"min_snr_gamma": 5.0}, "loss.min_snr_gamma"),
        ({"noise_offset": 0.1}, "loss.noise_offset"),
        ({"caption_dropout": 0.1}, "loss.caption_dropout"),
    ],
)
async def test_settings_for_pictures_are_refused(
    changes: dict[str, Any], field: str, trainer: Trainer
) -> None:
    with pytest.raises(InvalidArgument, match="is for pictures") as refused:
        await trainer.service.create(new_job(**changes))
    assert [violation.field for violation in refused.value.violations] == [f"training_job.spec.{field}"]


async def test_texts_and_pictures_go_with_their_bases(trainer: Trainer) -> None:
    with pytest.raises(InvalidArgument, match="holds texts; baseModels/tiny learns from pictures"):
        await trainer.service.create(new_job(base_model=BASE.name))
    trainer.artifacts.blobs[REVISION.manifest.sha256] = manifest(pictures())
    with pytest.raises(InvalidArgument, match="holds pictures; baseModels/llama learns from texts"):
        await trainer.service.create(new_job())


async def test_a_row_without_an_answer_is_refused_at_once(trainer: Trainer) -> None:
    put_texts(trainer, 3, response="")
    with pytest.raises(FailedPrecondition, match=r"line 1 .*no answer"):
        await trainer.service.create(new_job())


async def test_nothing_to_train_on_is_refused(trainer: Trainer) -> None:
    put_texts(trainer, 3, split="validation")
    with pytest.raises(InvalidArgument, match="training split"):
        await trainer.service.create(new_job())


async def test_texts_that_do_not_fit_the_base_are_refused_at_once(trainer: Trainer) -> None:
    too_long = TextFault(2, "has 9 tokens, the base model reads 8 at most")
    trainer.lengths.found = [too_long, TextFault(7, "is odd")]
    job = new_job()
    for call in (trainer.service.create(job), trainer.service.validate("acme", job.draft)):
        with pytest.raises(InvalidArgument) as refused:
            await call
        assert [violation.description for violation in refused.value.violations] == [
            "text 2 has 9 tokens, the base model reads 8 at most",
            "text 7 is odd",
        ]
        assert {one.field.rpartition(".")[2] for one in refused.value.violations} == {"dataset_revision"}


async def test_only_the_texts_that_a_job_uses_are_measured(trainer: Trainer) -> None:
    splits = ["train", "validation", "train", "validation", "validation"]
    rows = [
        {"kind": "text", "prompt": "a", "response": str(number), "split": split}
        for number, split in enumerate(splits)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    trainer.artifacts.blobs[REVISION.manifest.sha256] = lines.encode()
    await trainer.service.create(new_job())
    assert trainer.lengths.asked == [1, 3]
    await trainer.service.create(new_job(validation_interval_steps=5, validation_max_items=2))
    assert trainer.lengths.asked == [1, 2, 3, 4]


async def test_a_base_that_is_elsewhere_leaves_it_to_the_worker(trainer: Trainer) -> None:
    trainer.lengths.unchecked = "the trainer could not use the tokenizer of baseModels/llama"
    job = (await trainer.service.create(new_job())).job
    assert [advice.code for advice in job.advice] == ["TEXT_LENGTHS_UNCHECKED"]
    assert "the tokenizer of baseModels/llama" in job.advice[0].message


def test_modules_of_language_models_tell_their_targets() -> None:
    block = "base_model.model.model.layers.0"
    assert targets_of([f"{block}.self_attn.o_proj"]) == {Target.ATTENTION}
    assert targets_of([f"{block}.mlp.gate_proj"]) == {Target.FEED_FORWARD}
    assert targets_of([f"{block}.mlp.gate_proj", "base_model.model.lm_head"]) == {Target.FEED_FORWARD}
    assert replace(BASE, family="causal_lm").learns_texts


def test_a_worker_of_texts_is_joined_by_its_pack_alone() -> None:
    request = LeaseTrainingJobsRequest(worker="w", max_jobs=4, base_model_sha256=LLAMA.sha256, joining=True)
    assert wish_of(request).joining == PackKey(LLAMA.sha256, 0, Precision.AUTO)
    assert wish_of(LeaseTrainingJobsRequest(worker="w", max_jobs=4)).joining is None
