"""R3: what stacks cost: our batch beside the same batch without any LoRA, in the same engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial

from benchmarks.report import Result
from benchmarks.serve.bench import Bench
from benchmarks.serve.requests import mixed
from benchmarks.serve.sides import our_engine

_GOALS = {"cpu": 1.3, "cuda": 1.15}


def results(bench: Bench) -> Iterator[Result]:
    """One for each setting: how many times longer the batch with stacks takes."""
    for setting in bench.settings:
        requests = mixed(setting, bench.pool(setting.size, setting.rows, setting.rank))
        plain = [replace(request, stack=()) for request in requests]
        with closing(our_engine(bench, setting)) as engine:
            times = bench.compare(partial(engine.pictures, requests), partial(engine.pictures, plain))
        yield bench.result(
            "R3",
            setting.title(bench.precision),
            times.ours / times.theirs,
            _GOALS[bench.device],
            at_most=True,
            ours=setting.rows / times.ours,
            theirs=setting.rows / times.theirs,
            peer="our engine, the same batch without LoRAs",
            unit="pictures/s",
            runs=times.runs,
        )
