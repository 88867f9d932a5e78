"""The denoising batch: what its rows, stacks and files may take of the memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lorakit.families import sd15
from services.inference.domain import Composition
from services.inference.engine.bucket import Bucket
from tests.fixtures.batch_harness import Harness, lora_file
from tests.fixtures.tiny_loras import write_lora


def test_files_and_texts_are_kept(harness: Harness, base: sd15.BaseModel, tmp_path: Path) -> None:
    lora = lora_file(write_lora(base, tmp_path / "hero.safetensors", seed=1))
    harness.run(harness.job("a", loras=(lora,)), harness.job("b", loras=(lora,)))
    stacks, texts = harness.preparation.stacks, harness.preparation.texts
    files, folded = stacks.usage()
    assert (files.level, files.misses) == ("memory", 1)
    assert (folded.level, folded.misses, folded.hits) == ("device", 1, 1)
    assert (texts.usage().misses, texts.usage().hits) == (2, 2)
    # Another weight of the UNet alone needs no new embedding; one of the text encoder does.
    harness.run(harness.job("c", loras=(replace(lora, weight=0.5),)))
    assert texts.usage().misses == 2
    harness.run(harness.job("d", loras=(replace(lora, text_encoder_weight=0.5),)))
    assert texts.usage().misses == 4


def test_nothing_is_kept_beyond_the_budget(directory: Path, base: sd15.BaseModel, tmp_path: Path) -> None:
    lora = lora_file(write_lora(base, tmp_path / "hero.safetensors", seed=1))
    with Harness(directory, base.sha256, lora_bytes=1) as harness:
        harness.run(harness.job("a", loras=(lora,)), harness.job("b", loras=(lora,)))
    assert harness.ends == {"a": None, "b": None}
    assert [usage.used_bytes for usage in harness.preparation.stacks.usage()] == [0, 0]


def test_rows_join_as_memory_allows(directory: Path, base: sd15.BaseModel) -> None:
    """The first row of a size shows what one takes; a budget for two and a half lets two in at a time."""
    with Harness(directory, base.sha256) as measuring:
        measuring.run(measuring.job("a"))
        (row_bytes,) = measuring.batch.row_bytes.values()
    assert row_bytes > 10_000
    with Harness(directory, base.sha256, max_rows=8, max_row_bytes=5 * row_bytes) as harness:
        rows = []
        harness.batch.submit(harness.job("many", count=6, steps=3))
        while harness.batch.has_work:
            figures = harness.batch.step()
            rows += [figures.rows] if figures else []
    assert harness.ends == {"many": None}
    assert max(rows) == 2
    assert rows[0] == 1


@pytest.mark.parametrize(
    ("jobs", "told"),
    [(1, ("ResourceExhausted", "PICTURE_TOO_LARGE")), (2, ("Unavailable", "ENGINE_STEP_FAILED"))],
)
def test_a_step_without_memory_is_the_fault_of_who_was_alone_in_it(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, jobs: int, told: tuple[str, str]
) -> None:
    def fail(bucket: Bucket) -> None:
        # Larger than any machine: what torch says here is its own.
        torch.empty(1 << 50)

    harness.run(harness.job("before"))
    monkeypatch.setattr(Bucket, "step", fail)
    names = [f"job-{index}" for index in range(jobs)]
    for name in names:
        harness.batch.submit(harness.job(name))
    while not all(entry.prepared for entry in harness.batch._jobs.values()) or not harness.batch._jobs:
        harness.batch._take_in(0.1)
        harness.batch._prepare()
    harness.run()
    failures = [harness.ends[name] for name in names]
    assert [(failure.kind, failure.reason) for failure in failures if failure] == [told] * jobs


def test_a_picture_that_takes_more_memory_than_there_is_is_refused(
    directory: Path, base: sd15.BaseModel, tmp_path: Path
) -> None:
    """One LoRA's picture fits, and one that needs the base model four times in each step does not."""
    loras = tuple(
        lora_file(write_lora(base, tmp_path / f"{seed}.safetensors", seed=seed)) for seed in range(4)
    )
    with Harness(directory, base.sha256) as measuring:
        measuring.run(measuring.job("a"))
        (row_bytes,) = measuring.batch.row_bytes.values()
    with Harness(directory, base.sha256, max_rows=8, max_row_bytes=5 * row_bytes) as harness:
        harness.run(harness.job("one", loras=loras[:1]))
        harness.batch.submit(harness.job("plain", count=3))
        harness.run(harness.job("four", loras=loras, composition=Composition.COMPOSITE))
    assert (harness.ends["one"], harness.ends["plain"]) == (None, None)
    failure = harness.ends["four"]
    assert failure is not None
    assert (failure.kind, failure.reason) == ("ResourceExhausted", "PICTURE_TOO_LARGE")
    assert "8 passes" in failure.message


def test_stacks_that_take_turns_have_a_budget_together(
    directory: Path, base: sd15.BaseModel, tmp_path: Path
) -> None:
    paths = [write_lora(base, tmp_path / f"{seed}.safetensors", seed=seed) for seed in range(4)]
    loras = tuple(lora_file(path) for path in paths)
    size = paths[0].stat().st_size
    switch = {"composition": Composition.SWITCH, "steps": 4}
    with Harness(directory, base.sha256, lora_bytes=int(2.5 * size)) as harness:
        harness.run(harness.job("two", loras=loras[:2], **switch), harness.job("four", loras=loras, **switch))
    assert harness.ends["two"] is None
    failure = harness.ends["four"]
    assert failure is not None
    assert (failure.kind, failure.reason) == ("ResourceExhausted", "STACKS_TOO_LARGE")
