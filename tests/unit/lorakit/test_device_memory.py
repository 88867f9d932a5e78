"""What a computation on a CPU takes, and that nobody hears of its being measured."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import nn

from lorakit.device_memory import peak_bytes

_SCRIPT = """
import torch
from lorakit.device_memory import peak_bytes, quiet_profiler

quiet_profiler()
print(peak_bytes(torch.device("cpu"), lambda: torch.zeros(1000)))
"""


def test_a_kernels_scratch_counts_too() -> None:
    """A convolution in float64 unfolds its input into a buffer of its own, which no operation gives out."""
    convolution = nn.Conv2d(4, 8, 3, dtype=torch.float64)
    picture = torch.zeros(1, 4, 34, 34, dtype=torch.float64)
    unfolded, result = 8 * (4 * 9 * 32 * 32), 8 * (8 * 32 * 32)
    with torch.inference_mode():
        peak = peak_bytes(torch.device("cpu"), lambda: convolution(picture))
    assert unfolded + result <= peak < 1.1 * (unfolded + result)


def test_what_is_given_back_makes_room() -> None:
    def two_in_turn() -> None:
        for _ in range(2):
            torch.zeros(1 << 18)

    assert 1 << 20 <= peak_bytes(torch.device("cpu"), two_in_turn) < 2 << 20


def test_measuring_says_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True)
    assert (int(done.stdout) >= 4000, done.stderr) == (True, "")
