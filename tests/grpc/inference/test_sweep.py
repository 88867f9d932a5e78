"""GenerateSweep over real gRPC, with a real registry, store and engine process."""

from __future__ import annotations

import asyncio
import hashlib
import io
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

import brandloom
from brandloom.api.inference.v1 import inference_pb2
from brandloom.api.registry.v1 import registry_pb2, resources_pb2
from lorakit.picture_metadata import parse_infotext, parse_record, read_png
from tests.fixtures.tiny_loras import write_lora
from tests.grpc.inference.harness import Inference
from tests.grpc.registry.harness import TOKEN, Refusal, read_refusal
from tests.waiting import until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

HERO = inference_pb2.StackEntry(reference="hero", weight=0.8)
NO_MASK = inference_pb2.Region(mask_png=b"no picture")
MASKED = inference_pb2.StackEntry(reference="neon", region=NO_MASK)


@dataclass(frozen=True, slots=True)
class Swept:
    """The messages of one sweep."""

    messages: list[inference_pb2.GenerateSweepResponse] = field(default_factory=list)

    @property
    def kinds(self) -> list[str]:
        return [message.WhichOneof("message") or "" for message in self.messages]

    @property
    def cells(self) -> dict[tuple[int, int, int], inference_pb2.GeneratedImage]:
        return {
            (m.cell.prompt_index, m.cell.seed_index, m.cell.weight_index): m.cell.image
            for m in self.messages
            if m.HasField("cell")
        }

    @property
    def sheet(self) -> Image.Image:
        return Image.open(io.BytesIO(self.messages[-1].sheet_png))


def request(inference: Inference, **fields: Any) -> inference_pb2.GenerateSweepRequest:
    template = inference_pb2.GenerateImagesRequest(
        parent="brands/acme", **{"steps": 3, "stack": [HERO], **fields.pop("template", {})}
    )
    return inference_pb2.GenerateSweepRequest(template=template, **fields)


async def sweep(inference: Inference, **fields: Any) -> Swept:
    swept = Swept()
    async for message in inference.stub.GenerateSweep(request(inference, **fields)):
        swept.messages.append(message)
    return swept


async def refused(inference: Inference, **fields: Any) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await sweep(inference, **fields)
    return read_refusal(caught.value)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


async def test_a_grid_of_prompts_seeds_and_weights(inference: Inference) -> None:
    prompts = ["a red fox", "a blue hat <lora:neon:0.5>"]
    swept = await sweep(inference, prompts=prompts, seeds=[7, 11], weights=[0.0, 0.5, 1.0])
    assert swept.kinds[0] == "queued"
    assert swept.kinds[-1] == "sheet_png"
    queued = swept.messages[0].queued
    assert [(used.reference, used.version, used.weight) for used in queued.stack] == [
        ("hero", "brands/acme/loras/hero/versions/1", 0.8),
        ("neon", "brands/acme/loras/neon/versions/1", 0.5),
    ]
    places = {(p, s, w) for p in range(2) for s in range(2) for w in range(3)}
    assert set(swept.cells) == places
    assert sorted(image.index for image in swept.cells.values()) == list(range(12))
    told = [message.progress for message in swept.messages if message.HasField("progress")]
    assert (told[-1].step, told[-1].total_steps) == (36, 36)
    assert [progress.step for progress in told] == sorted(progress.step for progress in told)
    # Each cell is what a request of its own makes, and says how to make it again.
    for (prompt, seed, weight), image in swept.cells.items():
        assert image.sha256 == hashlib.sha256(image.png).hexdigest()
        assert image.seed == [7, 11][seed]
        info = parse_infotext(read_png(image.png)["parameters"])
        alone = await inference.generate(prompt=info.prompt, seed=image.seed)
        difference = np.abs(alone.pixels().astype(int) - pixels(image.png).astype(int))
        assert difference.max() <= 1, (prompt, seed, weight)
        stack = parse_record(read_png(image.png)["brandloom"])["stack"]
        factor = [0.0, 0.5, 1.0][weight]
        assert {entry["reference"]: entry["weight"] for entry in stack} == pytest.approx(
            {"hero": 0.8 * factor} if prompt == 0 else {"hero": 0.8 * factor, "neon": 0.5 * factor}
        )
    assert len({image.sha256 for image in swept.cells.values()}) == 12
    # Two bands of two rows and three columns, with room for words.
    assert swept.sheet.mode == "RGB"
    assert swept.sheet.width > 3 * 112
    assert swept.sheet.height > 2 * 112
    texts = read_png(swept.messages[-1].sheet_png)
    record = parse_record(texts["brandloom"])
    assert [used["version"] for used in record["stack"]] == [used.version for used in queued.stack]
    assert {
        (cell["prompt"], cell["seed"], cell["weight"]): cell["sha256"] for cell in record["sweep"]["cells"]
    } == {place: image.sha256 for place, image in swept.cells.items()}
    assert "trainedAlgorithmicMedia" in texts["XML:com.adobe.xmp"]


async def test_what_is_left_out_comes_from_the_template(inference: Inference) -> None:
    swept = await sweep(inference, template={"prompt": "a red fox", "seed": 9})
    alone = await inference.generate(prompt="a red fox", seed=9, stack=[HERO])
    assert list(swept.cells) == [(0, 0, 0)]
    assert np.array_equal(pixels(swept.cells[0, 0, 0].png), alone.pixels())
    drawn = [await sweep(inference, template={"prompt": "a red fox"}) for _ in range(2)]
    assert drawn[0].messages[0].queued.seed != drawn[1].messages[0].queued.seed


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"template": {"count": 2}}, "template.count"),
        ({"template": {"preview_every": 1}}, "template.preview_every"),
        ({"template": {"width": 33}}, "template.width"),
        ({"template": {"prompt": "a"}, "prompts": ["b"]}, "template.prompt"),
        ({"template": {"seed": 1}, "seeds": [2]}, "template.seed"),
        ({"prompts": ["p"] * 32, "seeds": range(33)}, "prompts"),
        ({"weights": [1.0, 11.0]}, "weights[1]"),
        ({"weights": [float("nan")]}, "weights[0]"),
        ({"template": {"stack": [inference_pb2.StackEntry(reference="hero", weight=6)]}, "weights": [2.0]},
         "weights[0]"),
        ({"prompts": ["a <lora:hero:6>"], "weights": [1.0, 2.0]}, "weights[1]"),
        ({"seeds": [1 << 32]}, "seeds[0]"),
        ({"prompts": ["a", "b <lora:hero:x>"]}, "prompts[1]"),
        ({"prompts": ["a", "b <lora:nobody:1>"]}, "prompts[1]"),
        ({"template": {"stack": [inference_pb2.StackEntry(reference="nobody")]}},
         "template.stack[0].reference"),
        ({"template": {"stack": [inference_pb2.StackEntry(reference="Bad")]}}, "template.stack[0].reference"),
        ({"template": {"clip_skip": 2}}, "template.clip_skip"),
        ({"template": {"stack": [HERO, MASKED]}}, "template.stack[1].region.mask_png"),
    ],
)  # fmt: skip
async def test_faults_are_named_by_the_sweeps_fields(
    inference: Inference, fields: dict[str, Any], field: str
) -> None:
    refusal = await refused(inference, **fields)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert field in refusal.fields, refusal


async def test_a_stranger_is_refused(inference: Inference) -> None:
    fields = {"template": {"stack": []}}
    message = request(inference, **fields)
    message.template.parent = "brands/other"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        [item async for item in inference.stub.GenerateSweep(message)]
    assert read_refusal(caught.value).code is grpc.StatusCode.NOT_FOUND


async def test_cancelling_takes_all_cells_from_the_engine(inference: Inference) -> None:
    call = inference.stub.GenerateSweep(
        request(inference, template={"steps": 150}, prompts=["a"], seeds=list(range(64)))
    )
    async for message in call:
        if message.HasField("progress"):
            break

    async def capacity() -> inference_pb2.GetCapacityResponse:
        return await inference.stub.GetCapacity(inference_pb2.GetCapacityRequest())

    async def full() -> bool:
        now = await capacity()
        return bool(now.active_rows == now.max_rows)

    async def idle() -> bool:
        return bool((await capacity()).active_rows == 0)

    # Cells share the batch, and the sweep is one request of the queue.
    await until(full, seconds=20)
    assert (await capacity()).queued_requests == 0
    call.cancel()
    await until(idle, seconds=20)
    assert len(inference.app.engine._flights) == 0
    answer = await inference.generate()
    assert answer.images


async def test_all_cells_use_the_versions_of_the_beginning(inference: Inference) -> None:
    registry = inference.registry
    old = inference.folder / "moving-1.safetensors"
    write_lora(inference.base, old, seed=31, rank=4)
    version = resources_pb2.LoraVersion(base_model="baseModels/tiny")
    await registry.upload(old.read_bytes(), "brands/acme/loras/moving", version=version)
    alias = registry_pb2.SetAliasRequest(lora="brands/acme/loras/moving", alias="prod", version=1)
    await registry.stub.SetAlias(alias)
    used = set()
    async for message in inference.stub.GenerateSweep(
        request(inference, template={"stack": []}, prompts=["a <lora:moving@prod:1>"], seeds=list(range(12)))
    ):
        if message.HasField("queued"):
            new = write_lora(inference.base, inference.folder / "moving-2.safetensors", seed=32, rank=4)
            await registry.upload(new.read_bytes(), "brands/acme/loras/moving", version=version)
            alias.version = 2
            await registry.stub.SetAlias(alias)
        if message.HasField("cell"):
            record = parse_record(read_png(message.cell.image.png)["brandloom"])
            used.add(record["stack"][0]["version"])
    assert used == {"brands/acme/loras/moving/versions/1"}


async def test_a_bad_cell_fails_the_sweep_and_says_where_it_is(inference: Inference) -> None:
    """A file that breaks on this host between one request and the next."""
    file = write_lora(inference.base, inference.folder / "brittle.safetensors", seed=33, rank=4)
    version = resources_pb2.LoraVersion(base_model="baseModels/tiny")
    await inference.registry.upload(file.read_bytes(), "brands/acme/loras/brittle", version=version)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    prompts = ["a fox", "a fox <lora:brittle:1>"]
    # The engine is made busy, so that the file can break after it was verified and before it is read.
    blocker = inference.stub.GenerateImages(inference.request(steps=150, count=64, prompt="busy"))
    await anext(aiter(blocker))
    call = inference.stub.GenerateSweep(
        request(inference, template={"stack": []}, prompts=prompts, seeds=[5])
    )
    messages = aiter(call)
    assert (await anext(messages)).HasField("queued")
    cached = next((inference.folder / "cache").rglob(f"{digest}.safetensors"))
    cached.write_bytes(b"\0" * cached.stat().st_size)
    blocker.cancel()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in messages:
            pass
    refusal = read_refusal(caught.value)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "LORA_FILE_INVALID")
    assert refusal.message.startswith("the cell of prompts[1], seed 5 and weight 1 failed: brittle cannot be")
    assert refusal.metadata["prompt_index"] == "1"


async def test_a_sweep_shares_the_engine_with_others(inference: Inference) -> None:
    running = asyncio.create_task(sweep(inference, prompts=["a"], seeds=list(range(24))))
    answer = await inference.generate(prompt="a hat")
    assert answer.images
    assert len((await running).cells) == 24


async def test_the_client_sweeps_exports_pins_and_makes_batches(inference: Inference, tmp_path: Path) -> None:
    async with brandloom.connect_async(
        inference=f"127.0.0.1:{inference.port}", registry=f"127.0.0.1:{inference.registry.port}", token=TOKEN
    ) as client:
        events = [
            event
            async for event in client.images.sweep(
                "acme", ["a fox", "a hat"], seeds=[1, 2], weights=[0.5, 1], stack=["hero@prod:0.8"], steps=2
            )
        ]
        cells = [event for event in events if isinstance(event, brandloom.SweepCell)]
        assert len(cells) == 8
        assert isinstance(events[-1], brandloom.SweepSheet)
        assert pixels(events[-1].png).ndim == 3
        file = await client.stacks.export("acme", ["hero:0.8", "neon:0.3:0.5"], tmp_path)
        assert file.name == "hero+neon.safetensors"
        stack = ["hero:0.8:steps=0-50%", "neon:box=0,0,50%,1"]
        pin = await client.stacks.pin("acme", ["hero:0.8"], time_to_live=timedelta(minutes=5))
        assert pin.expire_time is not None
        now = await client.images.capacity()
        assert [kept.parent for kept in now.pins] == ["brands/acme"]
        gone = await client.stacks.pin("acme", ["hero:0.8"], time_to_live=timedelta(0))
        assert gone.expire_time is None
        # The queue takes two requests: most of these are told when to come back, and do.
        prompts = [f"a fox number {number}" for number in range(24)]
        made = [
            result
            async for result in client.images.batch(
                "acme", prompts, tmp_path / "batch", in_flight=12, stack=stack, steps=2, seed=5
            )
        ]
        assert [result.error for result in made] == [None] * 24
        assert {used.version for result in made for used in result.stack} == {
            "brands/acme/loras/hero/versions/1",
            "brands/acme/loras/neon/versions/1",
        }
        again = [
            result
            async for result in client.images.batch(
                "acme", [*prompts, "one more"], tmp_path / "batch", stack=stack, steps=2, seed=5
            )
        ]
        assert [result.made_before for result in again] == [True] * 24 + [False]
