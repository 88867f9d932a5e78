"""The texts' loop: who joins when, and that nobody's text depends on company or on others' faults."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from services.inference.domain_jobs import BaseRef
from services.inference.domain_texts import ChatMessage, FinishReason, TextPiece, TextStarted
from services.inference.engine import text_batch, text_stacks
from services.inference.engine.text_batch import TextBatch
from tests.fixtures.text_loop import TextHarness
from tests.fixtures.tiny_lm import save_tiny_lm

LONG = "Bright days, bold prices! " * 3


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_lm(tmp_path_factory.mktemp("loop") / "tiny")


@pytest.fixture
def harness(directory: Path) -> TextHarness:
    return TextHarness(directory)


def test_events_come_in_order(harness: TextHarness) -> None:
    harness.run(harness.job("a", max_tokens=6))
    kinds = [type(event) for event in harness.events["a"]]
    assert kinds[0] is TextStarted
    assert set(kinds[1:-1]) <= {TextPiece}
    assert harness.finished("a").prompt_tokens == len(harness.plain.tokenizer("What do you sell?").input_ids)
    assert harness.ends == {"a": None}


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_company_changes_nothing(kind: str, tmp_path: Path) -> None:
    """Rows come and go at all times, prompts pass in parts; each text is the one it is alone."""
    directory = save_tiny_lm(tmp_path / kind, kind)
    harness = TextHarness(directory, max_rows=3)
    jobs = [
        harness.job(
            str(index),
            (LONG, "Hi", "What do you sell?")[index % 3],
            loras=tuple(harness.lora(seed, 0.4 + index / 5) for seed in range(index % 3)),
            temperature=(0.0, 1.3)[index % 2],
            seed=index,
            max_tokens=3 + 4 * (index % 4),
            stop=("e",) if index % 5 == 0 else (),
        )
        for index in range(10)
    ]
    harness.run(*jobs)
    for job in jobs:
        alone = TextHarness(directory)
        alone.run(job)
        assert harness.text(job.job_id) == alone.text(job.job_id)
        assert harness.finished(job.job_id) == alone.finished(job.job_id)
    assert max(figures.rows for figures in harness.figures) == 3
    assert sum(sum(figures.tokens.values()) for figures in harness.figures) == sum(
        harness.finished(job.job_id).generated_tokens for job in jobs
    )


def test_long_prompts_pass_in_parts_and_hold_up_nobody(
    harness: TextHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = TextHarness(harness.directory)
    whole.run(harness.job("long", LONG))
    monkeypatch.setattr(text_batch, "PROMPT_TOKENS_CPU", 8)
    harness.run(harness.job("long", LONG), harness.job("short", "Hi"))
    assert max(figures.prompt_tokens for figures in harness.figures) <= 8
    assert harness.text("long") == whole.text("long")
    assert list(harness.ends) == ["short", "long"]


def test_a_cancelled_text_leaves_at_once(harness: TextHarness) -> None:
    texts = [harness.job(name, max_tokens=60, temperature=10.0, seed=1) for name in ("a", "b", "c")]
    for job in texts:
        harness.loop.submit(job)
    while harness.loop.active_rows < 3:
        harness.step()
    harness.loop.cancel("b")
    assert harness.loop.active_rows == 2
    harness.run()
    assert set(harness.ends) == {"a", "c"}
    assert harness.text("a") == harness.text("c")
    harness.loop.cancel("nobody")
    assert (harness.loop.active_rows, harness.loop.used_bytes) == (0, 0)


def test_a_text_that_is_cancelled_while_it_is_prepared_never_joins(harness: TextHarness) -> None:
    harness.loop.submit(harness.job("a"))
    harness.loop.step()
    harness.loop.cancel("a")
    assert not harness.loop.has_work
    harness.run(harness.job("b"))
    assert set(harness.ends) == {"b"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"\x80\x04\x95pickle", "LORA_FILE_INVALID"), (b"", "LORA_FILE_INVALID"), (None, "LORA_FILE_INVALID")],
)
def test_a_bad_file_fails_its_own_job_alone(
    harness: TextHarness, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "bad.safetensors"
    if content is not None:
        path.write_bytes(content)
    bad = replace(harness.lora(1), reference="bad", path=str(path), sha256="b" * 64)
    harness.run(
        harness.job("bad", loras=(harness.lora(1), bad)), harness.job("good", loras=(harness.lora(1),))
    )
    failure = harness.ends["bad"]
    assert failure is not None
    assert (failure.reason, failure.metadata["reference"]) == (reason, "bad")
    assert harness.ends["good"] is None


def test_numbers_that_are_not_finite_fail_their_row_alone(harness: TextHarness) -> None:
    harness.run(harness.job("plain"))
    names = ("wild", "tame", "next")
    jobs = [harness.job(name) for name in names]
    jobs[0] = replace(jobs[0], loras=(harness.lora(1, 1.0, size=1e19),))
    harness.run(*jobs)
    wild = harness.ends["wild"]
    assert wild is not None
    assert wild.reason == "TEXT_NOT_FINITE"
    assert harness.text("tame") == harness.text("next") == harness.text("plain")


def test_a_pass_that_fails_takes_its_rows_and_no_others(
    harness: TextHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: TextBatch, rows: Any) -> Any:
        raise RuntimeError("out of memory\nand more")

    with monkeypatch.context() as patched:
        patched.setattr(TextBatch, "decode", fail)
        harness.run(harness.job("a"))
    failure = harness.ends["a"]
    assert failure is not None
    assert (failure.kind, failure.reason) == ("Unavailable", "ENGINE_STEP_FAILED")
    assert failure.message == "a step failed: out of memory"
    harness.run(harness.job("b"))
    assert harness.ends["b"] is None


def test_keys_and_values_stay_within_their_budget(directory: Path) -> None:
    token_bytes = 2 * 2 * 2 * 8 * 4
    budget = 3 * 64 * token_bytes
    harness = TextHarness(directory, max_rows=8, budget_bytes=budget)
    jobs = [harness.job(str(index), "Hi", max_tokens=5 + 10 * index) for index in range(6)]
    for job in jobs:
        harness.loop.submit(job)
    while harness.loop.has_work:
        harness.step()
        assert harness.loop.used_bytes <= budget
    assert set(harness.ends.values()) == {None}
    assert 1 < max(figures.rows for figures in harness.figures) <= 3
    small = TextHarness(directory, budget_bytes=64 * token_bytes)
    small.run(small.job("big", LONG, max_tokens=60), small.job("fits", "Hi"))
    failure = small.ends["big"]
    assert failure is not None
    assert (failure.reason, failure.field) == ("TEXT_TOO_LONG", "max_tokens")
    assert str(64 * token_bytes) in failure.message
    assert small.ends["fits"] is None


def test_one_brand_cannot_keep_another_waiting(directory: Path) -> None:
    harness = TextHarness(directory, max_rows=1)
    many = [harness.job(f"acme{index}") for index in range(6)]
    harness.run(*many, harness.job("other", brand="other"))
    assert list(harness.ends).index("other") <= 2


def test_a_file_is_read_once_for_all_who_want_it_at_once(
    harness: TextHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    read, lock = text_stacks._read, threading.Lock()

    def counted(lora: Any, base: Any) -> Any:
        with lock:
            reads.append(lora.reference)
        return read(lora, base)

    monkeypatch.setattr(text_stacks, "_read", counted)
    loras = (harness.lora(1), harness.lora(2))
    harness.run(*(harness.job(str(index), loras=loras) for index in range(6)))
    assert sorted(reads) == ["voice-1", "voice-2"]
    assert harness.stacks.usage()[0].hits == 10


def test_a_file_named_twice_counts_once_with_the_sum_of_its_weights(harness: TextHarness) -> None:
    one = harness.lora(1, 0.7)
    twice = (harness.lora(1, 1.0), replace(harness.lora(1, -0.3), reference="voice-1@prod"))
    harness.run(harness.job("once", loras=(one,)), harness.job("twice", loras=twice), harness.job("none"))
    assert harness.text("once") == harness.text("twice") != harness.text("none")


def test_conversations_of_a_base_without_a_template(tmp_path: Path) -> None:
    harness = TextHarness(save_tiny_lm(tmp_path / "tiny", chat=False))
    turns = (ChatMessage(role="user", content="Hi"),)
    harness.run(
        harness.job("turn", "", messages=turns),
        harness.job("text", "Hi\n"),
        harness.job("turns", "", messages=(ChatMessage(role="system", content="Be brief."), *turns)),
    )
    assert harness.text("turn") == harness.text("text")
    failure = harness.ends["turns"]
    assert failure is not None
    assert (failure.kind, failure.field) == ("InvalidArgument", "messages")
    assert "no chat template" in failure.message


def test_lengths_are_those_asked_for_or_the_models_own(harness: TextHarness) -> None:
    most = harness.plain.max_tokens
    harness.run(
        harness.job("asked", temperature=10.0, max_tokens=3),
        harness.job("own", LONG, temperature=10.0, seed=5, max_tokens=8000),
        harness.job("over", LONG * 3),
    )
    assert harness.finished("asked").generated_tokens == 3
    assert harness.finished("asked").reason is FinishReason.LENGTH
    own = harness.finished("own")
    assert own.prompt_tokens + own.generated_tokens == most
    failure = harness.ends["over"]
    assert failure is not None
    assert (failure.reason, failure.field) == ("PROMPT_TOO_LONG", "prompt")


def test_a_base_whose_files_changed_is_refused(harness: TextHarness) -> None:
    base = BaseRef(name="tiny", source=str(harness.directory), sha256="a" * 64)
    harness.run(replace(harness.job("a"), base=base))
    failure = harness.ends["a"]
    assert failure is not None
    assert failure.reason == "BASE_MODEL_CHANGED"


def test_half_precision_writes_too(directory: Path) -> None:
    harness = TextHarness(directory, dtype=torch.bfloat16)
    harness.run(harness.job("a", loras=(harness.lora(1, 0.1),)), harness.job("b"))
    assert set(harness.ends.values()) == {None}
