"""R1: a batch of requests, each with its own stack, beside a diffusers pipeline that makes one after another.

All LoRAs are loaded on both sides before the clock starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

from benchmarks.report import Result
from benchmarks.serve.bench import Bench
from benchmarks.serve.peers import StockPipeline
from benchmarks.serve.requests import StackRequest, mixed
from benchmarks.serve.sides import our_engine, stock

_GOALS = {"tiny": 3.0, "medium": 1.4, "SD 1.5": 2.5, "SDXL": 1.0}


def results(bench: Bench) -> Iterator[Result]:
    """Two for each setting."""
    for setting in bench.settings:
        pool = bench.pool(setting.size, setting.rows, setting.rank)
        requests = mixed(setting, pool)
        peer = stock(bench, setting)
        for lora in pool:
            peer.load(lora)
        with closing(our_engine(bench, setting)) as engine:
            for name, make in _PEERS.items():
                times = bench.compare(
                    partial(engine.pictures, requests), partial(_one_by_one, make, peer, requests)
                )
                yield bench.speedup("R1", setting, _GOALS[setting.size.name], name, times)


def _one_by_one(
    make: Callable[[StockPipeline, StackRequest], None], peer: StockPipeline, requests: list[StackRequest]
) -> None:
    for request in requests:
        make(peer, request)


def _switch(peer: StockPipeline, request: StackRequest) -> None:
    peer.choose(request)
    peer.pictures([request])


def _fuse(peer: StockPipeline, request: StackRequest) -> None:
    peer.choose(request)
    peer.pipe.fuse_lora(components=["unet"])
    peer.pictures([request])
    peer.pipe.unfuse_lora(components=["unet"])


_PEERS = {
    "diffusers, set_adapters, one by one": _switch,
    "diffusers, fuse_lora and unfuse_lora, one by one": _fuse,
}
