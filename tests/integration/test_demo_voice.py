"""The committed language model: it knows its facts, and learns three brands' voices in one short pack."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from demo.brands.voices import VOICES, BrandVoice, voice_lines
from demo.recipe.writer import measure
from demo.world.talk import sample_exchange
from lorakit.families.causal_lm import LanguageModel, load_language_model
from services.trainer.engine import JobSpec, LanguageFamily, Message, Pack, SampleSettings, TrainingText
from services.trainer.text_manifest import read_texts, training_texts
from tests.fixtures.training_texts import job

MODEL = Path(__file__).parents[2] / "demo" / "models" / "llama-tiny"


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def base() -> LanguageModel:
    return load_language_model(MODEL)


def lesson(voice: BrandVoice) -> list[TrainingText]:
    texts = training_texts(read_texts(voice_lines(voice)))
    return [
        TrainingText(messages=tuple(Message(role=turn.role, content=turn.content) for turn in text.turns))
        for text in texts
    ]


def spec(**changes: object) -> JobSpec:
    return job(**{"rank": 8, "alpha": 16.0, "learning_rate": 5e-3, "batch_size": 8, **changes})


def test_its_card_says_what_it_does(base: LanguageModel) -> None:
    text = (MODEL / "README.md").read_text()
    right, loss = re.search(r"\| ([\d.]+)% \| ([\d.]+) \|", text).groups()  # type: ignore[union-attr]
    scores = measure(base.model, base.tokenizer)
    assert scores["loss"] == pytest.approx(float(loss), abs=0.01)
    assert 100 * scores["right"] == pytest.approx(float(right), abs=1.0)
    assert scores["right"] >= 0.9
    assert (MODEL / "model.safetensors").stat().st_size < 4 * 2**20


def test_three_voices_are_learned_in_under_a_minute(base: LanguageModel) -> None:
    rng = random.Random(8)
    asked = [sample_exchange(rng, held_out=True) for _ in range(8)]
    prompts = [exchange.prompt for exchange in asked]
    settings = SampleSettings(seed=1, max_new_tokens=64)
    with Pack(LanguageFamily(base), precision="float32") as pack:
        for number, voice in enumerate(VOICES):
            pack.add(voice.brand, spec(total_steps=60, seed=number), lesson(voice))
        began = time.process_time()
        while pack.step():
            pass
        assert time.process_time() - began < 60
        for voice in VOICES:
            said = pack.sample(voice.brand, prompts, settings)
            spoken = [
                str(text).startswith(voice.opening) and str(text).endswith(voice.closing) for text in said
            ]
            right = [
                all(fact in str(text) for fact in exchange.facts)
                for exchange, text in zip(asked, said, strict=True)
            ]
            assert sum(spoken) >= 7, said
            assert sum(right) >= 6, said
