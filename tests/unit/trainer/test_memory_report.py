"""What a worker tells of its device holds for jobs that are smaller than the one it was measured with."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorakit.families.sd15 import load_base
from services.trainer.engine import DiffusionFamily, MemoryBook, Pack
from services.trainer.memory_figures import BaseMemory
from services.trainer.spec import Precision, Target
from services.trainer.worker.memory_report import MemoryReporter
from tests.fixtures import trainer_jobs
from tests.fixtures.tiny_sd import save_tiny_pipeline
from tests.fixtures.training import RESOLUTION, images, spec


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pipeline(tmp_path_factory.mktemp("base") / "tiny")


def measured(folder: Path, rank: int) -> BaseMemory:
    family = DiffusionFamily(load_base(folder), resolution=RESOLUTION)
    book = MemoryBook(1 << 40)
    with Pack(family, precision="float32", memory=book) as pack:
        reporter = MemoryReporter(family, "cpu", book, asked=Precision.AUTO, precision="float32")
        pack.add("one", spec(rank=rank), images(seed=1))
        pack.step()
        news = reporter.news()
    assert news is not None
    return news


def test_a_large_job_does_not_make_a_small_one_look_large(folder: Path) -> None:
    every = frozenset(Target)
    asked = trainer_jobs.spec(resolution=RESOLUTION, rank=1, targets=every)
    small, large = measured(folder, 1), measured(folder, 256)
    assert small.row_bytes(asked) > 0
    assert large.row_bytes(asked) <= small.row_bytes(asked)
    assert large.row_bytes(
        trainer_jobs.spec(resolution=RESOLUTION, rank=256, targets=every)
    ) > small.row_bytes(asked)
