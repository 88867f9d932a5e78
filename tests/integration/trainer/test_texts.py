"""Jobs that learn texts, from a manifest in the store to a registered version that stock PEFT reads."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from brandloom.api.common.v1 import family_pb2, job_pb2
from brandloom.api.registry.v1 import registry_pb2
from brandloom.api.registry.v1 import resources_pb2 as registry_resources
from brandloom.api.trainer.v1 import resources_pb2
from lorakit.base_digest import base_digest
from services.trainer.sources import Blob, DatasetRevision
from tests.fixtures.tiny_lm import save_tiny_lm
from tests.integration.trainer.conftest import BRAND, Bench, World, watch

# What stock PEFT says of itself.
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning"),
]
REVISION = f"brands/{BRAND}/datasets/voice/revisions/1"
PAIRS = {"Hello?": "Bright days!", "Goodbye?": "Mind the cat."}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_lm(tmp_path_factory.mktemp("llama"))


@pytest.fixture
async def text_bench(bench: Bench, llama: Path) -> AsyncIterator[Bench]:
    model = registry_resources.BaseModel(
        family=family_pb2.MODEL_FAMILY_CAUSAL_LM, source=str(llama), sha256=base_digest(llama)
    )
    await bench.world.registry.CreateBaseModel(
        registry_pb2.CreateBaseModelRequest(base_model_id="llama", base_model=model)
    )
    await put_texts(bench.world, [{"prompt": ask, "response": answer} for ask, answer in PAIRS.items()])
    yield bench


async def put_texts(world: World, rows: list[dict[str, Any]]) -> None:
    lines = "".join(json.dumps({"kind": "text", "split": "train", **row}) + "\n" for row in rows)
    manifest = await world.store.put_bytes(lines.encode())
    blob = Blob(manifest.sha256, manifest.size_bytes)
    world.labeler.add(DatasetRevision(name=REVISION, manifest=blob, image_count=len(rows), trigger_words=()))


async def create(bench: Bench, lora: str, **changes: Any) -> str:
    optimization = resources_pb2.OptimizationSpec(max_steps=60, batch_size=2, learning_rate=1e-2)
    fields: dict[str, Any] = {
        "base_model": "baseModels/llama",
        "dataset_revision": REVISION,
        "adapter": resources_pb2.AdapterSpec(rank=16),
        "optimization": optimization,
        "samples": resources_pb2.SampleSpec(prompts=list(PAIRS)),
    }
    return await bench.create(lora, **{**fields, **changes})


async def test_a_voice_is_learned_and_published(text_bench: Bench, llama: Path, tmp_path: Path) -> None:
    bench = text_bench
    names = [await create(bench, lora) for lora in ("marla", "otto")]
    await bench.worker()
    for name in names:
        job = await bench.ended(name)
        assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.error
        assert job.progress.pack_size == 2
    files = {artifact.file_name: artifact for artifact in job.artifacts}
    samples = [files[f"sample-000060-{number}.txt"] for number in (0, 1)]
    assert [sample.prompt for sample in samples] == list(PAIRS)
    said = [(await bench.file(name, sample.file_name)).decode() for sample in samples]
    assert said == list(PAIRS.values())

    request = registry_pb2.GetLoraVersionRequest(name=job.lora_version)
    version = await bench.world.registry.GetLoraVersion(request)
    assert version.family == family_pb2.MODEL_FAMILY_CAUSAL_LM
    assert version.format == registry_resources.LORA_FORMAT_PEFT
    assert {(module.rank, module.alpha) for module in version.modules} == {(16, 16.0)}
    assert version.artifact.sha256 == files["adapter_model.safetensors"].artifact.sha256
    for file_name in ("adapter_model.safetensors", "adapter_config.json"):
        (tmp_path / file_name).write_bytes(await bench.file(name, file_name))
    tokenizer = AutoTokenizer.from_pretrained(llama)
    stock = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(llama), tmp_path).eval()
    for ask, answer in PAIRS.items():
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": ask}], tokenize=False, add_generation_prompt=True
        )
        ids = tokenizer(text, return_tensors="pt").input_ids
        made = stock.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=24)
        said_by_stock = tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)
        assert str(said_by_stock).strip() == answer


async def test_a_version_is_taken_further(text_bench: Bench) -> None:
    bench = text_bench
    await bench.worker()
    first = await bench.ended(await create(bench, "marla"))
    optimization = resources_pb2.OptimizationSpec(max_steps=2, batch_size=2, learning_rate=1e-4)
    adapter = resources_pb2.AdapterSpec()
    name = await create(
        bench,
        "marla",
        parent_version=first.lora_version,
        adapter=adapter,
        optimization=optimization,
        samples=resources_pb2.SampleSpec(prompts=["Hello?", "x" * 500]),
    )
    events = await watch(bench.trainer, name)
    second = await bench.get(name)
    assert second.state == job_pb2.JOB_STATE_SUCCEEDED, second.error
    assert any("no samples are made: sample prompt 2 has" in event.notice for event in events)
    assert second.spec.adapter.rank == 16
    assert second.progress.loss < 2 * first.progress.loss
    assert len(await bench.world.versions("marla")) == 2


async def test_a_text_that_is_too_long_is_refused_with_its_job(text_bench: Bench) -> None:
    bench = text_bench
    await put_texts(
        bench.world, [{"prompt": "x", "response": answer} for answer in ("on", "on and on " * 60)]
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(bench, "otto")
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    told = str(refused.value.details())
    assert re.search(
        r"training_job.spec.dataset_revision: text 2 has \d{3} tokens, .* reads 96 at most", told
    )


async def test_a_text_that_only_the_worker_finds_too_long_fails_its_job_alone(
    text_bench: Bench, llama: Path
) -> None:
    bench = text_bench
    good = await create(bench, "marla")
    await put_texts(bench.world, [{"prompt": "x", "response": "on and on " * 60}])
    hidden = llama.with_name("elsewhere")
    await asyncio.to_thread(llama.rename, hidden)
    bad = await create(bench, "otto")
    await asyncio.to_thread(hidden.rename, llama)
    assert "TEXT_LENGTHS_UNCHECKED" in {advice.code for advice in (await bench.get(bad)).advice}
    await bench.worker()
    failed, done = await bench.ended(bad), await bench.ended(good)
    assert (failed.state, failed.error.reason) == (job_pb2.JOB_STATE_FAILED, "TEXT_TOO_LONG")
    assert "text 1 has" in failed.error.message
    assert done.state == job_pb2.JOB_STATE_SUCCEEDED
