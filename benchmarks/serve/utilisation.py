"""R9: how much of the device the batch uses: its floating-point operations a second beside those of a matrix
product measured in the same run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.report import Result
from benchmarks.serve.bench import Bench
from benchmarks.serve.ours import OurEngine
from benchmarks.serve.requests import StackRequest, mixed
from benchmarks.serve.sides import our_engine

_SIDES = {"cpu": 2048, "cuda": 8192}
_PRODUCTS = 4


def results(bench: Bench) -> Iterator[Result]:
    """One for each setting; there is no goal."""
    side = _SIDES[bench.device]
    left, right = (
        torch.randn(side, side, device=bench.device, dtype=getattr(torch, bench.precision)) for _ in range(2)
    )
    for setting in bench.settings:
        requests = mixed(setting, bench.pool(setting.size, setting.rows, setting.rank))
        # Counted in eager mode, for a compiled graph hides its operations.
        with closing(our_engine(bench, replace(setting, compiled=False))) as eager:
            operations = _operations(eager, requests)
        with closing(our_engine(bench, setting)) as engine:
            times = bench.compare(partial(engine.pictures, requests), partial(_multiply, left, right))
        ours = operations / times.ours
        theirs = _PRODUCTS * 2 * side**3 / times.theirs
        yield bench.result(
            "R9",
            setting.title(bench.precision),
            ours / theirs,
            None,
            ours=ours / 1e12,
            theirs=theirs / 1e12,
            peer=f"a product of {side} x {side} matrices",
            unit="TFLOP/s",
            runs=times.runs,
        )


def _operations(engine: OurEngine, requests: list[StackRequest]) -> int:
    """Of the whole batch, as torch counts them: products, convolutions and attention."""
    with FlopCounterMode(display=False) as counter:
        engine.pictures(requests)
    return int(counter.get_total_flops())


def _multiply(left: torch.Tensor, right: torch.Tensor) -> None:
    for _ in range(_PRODUCTS):
        torch.mm(left, right)
