"""The recipe of the tiny language model, for a few seconds: it learns, and what it saves is whole."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from demo.recipe import writer
from lorakit.families.causal_lm import load_language_model
from lorakit.families.conversation import encode_conversation, encode_prompt


def test_what_it_writes_is_a_base_for_loras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "PROMPTS", 2)
    scores = writer.train_writer(tmp_path, 3.0, made="a test.")
    assert 0.0 < scores["loss"] < 7.0
    base = load_language_model(tmp_path)
    assert (base.max_tokens, len(base.layers)) == (writer.MAX_TOKENS, 35)
    assert base.model.dtype == torch.float32
    assert (tmp_path / "model.safetensors").stat().st_size < 4 * 2**20
    text = (tmp_path / "README.md").read_text()
    assert f"{scores['loss']:.3f}" in text
    assert "a test." in text


def test_words_of_any_kind_are_spelled() -> None:
    tokenizer = writer.learn_tokenizer(random.Random(5))
    turns = [{"role": "user", "content": "Ça va? \u2603"}, {"role": "assistant", "content": "Hoo-hoo!"}]
    encoded = encode_conversation(tokenizer, turns)
    assert "\u2603" in tokenizer.decode(list(encoded.ids))
    prompt = encode_prompt(tokenizer, turns[0]["content"])
    assert encoded.ids[: len(prompt)] == prompt
    assert encoded.learned.index(True) == len(prompt)
