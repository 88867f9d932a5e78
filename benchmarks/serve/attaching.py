"""R6: from a LoRA file on local disk to weights in use.

Ours reads the file, checks it, folds the stack and writes it into a batch's buffers, for an engine that has
never seen it. The peer is given tensors that were read before its clock starts, in the format that it need
not convert, in a process that has loaded nothing else; or it puts them in the place of an adapter.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file

from benchmarks.bases import Size
from benchmarks.report import Result
from benchmarks.serve.bench import Bench, Setting
from benchmarks.serve.loras import LoraOnDisk
from benchmarks.serve.ours import OurEngine
from benchmarks.serve.requests import request_for
from benchmarks.serve.sides import our_engine

_RANK = 16
_GOAL = 10.0
_PROCESSES = 3
_PEERS = {
    "fresh": "diffusers, load_lora_weights, fresh process, file read before",
    "hotswap": "diffusers, load_lora_weights(hotswap=True), file read before",
}


def results(bench: Bench) -> Iterator[Result]:
    """Two for each of its bases."""
    for size in bench.attached:
        loras = bench.pool(size, 2, _RANK)
        theirs: dict[str, list[float]] = {name: [] for name in _PEERS}
        ours: list[float] = []
        with closing(our_engine(bench, Setting(size=size, rows=1, steps=1, rank=_RANK))) as engine:
            for _ in range(min(_PROCESSES, bench.least_runs)):
                for name, seconds in _measure_peer(bench.base(size), loras, bench).items():
                    theirs[name] += seconds
                ours += _measure_ours(engine, loras, bench.device)
        for name, peer in _PEERS.items():
            yield _result(bench, size, loras[0], ours, theirs[name], peer)


def _result(
    bench: Bench, size: Size, lora: LoraOnDisk, ours: list[float], theirs: list[float], peer: str
) -> Result:
    mine, yours = statistics.median(ours), statistics.median(theirs)
    return bench.result(
        "R6",
        f"{size.name}, one LoRA at rank {_RANK} of {lora.size_bytes / 1e6:.1f} MB in float16, "
        f"read from the page cache in {1000 * _seconds_to_read(lora):.1f} ms, {bench.precision}",
        yours / mine,
        _GOAL,
        ours=1000 * mine,
        theirs=1000 * yours,
        peer=peer,
        unit="ms",
        runs=len(theirs),
    )


def _seconds_to_read(lora: LoraOnDisk) -> float:
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        lora.kohya.read_bytes()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def _measure_ours(engine: OurEngine, loras: list[LoraOnDisk], device: str) -> list[float]:
    """Seconds for each file, in buffers that held another one before."""
    taken = []
    routing = engine.routing()
    for warm in (False, True):
        for index, lora in enumerate(loras):
            engine.forget_loras()
            started = time.perf_counter()
            engine.attach(request_for([lora], index, 1), routing)
            _wait(device)
            if warm:
                taken.append(time.perf_counter() - started)
    return taken


def _measure_peer(base: Path, loras: list[LoraOnDisk], bench: Bench) -> dict[str, list[float]]:
    files = [str(lora.diffusers) for lora in loras]
    command = [sys.executable, "-m", "benchmarks.serve.attaching", str(base), bench.device, bench.precision]
    answer = subprocess.run([*command, *files], stdout=subprocess.PIPE, check=True)
    taken: dict[str, list[float]] = json.loads(answer.stdout.splitlines()[-1])
    return taken


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _peer(base: str, device: str, precision: str, first: str, second: str) -> None:
    """The child process: prints the seconds of one load into a pipeline that has none, and of swaps."""
    made: Any = DiffusionPipeline.from_pretrained(
        base, torch_dtype=getattr(torch, precision), safety_checker=None, local_files_only=True
    )
    pipe = made.to(device)
    files = [load_file(first), load_file(second)]
    _wait(device)
    started = time.perf_counter()
    pipe.load_lora_weights(dict(files[0]), adapter_name="brand")
    _wait(device)
    fresh = time.perf_counter() - started
    swaps = []
    for weights in (files[1], files[0]):
        started = time.perf_counter()
        pipe.load_lora_weights(dict(weights), adapter_name="brand", hotswap=True)
        _wait(device)
        swaps.append(time.perf_counter() - started)
    print(json.dumps({"fresh": [fresh], "hotswap": swaps}))


if __name__ == "__main__":
    _peer(*sys.argv[1:])
