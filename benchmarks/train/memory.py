"""R5: the memory of one pack against that of a process for each job.

Each process prints a line when it has trained a few steps, and goes on until its input ends, so that all are
measured while all train. On a CPU the proportional set size counts shared pages once in all, and the largest
of many looks counts: between two passes an allocator may have given memory back. On a GPU it is what each
process reserved.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from benchmarks.bases import SIZES, Size
from benchmarks.train.load import Load
from lorakit.allocator import keep_freed_memory
from lorakit.families.sd15 import load_base

_STEPS = 3
_LOOKS = 200
_LOOK_SECONDS = 0.05


def measure(size: Size, directory: Path, load: Load, device: str, precision: str) -> tuple[float, float]:
    """MiB of one pack, and of as many PEFT processes as it has jobs."""
    alone = Load(jobs=1, batch=load.batch, rank=load.rank)
    ours = _mib_of([("ours", load)], size, directory, device, precision)
    theirs = _mib_of([("peft", alone)] * load.jobs, size, directory, device, precision)
    return ours, theirs


def _mib_of(
    sides: Sequence[tuple[str, Load]], size: Size, directory: Path, device: str, precision: str
) -> float:
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(
                    [
                        *(sys.executable, "-m", "benchmarks.train.memory", side, size.name, str(directory)),
                        *(str(load.jobs), str(load.batch), str(load.rank), device, precision),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            for side, load in sides
        ]
        ready = [json.loads(process.stdout.readline()) for process in started if process.stdout]
        if device == "cuda":
            found = [int(answer["reserved"]) for answer in ready]
        else:
            found = [_most_proportional_bytes([process.pid for process in started])]
        for process in started:
            process.communicate()
    return float(sum(found)) / (1 << 20)


def _most_proportional_bytes(pids: Sequence[int]) -> int:
    """Of all processes together."""
    most = 0
    for _ in range(_LOOKS):
        most = max(most, sum(_proportional_bytes(pid) for pid in pids))
        time.sleep(_LOOK_SECONDS)
    return most


def _proportional_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    raise RuntimeError(f"the kernel tells no proportional set size of {pid}")


def _child(side: str, name: str, directory: str, jobs: str, batch: str, rank: str, *where: str) -> None:
    device, precision = where
    size, load = SIZES[name], Load(jobs=int(jobs), batch=int(batch), rank=int(rank))
    base = load_base(Path(directory))
    # Imported here: no side has to carry the other's libraries.
    if side == "ours":
        from benchmarks.train.work import our_pack, our_round

        if device == "cpu":
            keep_freed_memory()
        step = our_round(our_pack(base, load, size.resolution, device, precision))
    else:
        from benchmarks.train.peft_jobs import PeftJobs

        step = PeftJobs(base, load, size.latent_side, device, precision).round
    for _ in range(_STEPS):
        step()
    reserved = torch.cuda.max_memory_reserved() if device == "cuda" else 0
    print(json.dumps({"reserved": reserved}), flush=True)
    told_to_end = threading.Event()
    threading.Thread(target=_wait_for_end, args=(told_to_end,), daemon=True).start()
    while not told_to_end.is_set():
        step()


def _wait_for_end(told_to_end: threading.Event) -> None:
    sys.stdin.read()
    told_to_end.set()


if __name__ == "__main__":
    _child(*sys.argv[1:])
