"""`make bench-serve`: our engine beside what stock libraries do with stacks (R1 to R3 and R6 to R10)."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from benchmarks.bases import MEDIUM, SD15, SDXL, TINY
from benchmarks.hardware import describe
from benchmarks.report import Result, show, write
from benchmarks.serve import (
    attaching,
    joining,
    lora_tax,
    mixed_batch,
    mixed_stacks,
    remote,
    utilisation,
    working_set,
)
from benchmarks.serve.bench import Bench, Setting
from lorakit.allocator import keep_freed_memory

PARTS: Mapping[str, Callable[[Bench], Iterator[Result]]] = {
    "R1": mixed_stacks.results,
    "R2": mixed_batch.results,
    "R3": lora_tax.results,
    "R6": attaching.results,
    "R7": working_set.results,
    "R8": joining.results,
    "R9": utilisation.results,
    "R10": remote.results,
}
_CPU_SETTINGS = (
    Setting(size=TINY, rows=8, steps=8),
    Setting(size=MEDIUM, rows=8, steps=3),
)
_CPU_JOINING = Setting(size=TINY, rows=4, steps=8)
_GPU_JOINING = Setting(size=SD15, rows=8, steps=10)
_GPU_SETTINGS = tuple(
    Setting(size=size, rows=rows, steps=steps, compiled=compiled)
    for size, rows, steps in ((SD15, 2, 10), (SD15, 8, 10), (SDXL, 2, 6), (SDXL, 4, 6))
    for compiled in (False, True)
)


def main() -> None:
    """Runs the parts asked for, prints the table, writes the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=10.0, help="to spend on each timed pair")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas: R1,R6 (default: all)")
    options = parser.parse_args()
    only = [part.strip().upper() for part in options.only.split(",")]
    if unknown := sorted(set(only) - set(PARTS)):
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    gpu = options.device == "cuda"
    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    if not gpu:
        keep_freed_memory()  # as the engine does; the peers run in the same process, and gain as much
    with TemporaryDirectory() as home:
        bench = Bench(
            home=Path(home),
            device=options.device,
            precision="bfloat16" if gpu else "float32",
            hardware=describe(options.device),
            seconds=options.seconds,
            least_runs=7 if gpu else 4,
            settings=_GPU_SETTINGS if gpu else _CPU_SETTINGS,
            joining=_GPU_JOINING if gpu else _CPU_JOINING,
            attached=(SD15, SDXL) if gpu else (TINY, SD15),
            arrivals=120,
        )
        results = list(_results(bench, only))
    name = f"serve-{'gpu' if gpu else 'cpu'}"
    if set(only) == set(PARTS):
        print(f"written to {write(results, name)}")
    else:
        show(results, name)  # the record is of whole runs


def _results(bench: Bench, only: Sequence[str]) -> Iterator[Result]:
    for part in only:
        for result in PARTS[part](bench):
            print(f"{result.ratio} {result.case}: {result.value:.2f} ({result.peer})", flush=True)
            yield result


if __name__ == "__main__":
    main()
