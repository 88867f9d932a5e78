"""Texts are measured by the tokenizer of the base that is to learn them, in a process of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from lorakit.families.causal_lm import load_language_model
from services.trainer.engine import LanguageFamily, Message, Pack, TrainingText
from services.trainer.engine.fault import EngineFault
from services.trainer.ports import TextsUncheckedError
from services.trainer.sources import BaseModel
from services.trainer.text_lengths import ProcessTextLengths
from services.trainer.text_manifest import Text, Turn
from tests.fixtures.tiny_lm import MAX_TOKENS, save_tiny_lm
from tests.fixtures.training_texts import job
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_lm(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def base(folder: Path) -> BaseModel:
    return BaseModel(
        name="baseModels/tiny", family="causal_lm", source=str(folder), sha256="a" * 64, resolution=0
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lengths() -> AsyncIterator[ProcessTextLengths]:
    """One for all: its process takes seconds to start."""
    made = ProcessTextLengths(seconds=10.0)
    yield made
    await made.close()
    assert made.pid is None


def text(*contents: str) -> Text:
    roles = ("user", "assistant")
    return Text(turns=tuple(Turn(roles[place % 2], content) for place, content in enumerate(contents)))


async def test_what_is_too_long_is_what_the_engine_refuses(
    base: BaseModel, folder: Path, lengths: ProcessTextLengths
) -> None:
    asked = {number: text("Why?", "z" * number) for number in range(60, 110)}
    faults = await lengths.faults(base, asked)
    assert faults and len(faults) < len(asked)
    assert [fault.number for fault in faults] == list(range(faults[0].number, 110))
    shortest = faults[0]
    assert shortest.why == f"has {MAX_TOKENS + 1} tokens, the base model reads {MAX_TOKENS} at most"

    loaded = load_language_model(folder)
    with Pack(LanguageFamily(loaded), precision="float32") as pack:
        for number, name in ((shortest.number - 1, "fits"), (shortest.number, "does not")):
            turns = [Message(role=turn.role, content=turn.content) for turn in asked[number].turns]
            items = [TrainingText(messages=tuple(turns))]
            if name == "fits":
                pack.add(name, job(), items)
                continue
            with pytest.raises(EngineFault, match=shortest.why):
                pack.add(name, job(), items)


async def test_what_the_base_cannot_render_and_bases_without_a_template(
    base: BaseModel, lengths: ProcessTextLengths, tmp_path: Path
) -> None:
    answer_first = Text(turns=(Turn("assistant", "Hello!"),))
    (fault,) = await lengths.faults(base, {1: text("a", "b"), 5: answer_first})
    assert (fault.number, "begins with an answer" in fault.why) == (5, True)
    plain = replace(base, source=f"file://{save_tiny_lm(tmp_path / 'plain', chat=False)}", sha256="b" * 64)
    assert await lengths.faults(plain, {1: text("a", "b")}) == []
    (fault,) = await lengths.faults(plain, {2: text("a", "b", "c", "d")})
    assert "no chat template" in fault.why
    # Cached by its digest, whatever becomes of the folder.
    assert await lengths.faults(replace(plain, source=base.source), {1: text("a", "b")}) == []
    assert lengths.pid is not None


async def test_a_base_that_is_not_here_or_is_none(base: BaseModel, tmp_path: Path) -> None:
    lengths = ProcessTextLengths()
    for source in ("/nowhere/llama", "owner/name", "s3://bucket/llama"):
        with pytest.raises(TextsUncheckedError, match=f"the tokenizer of {base.name}$"):
            await lengths.faults(replace(base, source=source), {1: text("a", "b")})
    assert lengths.pid is None
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(TextsUncheckedError) as caught:
        await lengths.faults(replace(base, source=str(tmp_path), sha256="c" * 64), {1: text("a", "b")})
    assert str(tmp_path) not in str(caught.value), "where a base lies is for administrators"
    await lengths.close()


def with_template(directory: Path, template: str) -> Path:
    made = save_tiny_lm(directory)
    settings = json.loads((made / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (made / "tokenizer_config.json").write_text(json.dumps(settings))
    (made / "chat_template.jinja").write_text(template)
    return made


async def test_the_memory_is_bounded(base: BaseModel, lengths: ProcessTextLengths, tmp_path: Path) -> None:
    greedy = "{% set it = namespace(text='12345678' * 9999999) %}{% for a in range(9) %}"
    greedy += "{% set it.text = it.text * 9 %}{% endfor %}"
    source = str(with_template(tmp_path / "greedy", greedy))
    with pytest.raises(TextsUncheckedError, match="the trainer could not use the tokenizer"):
        await lengths.faults(replace(base, source=source, sha256="d" * 64), {1: text("a", "b")})
    assert await lengths.faults(base, {1: text("a", "b")}) == []


async def test_what_a_template_says_is_cut(
    base: BaseModel, lengths: ProcessTextLengths, tmp_path: Path
) -> None:
    source = str(with_template(tmp_path / "loud", "{{ raise_exception('no! ' * 100000) }}"))
    (fault,) = await lengths.faults(replace(base, source=source, sha256="e" * 64), {1: text("a", "b")})
    assert "no! no!" in fault.why
    assert len(fault.why) < 600


async def test_the_time_is_bounded(
    base: BaseModel, lengths: ProcessTextLengths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {1: text("a", "b"), 2: text("a", "b")}
    hasty = ProcessTextLengths(seconds=0.0, starting_seconds=120.0)
    with pytest.raises(TextsUncheckedError, match="0 of 2 texts, the longest, were measured in 0 seconds"):
        await hasty.faults(base, asked)
    await hasty.close()

    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    busy = replace(base, source=str(with_template(tmp_path / "busy", endless)), sha256="f" * 64)
    assert await lengths.faults(base, asked) == []
    running = lengths.pid
    # It runs by now: only the template takes its time.
    monkeypatch.setattr(lengths, "_whole_seconds", 2.0)
    with pytest.raises(TextsUncheckedError, match="the trainer could not use the tokenizer"):
        await lengths.faults(busy, asked)
    assert running is not None and lengths.pid is None


async def test_the_process_goes_when_nothing_is_asked(base: BaseModel) -> None:
    lengths = ProcessTextLengths(idle_seconds=0.2)

    async def is_gone() -> bool:
        return lengths.pid is None

    both = [lengths.faults(base, {1: text("a", "b")}) for _ in range(2)]
    assert await asyncio.gather(*both) == [[], []]
    await until(is_gone)
    assert await lengths.faults(base, {1: text("a", "b")}) == []
    await lengths.close()
    assert lengths.pid is None
