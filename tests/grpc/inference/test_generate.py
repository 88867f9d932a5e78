"""GenerateImages over real gRPC, with a real registry, store and engine process."""

from __future__ import annotations

import asyncio
import hashlib
import os
import pickle
import re
import signal
import time

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import generate_latest

from brandloom.api.inference.v1 import inference_pb2
from brandloom.api.registry.v1 import resources_pb2
from lorakit.families import sd15
from lorakit.hashes import model_hash
from lorakit.picture_metadata import parse_infotext, parse_record, read_png
from servicekit.channels import open_channel
from tests.fakes.identities import GUEST_TOKEN
from tests.fixtures.tiny_loras import write_lora
from tests.fixtures.tiny_sd import save_tiny_pipeline
from tests.grpc.inference.harness import Inference
from tests.grpc.registry.harness import Refusal, read_refusal
from tests.waiting import until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

LONG = {"steps": 150, "count": 64}


async def refused(inference: Inference, **fields: object) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await inference.generate(**fields)
    return read_refusal(caught.value)


async def test_stream_of_queued_progress_and_pictures(inference: Inference) -> None:
    answer = await inference.generate(prompt="<lora:hero:0.6> a red fox <lora:neon:0.5:0.8>", count=2)
    queued = answer.queued
    assert answer.messages[0].HasField("queued")
    assert [(used.reference, used.text_encoder_weight, used.weight) for used in queued.stack] == [
        ("hero", 0.6, 0.6),
        ("neon", 0.5, 0.8),
    ]
    assert queued.stack[0].version == "brands/acme/loras/hero/versions/1"
    assert (queued.seed, queued.base_model_sha256) == (7, inference.base.sha256)
    assert (answer.progress[-1].step, answer.progress[-1].total_steps) == (6, 6)
    assert [(image.index, image.seed, image.width, image.height) for image in answer.images] == [
        (0, 7, 16, 16),
        (1, 8, 16, 16),
    ]
    for image in answer.images:
        assert image.sha256 == hashlib.sha256(image.png).hexdigest()


async def test_pictures_tell_how_they_were_made(inference: Inference) -> None:
    stack = [inference_pb2.StackEntry(reference="neon@1", weight=0.5)]
    answer = await inference.generate(
        prompt="<lora:hero@prod:0.7> a fox",
        negative_prompt="grey: dull, flat",
        stack=stack,
        sampler=inference_pb2.SAMPLER_EULER,
        sigma_schedule=inference_pb2.SIGMA_SCHEDULE_KARRAS,
    )
    texts = read_png(answer.images[0].png)
    info = parse_infotext(texts["parameters"])
    assert info.prompt == "<lora:hero@prod:0.7> a fox <lora:neon@1:0.5>"
    assert info.negative_prompt == "grey: dull, flat"
    assert info.parameters["Sampler"] == "Euler"
    assert info.parameters["Schedule type"] == "Karras"
    assert (info.parameters["Steps"], info.parameters["Seed"], info.parameters["Size"]) == ("3", "7", "16x16")
    assert info.parameters["Model hash"] == inference.base.sha256[:10]
    hashes = [model_hash(inference.folder / f"{name}.safetensors")[:12] for name in ("hero", "neon")]
    assert info.parameters["Lora hashes"] == f"hero@prod: {hashes[0]}, neon@1: {hashes[1]}"
    record = parse_record(texts["brandloom"])
    assert record["brand"] == "brands/acme"
    assert [entry["sha256"] for entry in record["stack"]] == [used.sha256 for used in answer.queued.stack]
    # What the picture says is enough to make it again.
    again = await inference.generate(
        prompt=info.prompt,
        negative_prompt=info.negative_prompt,
        sampler=inference_pb2.SAMPLER_EULER,
        sigma_schedule=inference_pb2.SIGMA_SCHEDULE_KARRAS,
        seed=int(info.parameters["Seed"]),
    )
    assert np.array_equal(again.pixels(), answer.pixels())


async def test_tags_and_explicit_entries_add_up(inference: Inference) -> None:
    stack = [inference_pb2.StackEntry(reference="hero", weight=0.25)]
    summed = await inference.generate(prompt="<lora:hero:0.5> a fox", stack=stack)
    single = await inference.generate(prompt="a fox <lora:hero:0.75>")
    plain = await inference.generate(prompt="a fox")
    assert len(summed.queued.stack) == 1
    assert np.array_equal(summed.pixels(), single.pixels())
    assert not np.array_equal(plain.pixels(), single.pixels())


async def test_requests_at_once_get_what_they_get_alone(inference: Inference) -> None:
    asked = [
        {"prompt": "<lora:hero:1> a fox", "sampler": inference_pb2.SAMPLER_EULER, "steps": 5},
        {"prompt": "<lora:neon:0.5> a hat", "sampler": inference_pb2.SAMPLER_DDIM, "guidance_scale": 1.0},
    ]
    together = await asyncio.gather(*(inference.generate(**fields) for fields in asked))
    for fields, answer in zip(asked, together, strict=True):
        alone = await inference.generate(**fields)
        difference = np.abs(alone.pixels().astype(int) - answer.pixels().astype(int))
        assert difference.max() <= 1


async def test_a_seed_is_drawn_and_told(inference: Inference) -> None:
    request = inference.request()
    request.ClearField("seed")
    first = [message async for message in inference.stub.GenerateImages(request)]
    second = [message async for message in inference.stub.GenerateImages(request)]
    assert first[0].queued.seed != second[0].queued.seed
    assert first[-1].image.seed == first[0].queued.seed


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"clip_skip": 2}, "clip_skip", None),
        ({"sampler": 99}, "sampler", None),
        ({"width": 100_000}, "width", None),
        ({"width": 128}, "width", None),
        ({"height": 33}, "height", None),
        ({"width": 8, "height": 8, "clip_skip": 5}, "clip_skip", None),
        ({"prompt": "<lora:hero:abc> a fox"}, "prompt", "BAD_REFERENCE"),
        ({"prompt": "<hypernet:hero> a fox"}, "prompt", "BAD_REFERENCE"),
        ({"prompt": "<lora:nobody:1>"}, "prompt", "LORA_NOT_FOUND"),
        ({"prompt": "<lora:hero@9:1>"}, "prompt", "VERSION_NOT_FOUND"),
        ({"stack": [inference_pb2.StackEntry(reference="Bad Name")]}, "stack[0].reference", "BAD_REFERENCE"),
        ({"stack": [inference_pb2.StackEntry(reference="nobody")]}, "stack[0].reference", "LORA_NOT_FOUND"),
        ({"stack": [inference_pb2.StackEntry(reference="hero", weight=11)]}, "stack[0].weight", None),
        ({"sampler": 3, "sigma_schedule": 1}, "sigma_schedule", None),
        ({"parent": "acme"}, "parent", None),
    ],
)
async def test_bad_input_is_refused_by_field(
    inference: Inference, fields: dict[str, object], field: str, reason: str | None
) -> None:
    refusal = await refused(inference, **fields)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert field in refusal.fields
    assert reason is None or refusal.reason == reason


@pytest.mark.parametrize("fields", [{}, {"prompt": "<lora:hero>"}])
async def test_an_unknown_brand_is_not_found(inference: Inference, fields: dict[str, object]) -> None:
    refusal = await refused(inference, parent="brands/nobody", **fields)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    assert "brands/nobody" in refusal.message


async def test_texts_need_a_base_where_there_is_no_default(inference: Inference) -> None:
    request = inference_pb2.GenerateTextRequest(parent="brands/acme", prompt="a fox")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await anext(aiter(inference.stub.GenerateText(request)))
    assert list(read_refusal(caught.value).fields) == ["base_model"]


async def test_an_unknown_base_model_is_not_found(inference: Inference) -> None:
    refusal = await refused(inference, base_model="baseModels/nothing")
    assert refusal.code is grpc.StatusCode.NOT_FOUND


async def test_a_lora_of_another_base_is_refused_by_name(inference: Inference) -> None:
    other = save_tiny_pipeline(inference.folder / "base" / "wide", width=16)
    file = write_lora(sd15.load_base(other), inference.folder / "wide.safetensors", seed=3)
    await inference.registry.upload(file.read_bytes(), "brands/acme/loras/wide")
    refusal = await refused(inference, prompt="<lora:hero:1> <lora:wide:1> a fox")
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "LORA_BASE_MISMATCH")
    assert "wide" in refusal.message
    assert "hero" not in refusal.message


async def test_a_damaged_file_fails_its_own_request_alone(inference: Inference) -> None:
    file = write_lora(inference.base, inference.folder / "broken.safetensors", seed=4)
    await inference.registry.upload(file.read_bytes(), "brands/acme/loras/broken")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (blob,) = (inference.folder / "store").rglob(digest)
    blob.chmod(0o600)
    blob.write_bytes(pickle.dumps({"no": "safetensors"}))
    bad, good = await asyncio.gather(
        refused(inference, prompt="<lora:broken:1> a fox"),
        inference.generate(prompt="<lora:hero:1> a fox", steps=9),
    )
    assert bad.code is grpc.StatusCode.DATA_LOSS
    assert len(good.images) == 1


async def test_cancelled_rows_leave_the_batch(inference: Inference) -> None:
    call = inference.stub.GenerateImages(inference.request(**LONG))
    async for message in call:
        if message.HasField("progress"):
            break
    call.cancel()
    started = time.monotonic()
    await until(lambda: inference.app.engine.state().active_rows == 0)
    assert time.monotonic() - started < 5
    assert len((await inference.generate()).images) == 1


async def test_a_deadline_ends_the_work(inference: Inference) -> None:
    call = inference.stub.GenerateImages(inference.request(**LONG), timeout=1.0)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: inference.app.engine.state().active_rows == 0)


async def test_the_queue_is_bounded(inference: Inference) -> None:
    capacity = inference.app.service.capacity
    calls = []
    try:
        # The batch has four rows: the first four start, two more may wait.
        for expected in (0, 0, 0, 0, 1, 2):
            calls.append(inference.stub.GenerateImages(inference.request(steps=150, width=64, height=64)))
            assert (await calls[-1].read()).HasField("queued")
            await until(lambda expected=expected: capacity().queued_requests == expected)
        await until(lambda: inference.app.engine.state().active_rows == 4)
        told = await inference.stub.GetCapacity(inference_pb2.GetCapacityRequest())
        assert (told.active_rows, told.max_rows) == (4, 4)
        assert (told.queued_requests, told.max_queued_requests) == (2, 2)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            # No time to wait for a place: the channel does not try again.
            await inference.stub.GenerateImages(inference.request(), timeout=0.05).read()
        refusal = read_refusal(caught.value)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "QUEUE_FULL")
    finally:
        for call in calls:
            call.cancel()
    await until(lambda: inference.app.engine.state().active_rows == 0)
    assert capacity().queued_requests == 0


async def test_capacity_tells_bases_caches_and_samplers(inference: Inference) -> None:
    await inference.generate(prompt="<lora:hero:1> a fox")
    capacity = await inference.stub.GetCapacity(inference_pb2.GetCapacityRequest())
    assert capacity.engine_ready
    assert [(base.sha256, base.default) for base in capacity.bases] == [(inference.base.sha256, True)]
    used = {cache.level for cache in capacity.caches if cache.used_bytes > 0}
    assert used == {"disk", "memory", "device", "text_embeddings"}
    assert len(capacity.samplers) == 4
    scraped = generate_latest(inference.app.metrics.registry).decode()
    for name in (
        'requests_total{brand="acme"}',
        'pictures_total{brand="acme"}',
        'row_steps_total{brand="acme"}',
        "attach_seconds_sum",
        "step_rows_count",
        "step_seconds_sum",
        "queue_seconds_count",
    ):
        value = re.search(rf"^brandloom_inference_{re.escape(name)} (\S+)$", scraped, re.MULTILINE)
        assert value is not None and float(value[1]) > 0, name
    assert 'brandloom_inference_cache_used_bytes{level="memory"}' in scraped
    assert "brandloom_inference_engine_ready 1.0" in scraped


async def test_where_base_models_lie_is_told_to_administrators_only(inference: Inference) -> None:
    await inference.generate()
    request = inference_pb2.GetCapacityRequest()
    (base,) = (await inference.stub.GetCapacity(request)).bases
    assert base.source == str(inference.folder / "base" / "tiny")
    async with open_channel(f"127.0.0.1:{inference.port}", token=GUEST_TOKEN) as channel:
        (shown,) = (await type(inference.stub)(channel).GetCapacity(request)).bases
    assert (shown.sha256, shown.default, shown.source) == (base.sha256, True, "")


async def test_other_brands_are_refused_before_anything_else(inference: Inference) -> None:
    async with open_channel(f"127.0.0.1:{inference.port}", token=GUEST_TOKEN) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await (
                type(inference.stub)(channel)
                .GenerateImages(inference.request(parent="brands/globex", steps=100_000))
                .read()
            )
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_stranger_is_not_served(inference: Inference) -> None:
    async with open_channel(f"127.0.0.1:{inference.port}", token="wrong") as channel:
        stub = type(inference.stub)(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetCapacity(inference_pb2.GetCapacityRequest())
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_killed_engine_is_an_error_and_a_restart(inference: Inference) -> None:
    health = health_pb2_grpc.HealthStub(inference.channel)

    async def serving() -> bool:
        answer = await health.Check(health_pb2.HealthCheckRequest())
        return answer.status == health_pb2.HealthCheckResponse.SERVING

    await until(serving)
    before, old = inference.app.engine.starts, inference.app.engine.pid
    call = inference.stub.GenerateImages(inference.request(**LONG))
    async for message in call:
        if message.HasField("progress"):
            break
    assert old is not None
    os.kill(old, signal.SIGKILL)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    refusal = read_refusal(caught.value)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "ENGINE_UNAVAILABLE")

    async def not_serving() -> bool:
        return not await serving()

    await until(not_serving)
    # The API answers all the while.
    capacity = await inference.stub.GetCapacity(inference_pb2.GetCapacityRequest())
    assert not capacity.engine_ready
    await inference.engine_ready()
    await until(serving)
    assert inference.app.engine.starts == before + 1
    scraped = generate_latest(inference.app.metrics.registry).decode()
    assert f"brandloom_inference_engine_restarts_total {float(before)}" in scraped
    assert len((await inference.generate(prompt="<lora:hero:1> a fox")).images) == 1


async def test_the_version_in_use_is_the_one_the_alias_names(inference: Inference) -> None:
    file = write_lora(inference.base, inference.folder / "hero-2.safetensors", seed=9)
    version = resources_pb2.LoraVersion(base_model="baseModels/tiny")
    await inference.registry.upload(file.read_bytes(), "brands/acme/loras/hero", version=version)
    prod = await inference.generate(prompt="<lora:hero:1> a fox")
    second = await inference.generate(prompt="<lora:hero@2:1> a fox")
    assert prod.queued.stack[0].version.endswith("versions/1")
    assert not np.array_equal(prod.pixels(), second.pixels())
