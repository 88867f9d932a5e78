"""Many texts at once, of many stacks, with cancels and deadlines, while an alias moves: all end, nothing is
left, and none is written by anything but its own stack.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from brandloom.api.inference.v1 import inference_pb2
from brandloom.api.registry.v1 import registry_pb2, resources_pb2
from tests.fixtures.tiny_language_loras import write_language_lora
from tests.grpc.inference.flood import OTHERWISE, Patience, ending, engine_bytes, left_over, service_bytes
from tests.grpc.inference.text_harness import TextAnswer, Texts, running_texts
from tests.waiting import until

LORAS = 12

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


async def test_all_texts_end_and_nothing_is_left(tmp_path: Path) -> None:
    requests = 1000
    async with running_texts(
        tmp_path, BRANDLOOM_INFERENCE_MAX_QUEUED=str(requests), BRANDLOOM_INFERENCE_BRAND_SHARE="1"
    ) as texts:
        await fill(texts, tmp_path)
        await texts.generate()
        before, service_before = engine_bytes(texts.app), service_bytes()
        rng = random.Random(4)
        answers: dict[tuple[Any, ...], set[str]] = {}
        moving = asyncio.create_task(keep_moving(texts))
        ends = Counter(await asyncio.gather(*(one(texts, rng, answers) for _ in range(requests))))
        moving.cancel()
        await asyncio.wait({moving})
        grown, service_grown = engine_bytes(texts.app) - before, service_bytes() - service_before
        await until(lambda: texts.app.engine.state().texts.active_rows == 0 and not left_over(texts.app))
        capacity = await texts.stub.GetCapacity(inference_pb2.GetCapacityRequest())
        caches = {cache.level: cache for cache in capacity.caches}
    assert sum(ends.values()) == requests
    assert set(ends) <= {"done", *(code.name for code in OTHERWISE)}
    assert ends["done"] > requests // 2
    assert ends["CANCELLED"] > 0
    # The same versions and weights, whoever kept them company: the same text.
    assert len(answers) > 50
    assert {len(told) for told in answers.values()} == {1}
    assert (capacity.active_text_rows, capacity.queued_requests) == (0, 0)
    assert caches["text_keys_values"].used_bytes == 0
    assert texts.app.engine.starts == 1
    assert service_grown < 96 << 20
    assert grown < 128 << 20


async def one(texts: Texts, rng: random.Random, answers: dict[tuple[Any, ...], set[str]]) -> str:
    """One request's end: done, or the status that it ended with."""
    names = rng.sample([f"lora-{index}" for index in range(LORAS)] + ["moving@prod"], rng.randrange(3))
    stack = [(name, rng.choice([-0.5, 0.5, 1.0])) for name in names]
    fields = {
        "stack": [inference_pb2.StackEntry(reference=name, weight=weight) for name, weight in stack],
        "max_tokens": 12,
        "priority": rng.randrange(-3, 4),
    }
    patience = Patience.drawn(rng)
    await asyncio.sleep(rng.uniform(0, 2))
    call = texts.stub.GenerateText(texts.request(**fields), timeout=patience.timeout)
    patience.watch(call)

    async def read() -> str:
        answer = TextAnswer([message async for message in call])
        used = tuple(sorted((lora.version, lora.weight) for lora in answer.queued.stack))
        answers.setdefault(used, set()).add(answer.text)
        return "done" if answer.messages[-1].HasField("finished") else "no end"

    return await ending(read())


async def keep_moving(texts: Texts) -> None:
    """Moves an alias between two versions until cancelled."""
    started = time.monotonic()
    while time.monotonic() - started < 600:
        for version in (2, 1):
            await texts.registry.stub.SetAlias(
                registry_pb2.SetAliasRequest(lora="brands/acme/loras/moving", alias="prod", version=version)
            )
            await asyncio.sleep(0.3)


async def fill(texts: Texts, folder: Path) -> None:
    """More LoRAs, and one with two versions and an alias."""
    version = resources_pb2.LoraVersion(base_model="baseModels/words")
    names = [f"lora-{index}" for index in range(LORAS)] + ["moving", "moving"]
    for seed, name in enumerate(names, start=10):
        file = write_language_lora(texts.base, folder / f"{name}-{seed}", seed=seed)
        await texts.registry.upload(file.read_bytes(), f"brands/acme/loras/{name}", version=version)
    await texts.registry.stub.SetAlias(
        registry_pb2.SetAliasRequest(lora="brands/acme/loras/moving", alias="prod", version=1)
    )
