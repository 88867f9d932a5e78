"""R8: how long a request takes from its arrival to its picture when others come and go.

The peer is our own engine with static batches: what has come is taken together, and the next batch begins
when all of it has ended. The same requests come at the same moments on both sides, at 0.8 of what the engine
makes when it is never without work.

What can be won depends on the device. Where a step costs as much for one row as for eight, a batch that waits
for its longest request wastes the others' places; where a step costs as much more as it has rows, as on a
CPU, nothing is wasted, and only the waiting for the batch's end is left. Where all requests take as many
steps, little is left of that too.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import closing

from benchmarks.report import Result
from benchmarks.serve.bench import Bench
from benchmarks.serve.ours import OurEngine
from benchmarks.serve.requests import StackRequest, request_for
from benchmarks.serve.sides import our_engine

_LOAD = 0.8
_GOAL = 2.0
_LONGEST_NAP_SECONDS = 0.005
_CAPACITY_BATCHES = 8
_ROUNDS = 3
"""Each with arrivals of its own: one run's 95th percentile is six requests."""


def results(bench: Bench) -> Iterator[Result]:
    """Requests of as many steps each, and of half to one and a half times as many."""
    setting = bench.joining
    with closing(our_engine(bench, setting)) as engine:
        for least, most in (
            (setting.steps, setting.steps),
            (setting.steps // 2, setting.steps * 3 // 2),
        ):
            yield _result(bench, engine, least, most)


def _result(bench: Bench, engine: OurEngine, least: int, most: int) -> Result:
    setting = bench.joining
    requests = _requests(bench, least, most)
    rate = _LOAD * _capacity(engine, requests[: _CAPACITY_BATCHES * setting.rows])
    taken: dict[bool, list[float]] = {False: [], True: []}
    for seed in range(_ROUNDS):
        moments = _poisson(rate, len(requests), seed)
        for static in (False, True) if seed % 2 == 0 else (True, False):
            taken[static].append(_p95(_serve(engine, requests, moments, setting.rows, static=static)))
    ours, theirs = statistics.median(taken[False]), statistics.median(taken[True])
    steps = f"{least} steps each" if least == most else f"{least} to {most} steps"
    return bench.result(
        "R8",
        f"{setting.size.name} {setting.size.resolution} px, rounds of {len(requests)} requests at "
        f"{rate:.2f} a second, {setting.rows} rows, {steps}, {bench.precision}",
        theirs / ours,
        _GOAL,
        ours=ours,
        theirs=theirs,
        peer="our engine, static batches, 95th percentile",
        unit="s",
        runs=_ROUNDS,
    )


def _requests(bench: Bench, least: int, most: int) -> list[StackRequest]:
    setting = bench.joining
    pool = bench.pool(setting.size, setting.rows, setting.rank)
    chance = random.Random(8)  # noqa: S311 (for a benchmark)
    return [
        request_for(chance.sample(pool, setting.stack), index, chance.randint(least, most))
        for index in range(bench.arrivals)
    ]


def _capacity(engine: OurEngine, requests: Sequence[StackRequest]) -> float:
    """Requests a second of an engine that has them all at once; it is warm afterwards."""
    engine.pictures(requests)
    started = time.perf_counter()
    engine.pictures(requests)
    return len(requests) / (time.perf_counter() - started)


def _poisson(rate: float, count: int, seed: int) -> list[float]:
    """Seconds from the start."""
    chance = random.Random(seed)  # noqa: S311 (for a benchmark)
    moments, now = [], 0.0
    for _ in range(count):
        now += chance.expovariate(rate)
        moments.append(now)
    return moments


def _serve(
    engine: OurEngine, requests: Sequence[StackRequest], moments: Sequence[float], rows: int, *, static: bool
) -> list[float]:
    """Seconds from arrival to picture, of every request."""
    began = time.monotonic()
    arrivals = [began + moment for moment in moments]
    taken: dict[str, int] = {}
    ended: dict[str, float] = {}
    while len(ended) < len(requests):
        arrived = sum(arrival <= time.monotonic() for arrival in arrivals)
        if not static or not engine.busy:
            most = rows if static else len(requests)
            for index in range(len(taken), min(arrived, len(taken) + most)):
                taken[engine.submit(requests[index])] = index
        if engine.busy:
            engine.step()
        elif len(taken) < len(requests):
            time.sleep(min(_LONGEST_NAP_SECONDS, max(0.0, arrivals[len(taken)] - time.monotonic())))
        if not static or not engine.busy:
            found = engine.take_ended()
            ended |= dict.fromkeys(found, max(found.values(), default=0.0)) if static else found
    return [ended[name] - arrivals[index] for name, index in taken.items()]


def _p95(seconds: Sequence[float]) -> float:
    return statistics.quantiles(seconds, n=20, method="inclusive")[-1]
