"""R7: more LoRAs in use than there is room for.

The peer is a diffusers pipeline that holds half of them: it deletes the adapter used longest ago and loads
the next one from disk. Ours has as many bytes as half the files take, for files and folded stacks together.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial

from benchmarks.report import Result
from benchmarks.serve.bench import Bench, Setting
from benchmarks.serve.loras import LoraOnDisk
from benchmarks.serve.peers import StockPipeline
from benchmarks.serve.requests import StackRequest, request_for
from benchmarks.serve.sides import our_engine, stock
from benchmarks.timing import compare

_SLOTS = 8
_GOAL = 5.0
_ZIPF_EXPONENT = 1.0
_ROUND = 5
"""A round has one of so many of the benchmark's arrivals."""


class LruPeer:
    """A stock pipeline with so many adapters at most."""

    def __init__(self, pipeline: StockPipeline, slots: int) -> None:
        self._pipeline, self._slots = pipeline, slots
        self._loaded: OrderedDict[str, None] = OrderedDict()

    def pictures(self, requests: Sequence[StackRequest]) -> list[bytes]:
        """One after another."""
        made = []
        for request in requests:
            for lora in request.loras:
                self._provide(lora)
            self._pipeline.choose(request)
            made += self._pipeline.pictures([request])
        return made

    def _provide(self, lora: LoraOnDisk) -> None:
        if lora.name not in self._loaded:
            if len(self._loaded) == self._slots:
                self._pipeline.pipe.delete_adapters(self._loaded.popitem(last=False)[0])
            self._pipeline.load(lora)
            self._loaded[lora.name] = None
        self._loaded.move_to_end(lora.name)


def results(bench: Bench) -> Iterator[Result]:
    """Uniform and Zipf arrivals on the cheapest base."""
    setting = bench.smallest
    pool = bench.pool(setting.size, 2 * _SLOTS, setting.rank)
    for name, exponent in (("uniform", 0.0), ("Zipf", _ZIPF_EXPONENT)):
        requests = _arrivals(pool, exponent, bench.arrivals // _ROUND, setting)
        peer = LruPeer(stock(bench, setting), _SLOTS)
        room = _SLOTS * pool[0].size_bytes
        with closing(our_engine(bench, setting, lora_memory_bytes=room)) as engine:
            times = compare(
                partial(engine.pictures, requests),
                partial(peer.pictures, requests),
                device=bench.device,
                seconds=bench.seconds,
                least_runs=min(3, bench.least_runs),
                warm_ups=1,
            )
        yield bench.result(
            "R7",
            f"{setting.title(bench.precision)}, {len(pool)} LoRAs, {_SLOTS} slots, {name} arrivals",
            times.speedup,
            _GOAL,
            ours=len(requests) / times.ours,
            theirs=len(requests) / times.theirs,
            peer="diffusers, LRU of adapters, load and delete",
            unit="pictures/s",
            runs=times.runs,
        )


def _arrivals(
    pool: Sequence[LoraOnDisk], exponent: float, count: int, setting: Setting
) -> list[StackRequest]:
    """Stacks of different LoRAs, the one at place i drawn with a chance of 1 / i ** exponent."""
    chance = random.Random(7)  # noqa: S311 (for a benchmark)
    weights = [1 / place**exponent for place in range(1, len(pool) + 1)]
    requests = []
    for index in range(count):
        drawn: dict[str, LoraOnDisk] = {}
        while len(drawn) < setting.stack:
            lora = chance.choices(pool, weights)[0]
            drawn[lora.name] = lora
        requests.append(request_for(list(drawn.values()), index, setting.steps))
    return requests
