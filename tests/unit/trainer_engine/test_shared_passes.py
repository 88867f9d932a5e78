"""However the rows of a pack are put into passes, its jobs learn the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lorakit.device_memory import peak_bytes
from lorakit.families.causal_lm import load_language_model
from lorakit.families.sd15 import BaseModel
from services.trainer.engine import DiffusionFamily, JobSpec, LanguageFamily, Pack, TrainingImage
from services.trainer.engine.memory import MemoryBook
from tests.fixtures import short_memory
from tests.fixtures.tiny_lm import save_tiny_lm
from tests.fixtures.training import RESOLUTION, images, spec, tagged
from tests.fixtures.training_texts import DIFFERENT, texts

JOBS: dict[str, tuple[JobSpec, list[TrainingImage], list[TrainingImage]]] = {
    "plain": (spec(batch_size=4), images(seed=1), []),
    "text": (
        spec(train_text_encoder=True, seed=7, rank=2, batch_size=3, shuffle_tags=True, dropout=0.2),
        tagged(seed=2),
        [],
    ),
    "everything": (
        spec(
            dropout=0.3,
            noise_offset=0.1,
            caption_dropout=0.3,
            horizontal_flip=True,
            shuffle_tags=True,
            keep_tokens=1,
            prior_weight=0.5,
            prior_batch_size=3,
            batch_size=3,
        ),
        tagged(seed=0),
        tagged(4, seed=1),
    ),
    "prior": (spec(seed=9, prior_weight=1.0, prior_batch_size=2, dropout=0.1), images(), images(3, seed=4)),
}
STEPS = 3


class WatchedFamily(DiffusionFamily):
    """Counts the rows of each pass."""

    def __init__(self, base: BaseModel) -> None:
        super().__init__(base, resolution=RESOLUTION)
        self.passes: list[int] = []
        self.recomputing = False

    def losses(self, members: Sequence[Any], contexts: ExitStack) -> torch.Tensor:
        self.passes.append(sum(len(member.rows) for member in members))
        return super().losses(members, contexts)

    def recompute(self, on: bool) -> None:
        self.recomputing = on
        super().recompute(on)


class Packs:
    """Makes packs on the shared base, one after another, with some of the jobs above."""

    def __init__(self, base: BaseModel) -> None:
        self.base = base
        self.family = WatchedFamily(base)
        self.pack: Pack | None = None

    def __call__(self, *names: str, memory: MemoryBook | None = None, **jobs: JobSpec) -> Pack:
        self.close()
        self.family = WatchedFamily(self.base)
        self.pack = Pack(self.family, precision="float32", memory=memory)
        for name in names:
            job, pictures, prior = JOBS[name]
            self.pack.add(name, jobs.get(name, job), pictures, prior=prior)
        return self.pack

    def close(self) -> None:
        if self.pack is not None:
            self.pack.close()


@pytest.fixture
def packs(base: BaseModel) -> Iterator[Packs]:
    made = Packs(base)
    yield made
    made.close()


Learned = dict[str, tuple[list[float], torch.Tensor]]


def learned(pack: Pack) -> Learned:
    """Losses of all steps, and the gradients that the last optimizer step was given."""
    losses: dict[str, list[float]] = {name: [] for name in pack.job_ids}
    gradients: dict[str, torch.Tensor] = {}

    def watch(name: str, job: Any, update: Callable[[], None]) -> None:
        def keep() -> None:
            parameters = job.parameters.parameters()
            gradients[name] = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
            update()

        job.update = keep

    for name, job in pack._jobs.items():
        watch(name, job, job.update)
    for _ in range(STEPS):
        for report in pack.step():
            assert report.fault is None
            losses[report.job_id].append(report.loss)
    return {name: (losses[name], gradients[name]) for name in losses}


def agree(one: Learned, other: Learned) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert len(one[name][0]) == STEPS
        assert one[name][0] == pytest.approx(other[name][0], rel=1e-4)
        assert one[name][1].abs().max() > 1e-4
        assert torch.allclose(one[name][1], other[name][1], atol=1e-5, rtol=1e-4)


def test_jobs_with_everything_learn_what_they_learn_alone(packs: Packs) -> None:
    alone = {name: found for each in JOBS for name, found in learned(packs(each)).items()}
    agree(learned(packs(*JOBS)), alone)
    assert len(packs.family.passes) < STEPS * 4  # one for each bucket of all jobs


def budget(book: MemoryBook, pack: Pack, rows: int) -> int:
    """What so many of the largest rows take, with the gradients of all jobs."""
    weights = sum(p.numel() for job in pack._jobs.values() for p in job.parameters.parameters())
    return 4 * weights + max(kind.of(rows) for kind in book._known.values())


@pytest.mark.parametrize("rows", [1, 3])
def test_passes_within_a_memory_budget_change_nothing(rows: int, packs: Packs) -> None:
    roomy = MemoryBook(limit=1 << 40)
    pack = packs(*JOBS, memory=roomy)
    expected = learned(pack)
    most = max(packs.family.passes)
    assert most >= 7
    tight = MemoryBook(limit=budget(roomy, pack, rows))
    found = learned(packs(*JOBS, memory=tight))
    agree(found, expected)
    assert rows <= max(packs.family.passes) < most
    assert len(packs.family.passes) > 2 * STEPS * 4 / rows


def test_texts_within_a_memory_budget_are_learned_the_same(tmp_path: Path) -> None:
    base = load_language_model(save_tiny_lm(tmp_path, "llama"))

    def packed(memory: MemoryBook) -> tuple[Learned, int]:
        with Pack(LanguageFamily(base), precision="float32", memory=memory) as pack:
            for name, each in DIFFERENT.items():
                pack.add(name, each, texts(seed=len(name)))
            return learned(pack), budget(memory, pack, 1)

    expected, one = packed(MemoryBook(limit=1 << 40))
    found, _ = packed(MemoryBook(limit=one))
    agree(found, expected)


def test_what_a_pass_takes_is_measured(packs: Packs) -> None:
    """Trial passes of one and two rows tell what larger ones take, with gradient checkpointing as well."""
    book = MemoryBook(limit=1 << 40)
    pack = packs(memory=book)
    pack.add("a", spec(batch_size=6), images(12))
    pack.step()
    measured, recomputed = (
        next(memory for kind, memory in book.measured.items() if kind.setting.recomputing is recomputing)
        for recomputing in (False, True)
    )
    assert len(book.measured) == 2
    assert recomputed.of(1) < measured.of(1)
    taken = peak_bytes(torch.device("cpu"), pack.step)
    # Rows of several jobs take a little more than those of one, and are what is measured.
    assert taken <= measured.of(6) <= 1.25 * taken
    before = len(packs.family.passes)
    pack.step()
    assert packs.family.passes[before:] == [6]  # measured once


def test_measuring_leaves_no_trace(packs: Packs) -> None:
    expected = learned(packs("everything"))
    found = learned(packs("everything", memory=MemoryBook(limit=1 << 40)))
    assert found["everything"][0] == expected["everything"][0]
    assert torch.equal(found["everything"][1], expected["everything"][1])


def test_recomputed_activations_give_the_same_gradients(packs: Packs) -> None:
    expected = learned(packs(*JOBS))
    pack = packs(*JOBS, everything=replace(JOBS["everything"][0], gradient_checkpointing=True))
    agree(learned(pack), expected)
    assert packs.family.recomputing
    pack.remove("everything")
    pack.step()
    assert not packs.family.recomputing


def test_one_row_that_does_not_fit_is_recomputed_and_then_ejected(packs: Packs) -> None:
    roomy = MemoryBook(limit=1 << 40)
    pack = packs("plain", "prior", memory=roomy)
    expected = learned(pack)
    short = budget(roomy, pack, 1) - max(kind.per_row for kind in roomy._known.values()) // 4
    pack = packs("plain", "prior", memory=MemoryBook(limit=short))
    reports = {report.job_id: report for report in pack.step()}
    assert packs.family.recomputing
    assert all("gradient checkpointing is on" in reports[name].notices[0] for name in reports)
    assert [reports[name].loss for name in reports] == pytest.approx(
        [expected[name][0][0] for name in reports], rel=1e-4
    )
    pack = packs("plain", "prior", memory=MemoryBook(limit=1000))
    for report in pack.step():
        assert report.fault is not None
        assert report.fault.reason == "OUT_OF_MEMORY"
        assert "one row of the shape" in report.fault.message and "0 B are free" in report.fault.message


def test_a_base_that_cannot_recompute_trains_as_it_can(packs: Packs, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(family: WatchedFamily, on: bool) -> None:
        raise ValueError("this base knows no gradient checkpointing")

    monkeypatch.setattr(WatchedFamily, "recompute", refuse)
    asked = replace(JOBS["plain"][0], gradient_checkpointing=True)
    for limit, fault in ((1 << 40, None), (1000, "and the base knows no gradient checkpointing")):
        (report,) = packs("plain", plain=asked, memory=MemoryBook(limit=limit)).step()
        assert fault in str(report.fault) if fault else report.fault is None


def test_a_kind_of_passes_that_takes_more_stands_for_smaller_ones(packs: Packs) -> None:
    """Where there is room, few trials are made: the widest pictures and the largest job are enough."""
    book = MemoryBook(limit=1 << 40)
    pack = packs(memory=book)
    pack.add("large", spec(rank=16), images())
    pack.step()
    assert packs.family.passes == [1, 2, 1, 2, 2]
    pack.add("small", spec(rank=2), tagged(3, seed=1))
    pack.step()
    assert packs.family.passes[5:] in ([4], [2, 2], [2, 1], [3])


def test_a_pass_that_runs_out_of_memory_is_made_again_in_parts(base_directory: Path, packs: Packs) -> None:
    """In a process that the operating system refuses memory, and nothing was measured before."""
    command = [sys.executable, "-m", "tests.fixtures.short_memory", str(base_directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["faults"] == []
    assert found["passes"][0] == 100
    assert max(found["passes"][1:]) == 50
    pack = packs()
    for name, (job, pictures) in short_memory.jobs().items():
        pack.add(name, job, pictures)
    for report in pack.step():
        told = found["notices"][report.job_id]
        assert told[0] == "out of memory with 100 rows in a pass: 50 at a time from here on"
        assert found["losses"][report.job_id] == pytest.approx(report.loss, rel=1e-4)
    assert packs.family.passes == [100]
