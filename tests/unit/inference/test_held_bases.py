"""Which base models the engine holds, and when."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from services.inference.domain_jobs import BaseRef
from services.inference.engine.errors import JobError
from services.inference.engine.held_bases import HeldBases


@dataclass
class Base:
    sha256: str
    source: str
    family: str = "sd15"


class Loader:
    """Bases whose digest is their name; counts those that are still in memory when another is loaded."""

    def __init__(self) -> None:
        self.living: weakref.WeakSet[Base] = weakref.WeakSet()
        self.beside: list[int] = []

    def __call__(self, source: str, path: Path) -> Base:
        self.beside.append(len(self.living))
        if "huge" in source:
            torch.empty(1 << 50)
        base = _Living(path.name, source)
        self.living.add(base)
        return base


class _Living(Base):
    __hash__ = object.__hash__


def ref(name: str) -> BaseRef:
    return BaseRef(name=name, source=f"/bases/{name}", sha256=name)


def held_bases(loader: Loader, most: int) -> HeldBases[Base]:
    return HeldBases(loader, most, torch.device("cpu"))


def test_there_are_never_more_than_there_may_be() -> None:
    loader = Loader()
    bases = held_bases(loader, 2)
    for name in ("a", "b", "a", "c", "b", "a"):
        assert bases.get(ref(name)).sha256 == name
    assert loader.beside == [0, 1, 1, 1, 1]
    assert [base.sha256 for base in bases.held()] == ["b", "a"]


@pytest.mark.parametrize("preload", [False, True])
def test_a_base_that_does_not_fit_in_memory_fails_what_asks_for_it(preload: bool) -> None:
    bases = held_bases(Loader(), 1)
    with pytest.raises(JobError, match="not enough memory for the base model huge") as caught:
        bases.preload("/bases/huge") if preload else bases.get(ref("huge"))
    failure = caught.value.failure
    assert (failure.kind, failure.reason) == ("ResourceExhausted", "BASE_MODEL_TOO_LARGE")
    assert bases.get(ref("small")).sha256 == "small"
