"""R10: what the service costs: the same requests through gRPC, the registry and the engine's own process.

The peer is the engine in this process. Both sides have as many threads, and one side rests while the other
works.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import torch

import brandloom
from benchmarks.report import Result
from benchmarks.serve.bench import Bench, Setting
from benchmarks.serve.loras import LoraOnDisk
from benchmarks.serve.requests import GUIDANCE, NEGATIVE, StackRequest, mixed
from benchmarks.serve.sides import our_engine
from brandloom import ModelFamily, Sampler, StackEntry

_GOAL = 0.97
_BRAND = "bench"
_REQUESTS = 4
"""Times as many as there are rows, so that rows that end are followed by others."""


def results(bench: Bench) -> Iterator[Result]:
    """One for each size, the first of its settings."""
    for setting in {setting.size.name: setting for setting in reversed(bench.settings)}.values():
        pool = bench.pool(setting.size, setting.rows, setting.rank)
        requests = mixed(setting, pool) * _REQUESTS
        with (
            _threads() as threads,
            closing(our_engine(bench, setting)) as engine,
            _service(bench, setting, threads) as addresses,
            asyncio.Runner() as runner,
        ):
            home = addresses.pop("home")
            client = brandloom.connect_async(home=home, **addresses)  # type: ignore[arg-type]
            runner.run(_fill(client, bench, setting, pool))
            times = bench.compare(
                lambda runner=runner, client=client, requests=requests: runner.run(  # type: ignore[misc]
                    _generate(client, requests)
                ),
                partial(engine.pictures, requests),
            )
            runner.run(client.close())
        yield bench.result(
            "R10",
            f"{setting.title(bench.precision)}, {len(requests)} requests at once",
            times.speedup,
            _GOAL,
            ours=len(requests) / times.ours,
            theirs=len(requests) / times.theirs,
            peer="our engine in process",
            unit="pictures/s",
            runs=times.runs,
        )


async def _generate(client: brandloom.AsyncClient, requests: Sequence[StackRequest]) -> None:
    await asyncio.gather(*(_picture(client, request) for request in requests))


async def _picture(client: brandloom.AsyncClient, request: StackRequest) -> None:
    await client.images.generate(
        _BRAND,
        request.prompt,
        stack=[StackEntry(lora.name, weight) for lora, weight in request.stack],
        seed=request.seed,
        negative_prompt=NEGATIVE,
        steps=request.steps,
        guidance_scale=GUIDANCE,
        sampler=Sampler.EULER,
    )


async def _fill(
    client: brandloom.AsyncClient, bench: Bench, setting: Setting, pool: Sequence[LoraOnDisk]
) -> None:
    await client.brands.create(_BRAND)
    base = bench.base(setting.size)
    family = ModelFamily.SDXL if setting.size.is_sdxl else ModelFamily.SD15
    await client.base_models.create(
        "base",
        family=family,
        source=str(base),
        sha256=brandloom.base_model_digest(base),
        resolution=setting.size.resolution,
    )
    for lora in pool:
        await client.versions.upload(f"brands/{_BRAND}/loras/{lora.name}", lora.kohya, base_model="base")


@contextmanager
def _threads() -> Iterator[int]:
    """As many for either engine as the service takes by itself: it leaves a core to those that ask it."""
    before = torch.get_num_threads()
    threads = max(1, before - 1)
    torch.set_num_threads(threads)
    yield threads
    torch.set_num_threads(before)


@contextmanager
def _service(bench: Bench, setting: Setting, threads: int) -> Iterator[dict[str, str]]:
    """The registry and the inference service in a process of their own; where they are."""
    home = bench.home / f"service-{setting.size.name}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BRANDLOOM_")}
    environment |= _settings(home, bench.base(setting.size), bench, setting)
    environment["BRANDLOOM_INFERENCE_THREADS"] = str(threads)
    command = [sys.executable, "-m", "benchmarks.serve.services"]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield {**json.loads(process.stdout.readline()), "home": str(home)}
        finally:
            process.communicate()  # it ends when its input does


def _settings(home: Path, base: Path, bench: Bench, setting: Setting) -> dict[str, str]:
    return {
        "BRANDLOOM_HOME": str(home),
        "BRANDLOOM_LOG_LEVEL": "WARNING",
        "BRANDLOOM_REGISTRY_LISTEN": "127.0.0.1:0",
        "BRANDLOOM_INFERENCE_LISTEN": "127.0.0.1:0",
        "BRANDLOOM_INFERENCE_METRICS_LISTEN": "",
        "BRANDLOOM_REGISTRY_METRICS_LISTEN": "",
        "BRANDLOOM_INFERENCE_BASE_MODEL": str(base),
        "BRANDLOOM_INFERENCE_DEVICE": bench.device,
        "BRANDLOOM_INFERENCE_DTYPE": bench.precision,
        "BRANDLOOM_INFERENCE_MAX_ROWS": str(setting.rows),
    }
