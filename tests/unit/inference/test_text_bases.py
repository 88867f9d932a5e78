"""Which architectures' texts can share passes: those that can are served, and the others refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from tests.fixtures.text_loop import TextHarness
from tests.fixtures.tiny_lm import tiny_tokenizer

COMMON: dict[str, Any] = {
    "vocab_size": 328,
    "eos_token_id": 1,
    "bos_token_id": 0,
    "pad_token_id": 1,
    "initializer_range": 0.2,
}
SIZE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
WINDOW: dict[str, Any] = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}
PROMPTS = ("What do you sell?", "Hi", "Bright days, bold prices!")


def saved(model: Any, directory: Path) -> Path:
    model.save_pretrained(directory)
    tiny_tokenizer().save_pretrained(directory)
    return directory


@pytest.mark.parametrize(
    "make",
    [
        # Prompts and texts are longer than the windows.
        lambda: MistralForCausalLM(MistralConfig(**COMMON, **SIZE, sliding_window=4)),
        lambda: Qwen2ForCausalLM(Qwen2Config(**COMMON, **SIZE, **WINDOW)),
        lambda: Gemma2ForCausalLM(Gemma2Config(**COMMON, **SIZE, head_dim=8, sliding_window=4)),
        lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**COMMON, **SIZE | {"num_key_value_heads": None})),
    ],
    ids=["mistral", "qwen2", "gemma2", "neox"],
)
def test_windows_and_kinds_of_layers_are_kept_to(make: Callable[[], Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    harness = TextHarness(saved(make(), tmp_path / "tiny"))
    harness.run(*(harness.job(prompt, prompt, max_tokens=10) for prompt in PROMPTS))
    model, tokenizer = harness.plain.model, harness.plain.tokenizer
    for prompt in PROMPTS:
        ids = torch.tensor([tokenizer(prompt).input_ids])
        mask = torch.ones_like(ids)
        made = model.generate(ids, attention_mask=mask, do_sample=False, max_new_tokens=10)[0, ids.shape[1] :]
        expected = tokenizer.decode(made, skip_special_tokens=True)
        assert harness.text(prompt).rstrip("\ufffd") == expected.rstrip("\ufffd")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: BloomForCausalLM(BloomConfig(**COMMON, hidden_size=32, n_layer=2, n_head=4)), "lengths"),
        (
            lambda: GPTNeoForCausalLM(
                GPTNeoConfig(
                    **COMMON,
                    hidden_size=32,
                    num_layers=2,
                    num_heads=4,
                    attention_types=[[["global", "local"], 1]],
                    window_size=3,
                )
            ),
            "in company",
        ),
    ],
    ids=["bloom", "neo"],
)
def test_a_model_that_would_write_otherwise_in_company_is_refused(
    make: Callable[[], Any], why: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    harness = TextHarness(saved(make(), tmp_path / "tiny"))
    harness.run(harness.job("a"))
    failure = harness.ends["a"]
    assert failure is not None
    assert failure.reason == "BASE_MODEL_UNUSABLE"
    assert why in failure.message
    assert "is not served" in failure.message
