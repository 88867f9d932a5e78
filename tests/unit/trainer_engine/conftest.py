"""A tiny base and pictures to train on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lorakit.families.causal_lm import LanguageModel, load_language_model
from lorakit.families.sd15 import BaseModel, load_base
from services.trainer.engine import DiffusionFamily, LanguageFamily, MemoryBook, Pack
from tests.fixtures.tiny_lm import save_tiny_lm
from tests.fixtures.tiny_sd import save_tiny_pipeline
from tests.fixtures.training import RESOLUTION


@pytest.fixture(scope="session")
def base_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pipeline(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="session")
def base(base_directory: Path) -> BaseModel:
    return load_base(base_directory)


@pytest.fixture
def new_pack(base: BaseModel) -> Iterator[Callable[..., Pack]]:
    """Makes packs on the shared base, one after another."""
    packs: list[Pack] = []

    def make(precision: str = "float32", memory: MemoryBook | None = None) -> Pack:
        if packs:
            packs.pop().close()
        family = DiffusionFamily(base, resolution=RESOLUTION)
        packs.append(Pack(family, precision=precision, memory=memory))
        return packs[-1]

    yield make
    for pack in packs:
        pack.close()


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load_language_model(save_tiny_lm(tmp_path_factory.mktemp("lm")))


@pytest.fixture
def new_text_pack() -> Iterator[Callable[..., Pack]]:
    """Makes packs on language models, one after another."""
    packs: list[Pack] = []

    def make(base: LanguageModel, precision: str = "float32") -> Pack:
        if packs:
            packs.pop().close()
        packs.append(Pack(LanguageFamily(base), precision=precision))
        return packs[-1]

    yield make
    for pack in packs:
        pack.close()
