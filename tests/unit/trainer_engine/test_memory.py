"""What the engine knows of memory without making a pass."""

from __future__ import annotations

import os

import pytest
import torch

from lorakit.device_memory import is_out_of_memory
from services.trainer.amounts import in_words
from services.trainer.engine.memory import Kind, MemoryBook, PassMemory, Setting

ON_A, ON_B = (Setting(base, None, False) for base in "ab")


def test_which_kind_of_passes_takes_at_least_as_much() -> None:
    large = Kind(ON_A, ((4, 8, 8), 77), 16)
    assert large.covers(Kind(ON_A, ((4, 10, 6), 77), 16))
    for other in (
        Kind(ON_B, ((4, 8, 8), 77), 16),
        Kind(ON_A, ((4, 9, 8), 77), 16),
        Kind(ON_A, ((4, 8, 8), 77), 17),
    ):
        assert not large.covers(other)
    assert Kind(ON_A, 64, 9).covers(Kind(ON_A, 48, 9))


def test_the_budget_is_what_is_free_unless_it_is_set() -> None:
    cpu = torch.device("cpu")
    assert MemoryBook(limit=123).budget(cpu) == 123
    free = MemoryBook().budget(cpu)
    assert 1 << 20 < free < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert [in_words(count) for count in (12, 1536, 3 << 20, 5 << 30)] == [
        "12 B",
        "1.5 KiB",
        "3.0 MiB",
        "5.0 GiB",
    ]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_says_that_memory_is_short(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_rows_within() -> None:
    memory = PassMemory(fixed=100, per_row=10)
    assert [memory.rows_within(budget) for budget in (0, 99, 110, 129, 150)] == [0, 0, 1, 2, 5]
    assert memory.of(3) == 130
