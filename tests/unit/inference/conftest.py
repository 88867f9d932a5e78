"""A tiny base model, and an engine that holds nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lorakit.families import sd15
from tests.fixtures.batch_harness import Harness
from tests.fixtures.tiny_sd import save_tiny_pipeline


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pipeline(tmp_path_factory.mktemp("batch") / "tiny")


@pytest.fixture(scope="module")
def base(directory: Path) -> sd15.BaseModel:
    return sd15.load_base(directory)


@pytest.fixture
def harness(directory: Path, base: sd15.BaseModel) -> Iterator[Harness]:
    with Harness(directory, base.sha256) as harness:
        yield harness
