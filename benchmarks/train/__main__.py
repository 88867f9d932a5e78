"""`make bench-train`: packed training against PEFT's adapters in turn (R4), and against processes (R5)."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.bases import MEDIUM, SD15, TINY, Size, save_base
from benchmarks.hardware import describe
from benchmarks.report import Result, write
from benchmarks.timing import compare
from benchmarks.train.load import Load
from benchmarks.train.memory import measure
from benchmarks.train.peft_jobs import PeftJobs
from benchmarks.train.work import our_pack, our_round
from lorakit.allocator import keep_freed_memory
from lorakit.families.sd15 import load_base
from services.trainer.engine import choose_precision

# Size, load, goal of R4: many small jobs, one job alone, a device that is full.
_CPU_CASES: Sequence[tuple[Size, Load, float]] = (
    (TINY, Load(jobs=8, batch=1), 2.0),
    (MEDIUM, Load(jobs=8, batch=1), 1.1),
    (TINY, Load(jobs=1, batch=1), 1.0),
    (MEDIUM, Load(jobs=1, batch=4), 1.0),
    (MEDIUM, Load(jobs=4, batch=8), 0.97),
)
_GPU_CASES: Sequence[tuple[Size, Load, float]] = (
    (TINY, Load(jobs=8, batch=1), 2.0),
    (SD15, Load(jobs=8, batch=1), 1.5),
    (SD15, Load(jobs=1, batch=1), 1.0),
    (SD15, Load(jobs=4, batch=16), 0.97),
)
_MEMORY_LOAD = Load(jobs=4, batch=1)
_MEMORY_SHARE = 0.6
_PEER_TURNS = "PEFT, one base, jobs in turn"
_PEER_PROCESSES = "PEFT, a process for each job"


def main() -> None:
    """Runs all cases, prints the table, writes the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=40.0, help="to spend on each timed case")
    options = parser.parse_args()
    if options.device == "cpu":
        keep_freed_memory()  # as workers do; the peer's rounds are made in the same process, and gain as much
    name = f"train-{'gpu' if options.device == 'cuda' else 'cpu'}"
    with TemporaryDirectory() as home:
        results = list(_results(Path(home), options.device, options.seconds))
    print(f"written to {write(results, name)}")


def _results(home: Path, device: str, seconds: float) -> Iterator[Result]:
    hardware, precision = describe(device), choose_precision(device)
    cases = _GPU_CASES if device == "cuda" else _CPU_CASES
    for size in {size.name: size for size, _, _ in cases}.values():
        save_base(size, home / size.name)
    for size, load, goal in cases:
        yield _throughput(size, home / size.name, load, goal, device, precision, seconds, hardware)
    for size in (TINY, SD15 if device == "cuda" else MEDIUM):
        yield _memory(size, home / size.name, device, precision, hardware)


def _throughput(
    size: Size,
    directory: Path,
    load: Load,
    goal: float,
    device: str,
    precision: str,
    seconds: float,
    hardware: str,
) -> Result:
    pack = our_pack(load_base(directory), load, size.resolution, device, precision)
    peer = PeftJobs(load_base(directory), load, size.latent_side, device, precision)
    times = compare(our_round(pack), peer.round, device=device, seconds=seconds)
    rows = load.jobs * load.batch
    return Result(
        ratio="R4",
        case=f"{size.name} {size.resolution} px, {load.title}, {precision}",
        value=round(times.speedup, 3),
        goal=goal,
        ours=round(rows / times.ours, 3),
        theirs=round(rows / times.theirs, 3),
        peer=_PEER_TURNS,
        unit="pictures/s",
        runs=times.runs,
        hardware=hardware,
    )


def _memory(size: Size, directory: Path, device: str, precision: str, hardware: str) -> Result:
    ours, theirs = measure(size, directory, _MEMORY_LOAD, device, precision)
    return Result(
        ratio="R5",
        case=f"{size.name} {size.resolution} px, {_MEMORY_LOAD.title}, {precision}",
        value=round(ours / theirs, 3),
        goal=round(1 / (_MEMORY_SHARE * _MEMORY_LOAD.jobs), 3),
        at_most=True,
        ours=round(ours, 1),
        theirs=round(theirs, 1),
        peer=_PEER_PROCESSES,
        unit="MiB",
        runs=1,
        hardware=hardware,
    )


if __name__ == "__main__":
    main()
