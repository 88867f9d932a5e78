"""Listing, filtering, searching and resolving stay fast however much the registry holds."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from brandloom.api.registry.v1 import registry_pb2 as pb
from servicekit.database import migrate
from services.registry.__main__ import MIGRATIONS
from tests.grpc.registry.harness import Registry, running_registry
from tests.integration.registry.population import populate

GIANT = "brands/brand-0/loras/giant"
RUNS = 15

Call = Callable[[], Awaitable[Any]]


def calls(stub: Any, loras: int, giant: int) -> dict[str, tuple[Call, Callable[[Any], bool]]]:
    """What is measured: a call, and whether its answer is right."""
    references = [f"brand-{index % 20}/lora-{index}@prod" for index in range(1, 9)]
    sha256 = f'sha256 = "{"0" * 64}"'

    def versions(**request: Any) -> Call:
        return lambda: stub.ListLoraVersions(pb.ListLoraVersionsRequest(parent=GIANT, **request))

    def listed(**request: Any) -> Call:
        return lambda: stub.ListLoras(pb.ListLorasRequest(parent="brands/brand-1", **request))

    def found(**request: Any) -> Call:
        return lambda: stub.SearchLoras(pb.SearchLorasRequest(**request))

    return {
        "list versions": (versions(), lambda answer: answer.versions[0].version == giant),
        "versions by rare tag": (versions(filter="tags:t7"), lambda answer: len(answer.versions) > 0),
        "versions by rank": (versions(filter="rank = 8"), lambda answer: len(answer.versions) > 0),
        "versions by time": (
            versions(order_by="create_time"),
            lambda answer: answer.versions[0].version == 1,
        ),
        "versions by digest": (versions(filter=sha256), lambda answer: not answer.versions),
        "list loras": (listed(), lambda answer: len(answer.loras) > 0),
        "loras by tag": (listed(filter="tags:tag21"), lambda answer: len(answer.loras) > 0),
        "loras by alias": (listed(filter="aliases:prod"), lambda answer: len(answer.loras) > 0),
        "newest loras": (listed(order_by="update_time desc"), lambda answer: len(answer.loras) > 0),
        "search a rare word": (found(query=f"word{loras // 2}"), lambda answer: len(answer.loras) > 0),
        "search a common word": (found(query="lora"), lambda answer: len(answer.loras) == 50),
        "resolve 8 references": (
            lambda: stub.ResolveStack(pb.ResolveStackRequest(parent="brands/brand-1", references=references)),
            lambda answer: len(answer.loras) == 8,
        ),
        "get by alias": (
            lambda: stub.GetLoraVersion(pb.GetLoraVersionRequest(name=f"{GIANT}/versions/prod")),
            lambda answer: answer.version == giant // 2 + 1,
        ),
        "lineage": (
            lambda: stub.GetLineage(pb.GetLineageRequest(name=f"{GIANT}/versions/9")),
            lambda answer: len(answer.nodes) > 17,
        ),
    }


async def measure(registry: Registry, versions: int) -> dict[str, float]:
    """Median milliseconds of this process's time for each call, client and server; prints wall time too."""
    medians = {}
    print(f"\n{versions} versions{'':24} median      worst        cpu")  # noqa: T201
    for name, (call, is_right) in calls(registry.stub, versions * 9 // 200, versions // 10).items():
        answer = await call()
        assert is_right(answer), (name, answer)
        walls, processor = [], []
        for _ in range(RUNS):
            wall, cpu = time.perf_counter(), time.process_time()
            await call()
            walls.append(1000 * (time.perf_counter() - wall))
            processor.append(1000 * (time.process_time() - cpu))
        medians[name] = statistics.median(processor)
        print(f"{name:36} {statistics.median(walls):7.1f} ms {max(walls):7.1f} ms {medians[name]:7.1f} ms")  # noqa: T201
    return medians


async def check(home: Path, url: str, versions: int, limit_milliseconds: float) -> None:
    await asyncio.to_thread(migrate, url, MIGRATIONS)
    await asyncio.to_thread(populate, url, versions=versions)
    async with running_registry(home, url) as registry:
        medians = await measure(registry, versions)
    slow = {name: milliseconds for name, milliseconds in medians.items() if milliseconds > limit_milliseconds}
    assert slow == {}


async def test_a_few_thousand_versions(tmp_path: Path) -> None:
    await check(tmp_path, f"sqlite+aiosqlite:///{tmp_path}/registry.db", 4_000, 60.0)


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_a_hundred_thousand_versions(tmp_path: Path, database_url: str) -> None:
    await check(tmp_path, database_url, 100_000, 60.0)
