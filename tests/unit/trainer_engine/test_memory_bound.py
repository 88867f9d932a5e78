from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from lorakit.device_memory import is_out_of_memory
from services.trainer.engine import EngineFault, MemoryBook, Pack, SampleSettings
from services.trainer.engine.memory_bound import memory_bound
from tests.fixtures.training import images, spec

CPU = torch.device("cpu")
GIB = 1 << 30
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts what a process maps")


def test_what_goes_beyond_the_budget_fails_and_kills_nobody() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(RuntimeError) as caught, memory_bound(CPU, MemoryBook(limit=1 << 20)):
        torch.zeros(GIB // 4)
    assert is_out_of_memory(caught.value)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    with memory_bound(CPU, MemoryBook(limit=2 * GIB)):
        assert torch.zeros(GIB // 4).sum() == 0.0


@pytest.mark.parametrize("what", ["cache", "sample"])
def test_a_job_that_takes_too_much_is_told_so(
    what: str, new_pack: Callable[..., Pack], monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = new_pack(memory=MemoryBook(limit=1 << 20))
    pack.add("good", spec(), images())

    def greedy(*_: Any, **__: Any) -> Any:
        return torch.zeros(GIB // 4)

    monkeypatch.setattr(pack._family, what, greedy)
    with pytest.raises(EngineFault, match="takes more memory than is free") as caught:
        if what == "cache":
            pack.add("greedy", spec(), images())
        else:
            pack.sample("good", ["a thing"], SampleSettings(seed=1, steps=1, guidance_scale=1.0))
    assert caught.value.reason == "OUT_OF_MEMORY"
    assert pack.job_ids == ("good",)
    assert [report.fault for report in pack.step()] == [None]
