"""Batches of prompts: files are checked, folders go on where they were left, requests are repeated."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import brandloom
from brandloom import BatchLine, BatchResult, Box, StackEntry, errors, read_batch
from brandloom.api.inference.v1 import inference_pb2, inference_pb2_grpc
from servicekit import errors as service_errors
from tests.fakes.api_servers import abort, serving
from tests.waiting import until

ADD = inference_pb2_grpc.add_InferenceServiceServicer_to_server


@dataclass
class FakeInference(inference_pb2_grpc.InferenceServiceServicer):
    """Pictures of words; refuses prompts as `faults` says, keeps a call open while `held` is not set."""

    faults: dict[str, list[service_errors.ServiceError]] = field(default_factory=dict)
    asked: list[Any] = field(default_factory=list)
    busy: int = 0
    most_busy: int = 0
    hold: asyncio.Event | None = None

    async def GenerateImages(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        self.asked.append(request)
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            if self.faults.get(request.prompt):
                await abort(context, self.faults[request.prompt].pop(0))
            yield inference_pb2.GenerateImagesResponse(
                queued={"seed": request.seed, "base_model_sha256": "b"}
            )
            await asyncio.sleep(0.02)
            if self.hold is not None and request.prompt == "held":
                await self.hold.wait()
            for index in range(request.count or 1):
                png = f"{request.prompt} {request.seed + index}".encode()
                image = inference_pb2.GeneratedImage(
                    index=index, png=png, seed=request.seed + index, sha256=hashlib.sha256(png).hexdigest()
                )
                if request.prompt == "withheld":
                    image = inference_pb2.GeneratedImage(index=index, withheld=True)
                yield inference_pb2.GenerateImagesResponse(image=image)
        finally:
            self.busy -= 1


async def run(fake: FakeInference, *arguments: Any, **settings: Any) -> list[BatchResult]:
    async with (
        serving(ADD, fake) as address,
        brandloom.connect_async(inference=address, token="t") as client,
    ):
        return [result async for result in client.images.batch("acme", *arguments, **settings)]


def pictures(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


async def test_a_line_of_text_is_a_prompt(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a red fox\n\n# not this one\n  a blue hat <lora:hero:1>\n")
    fake = FakeInference()
    results = await run(fake, file, tmp_path / "out", seed=7, steps=3, count=2)
    assert sorted((result.line, len(result.images)) for result in results) == [(1, 2), (4, 2)]
    assert {request.prompt for request in fake.asked} == {"a red fox", "a blue hat <lora:hero:1>"}
    names = pictures(tmp_path / "out")
    assert len(names) == 5
    assert names[0].startswith("00001-a-red-fox-")
    assert names[2].startswith("00004-a-blue-hat-")
    first = next(record for record in records(tmp_path / "out") if record["line"] == 1)
    assert (first["prompt"], first["seed"], first["base_model_sha256"]) == ("a red fox", 7, "b")
    content = (tmp_path / "out" / first["images"][1]["file"]).read_bytes()
    assert content == b"a red fox 8"
    assert hashlib.sha256(content).hexdigest() == first["images"][1]["sha256"]


async def test_lines_override_options(tmp_path: Path) -> None:
    mask = b"\x89PNG\r\n\x1a\n"
    (tmp_path / "left.png").write_bytes(mask)
    (tmp_path / "sketch.png").write_bytes(b"sketch")
    file = tmp_path / "prompts.jsonl"
    lines: list[dict[str, Any]] = [
        {"prompt": "one", "steps": 9, "stack": ["hero:0.5", "neon:box=0,0,50%,1"], "sampler": "euler"},
        {"prompt": "two", "initial_image": "sketch.png", "strength": 0.4, "mask": "left.png"},
        {"prompt": "three", "composition": "switch", "switch_every": 2, "priority": -1},
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    fake = FakeInference()
    await run(fake, file, tmp_path / "out", steps=3, seed=7, stack=["dusk"])
    one, two, three = (next(r for r in fake.asked if r.prompt == name) for name in ("one", "two", "three"))
    assert (one.steps, one.seed, one.sampler) == (9, 7, inference_pb2.SAMPLER_EULER)
    assert [entry.reference for entry in one.stack] == ["hero", "neon"]
    assert (two.steps, [entry.reference for entry in two.stack]) == (3, ["dusk"])
    assert (two.initial_image.image, two.initial_image.mask_png) == (b"sketch", mask)
    assert (three.composition, three.switch_every, three.priority) == (2, 2, -1)


def test_a_table(tmp_path: Path) -> None:
    file = tmp_path / "prompts.csv"
    file.write_text('prompt,seed,stack\n"a cat, asleep",7,hero:0.5 neon:box=0,\n')
    with pytest.raises(errors.ConfigurationError, match="line 2: has not 3 columns"):
        read_batch(file)
    file.write_text('﻿prompt,seed,stack\n"a cat, asleep",7,"hero:0.5 neon:box=0,0,0.5,1"\na dog,,\n')
    assert read_batch(file) == (
        BatchLine(
            2,
            "a cat, asleep",
            {"seed": 7, "stack": (StackEntry("hero", 0.5), StackEntry("neon", region=Box(0, 0, 0.5, 1)))},
        ),
        BatchLine(3, "a dog"),
    )


def test_every_bad_line_is_named_before_anything_is_made(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    bad = [
        ("{", "is not JSON"),
        ("[1]", "is no JSON object"),
        ('{"seed": 1}', "has no prompt"),
        ('{"prompt": 1}', "prompt must be a text"),
        ('{"prompt": "a", "sead": 1}', "sead is unknown"),
        ('{"prompt": "a", "seed": -1}', "seed must be from 0 to 4294967295"),
        ('{"prompt": "a", "steps": 2.5}', "steps must be a whole number"),
        ('{"prompt": "a", "steps": true}', "steps must be a whole number"),
        ('{"prompt": "a", "width": 33}', "width must be a multiple of 8"),
        ('{"prompt": "a", "width": 4096}', "what `brandloom capacity` shows as largest"),
        ('{"prompt": "a", "stack": ["neon:99"]}', "the weight 99 is outside -10 to 10"),
        ('{"prompt": "a", "initial_image": "prompts.jsonl", "mask": "prompts.jsonl"}', "is no PNG picture"),
        ('{"prompt": "a", "sampler": "best"}', "sampler must be one of euler"),
        ('{"prompt": "a", "stack": ["hero:x"]}', "'x' is no weight"),
        ('{"prompt": "a", "initial_image": "nowhere.png"}', "nowhere.png cannot be read"),
        ('{"prompt": "a", "strength": 0.5}', "strength is of use with an initial_image alone"),
    ]
    file.write_text('{"prompt": "good"}\n' + "\n".join(line for line, _ in bad))
    with pytest.raises(errors.ConfigurationError) as caught:
        read_batch(file)
    lines = str(caught.value).splitlines()
    assert len(lines) == 1 + len(bad)
    for number, (said, (_, why)) in enumerate(zip(lines[1:], bad, strict=True), start=2):
        assert said.strip().startswith(f"line {number}: "), said
        assert why in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.txt", b"\n# nothing\n", "has no prompts"),
        ("a.txt", b"\xff\xfe", "is not UTF-8"),
        ("a.csv", b"text\nhello\n", "no header with a column `prompt`"),
        ("a.csv", b"prompt,prompt\na,b\n", "'prompt' twice"),
    ],
)
def test_files_that_hold_no_prompts(name: str, content: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(errors.ConfigurationError, match=why):
        read_batch(tmp_path / name)


async def test_a_second_run_makes_only_what_is_missing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    bad = service_errors.FailedPrecondition("no", reason="LORA_BASE_MISMATCH")
    first = FakeInference(faults={"b": [bad]})
    results = await run(first, ["a", "b", "c", "a"], out, seed=1)
    failed = [(result.error.reason, result.seed) for result in results if result.error]
    assert failed == [("LORA_BASE_MISMATCH", 1)]
    assert len(first.asked) == 4
    # As if it had been ended while it wrote, and somebody had taken a picture away.
    with (out / "results.jsonl").open("ab") as file:
        file.write(b'{"line": 5, "prom')
    kept = {record["prompt"]: record["images"] for record in records_until(out, 4)}
    (out / kept["c"][0]["file"]).unlink()
    second = FakeInference()
    results = await run(second, ["a", "b", "c", "a", "d"], out, seed=1)
    assert sorted(request.prompt for request in second.asked) == ["b", "c", "d"]
    assert sorted(result.line for result in results if result.made_before) == [1, 4]
    assert [result for result in results if result.error] == []
    assert len(records(out)) == 5
    third = FakeInference()
    assert all(result.made_before for result in await run(third, ["d", "c", "a", "a", "b"], out, seed=1))
    assert third.asked == []
    await run(third, ["a"], out, seed=2)
    assert len(third.asked) == 1


def records_until(folder: Path, count: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()[:count]]


async def test_arguments_are_checked_before_anything_is_made(tmp_path: Path) -> None:
    fake, out = FakeInference(), tmp_path / "out"
    with pytest.raises(TypeError, match=r"prompts\[1\] must be a BatchLine or a str, not the dict"):
        await run(fake, ["a", {"prompt": "b"}], out)
    with pytest.raises(TypeError, match="did you mean 'steps'"):
        await run(fake, ["a"], out, stepz=4)
    with pytest.raises(errors.ConfigurationError, match="line 2: seeds must be from 0 to 4294967295"):
        await run(fake, ["a", BatchLine(2, "b", {"seed": 2**32 - 1})], out, count=2)
    assert fake.asked == []
    assert not out.exists()


async def test_requests_are_in_flight_together_and_no_more_than_asked(tmp_path: Path) -> None:
    fake = FakeInference()
    results = await run(fake, [f"p{n}" for n in range(20)], tmp_path, in_flight=4)
    assert len(results) == 20
    assert fake.most_busy == 4


async def test_a_full_queue_is_asked_again_when_it_says_so(tmp_path: Path) -> None:
    full = service_errors.ResourceExhausted("full", retry_after_seconds=0.05, reason="QUEUE_FULL")
    away = service_errors.Unavailable("starting", retry_after_seconds=0.05)
    fake = FakeInference(faults={"a": [full, away, full]})
    results = await run(fake, ["a"], tmp_path)
    assert results[0].images
    fake = FakeInference(faults={"b": [service_errors.ResourceExhausted("no more this month")]})
    assert (await run(fake, ["b"], tmp_path))[0].error is not None
    assert len(fake.asked) == 1
    fake = FakeInference(faults={"c": [service_errors.ResourceExhausted("full", retry_after_seconds=5.0)]})
    late = await run(fake, ["c"], tmp_path, patience_seconds=1.0)
    assert late[0].error is not None


async def test_what_would_fail_every_line_ends_the_run(tmp_path: Path) -> None:
    fake = FakeInference(faults={"a": [service_errors.PermissionDenied("not yours")]})
    with pytest.raises(errors.PermissionDenied):
        await run(fake, ["a", "b"], tmp_path, in_flight=1)
    assert len(fake.asked) == 1


async def test_leaving_ends_the_requests_and_keeps_what_is_made(tmp_path: Path) -> None:
    fake = FakeInference(hold=asyncio.Event())
    async with (
        serving(ADD, fake) as address,
        brandloom.connect_async(inference=address, token="t") as client,
    ):
        results = client.images.batch("acme", ["held", "a"], tmp_path, in_flight=2)
        assert (await anext(results)).prompt == "a"
        await results.aclose()  # type: ignore[attr-defined]

        async def idle() -> bool:
            return fake.busy == 0

        await until(idle, seconds=5)
    assert [record["prompt"] for record in records(tmp_path)] == ["a"]
    assert pictures(tmp_path) == ["00002-a-" + records(tmp_path)[0]["key"][:8] + ".png", "results.jsonl"]


async def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    fake = FakeInference(hold=asyncio.Event())
    async with (
        serving(ADD, fake) as address,
        brandloom.connect_async(inference=address, token="t") as client,
    ):
        first = client.images.batch("acme", ["held", "a"], tmp_path)
        await anext(first)
        with pytest.raises(errors.ConfigurationError, match="another batch writes"):
            await anext(client.images.batch("acme", ["b"], tmp_path))
        await first.aclose()  # type: ignore[attr-defined]
        assert [result.prompt async for result in client.images.batch("acme", ["b"], tmp_path)] == ["b"]


async def test_a_withheld_picture_is_noted_and_not_asked_for_again(tmp_path: Path) -> None:
    results = await run(FakeInference(), ["withheld"], tmp_path)
    assert results[0].images[0].withheld
    assert pictures(tmp_path) == ["results.jsonl"]
    again = await run(FakeInference(), ["withheld"], tmp_path)
    assert again[0].made_before
