"""Language models of the real classes, small: what is loaded, what LoRAs sit on, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, MixtralConfig, MixtralForCausalLM, OPTConfig, OPTForCausalLM

from lorakit.base_digest import base_digest
from lorakit.errors import BaseModelError
from lorakit.families.causal_lm import load_language_model, target_modules
from tests.fixtures.tiny_lm import MAX_TOKENS, save_tiny_lm, tiny_tokenizer

LLAMA_LAYERS = {
    "attention": {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"},
    "feed_forward": {"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"},
}
GPT2_LAYERS = {
    "attention": {"attn.c_attn", "attn.c_proj"},
    "feed_forward": {"mlp.c_fc", "mlp.c_proj"},
}


@pytest.mark.parametrize(
    ("kind", "block", "expected"),
    [
        ("llama", "model.layers.", LLAMA_LAYERS),
        ("qwen2", "model.layers.", LLAMA_LAYERS),
        ("mistral", "model.layers.", LLAMA_LAYERS),
        ("gpt2", "transformer.h.", GPT2_LAYERS),
    ],
)
def test_loras_sit_on_attention_and_feed_forward(
    kind: str, block: str, expected: dict[str, set[str]], tmp_path: Path
) -> None:
    base = load_language_model(save_tiny_lm(tmp_path, kind))
    assert (base.family, base.max_tokens, base.end_ids) == ("causal_lm", MAX_TOKENS, (1,))
    assert base.sha256 == base_digest(tmp_path)
    for target, layers in expected.items():
        found = set(target_modules(base, {target}))
        assert found == {f"{block}{number}.{layer}" for number in (0, 1) for layer in layers}
    assert set(target_modules(base)) == set(base.layers)
    stock = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = torch.arange(12).reshape(2, 6)
    with torch.no_grad():
        assert torch.allclose(base.model(ids).logits, stock(ids).logits, atol=1e-6)


def test_layers_that_mix_rows_are_left_out(tmp_path: Path) -> None:
    """OPT flattens a batch for its feed-forward network, Mixtral deals tokens out to experts."""
    tokenizer = tiny_tokenizer()
    opt = OPTForCausalLM(
        OPTConfig(
            vocab_size=330,
            hidden_size=32,
            ffn_dim=48,
            num_hidden_layers=1,
            num_attention_heads=4,
            max_position_embeddings=64,
            word_embed_proj_dim=32,
        )
    )
    mixtral = MixtralForCausalLM(
        MixtralConfig(
            vocab_size=330,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=1,
            num_attention_heads=4,
            num_key_value_heads=2,
            num_local_experts=2,
        )
    )
    for name, model, attention in (("opt", opt, 4), ("mixtral", mixtral, 4)):
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        base = load_language_model(tmp_path / name)
        assert len(base.layers) == attention
        assert all("attn" in path for path in base.layers)


def drop_weight(directory: Path) -> None:
    weights = load_file(directory / "model.safetensors")
    del weights["model.layers.0.self_attn.q_proj.weight"]
    save_file(weights, directory / "model.safetensors", {"format": "pt"})


def pickle_weights(directory: Path) -> None:
    torch.save(load_file(directory / "model.safetensors"), directory / "pytorch_model.bin")
    (directory / "model.safetensors").unlink()


def change_config(**values: object) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        path = directory / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (drop_weight, "lacks 1 weights.*layers.0.self_attn.q_proj"),
        (pickle_weights, "cannot be loaded"),
        (lambda copy: (copy / "config.json").unlink(), "config.json"),
        (lambda copy: (copy / "config.json").write_text("["), "cannot be read"),
        (lambda copy: (copy / "tokenizer.json").unlink(), "tokenizer"),
        (change_config(quantization_config={"quant_method": "gptq"}), "quantised"),
        (change_config(vocab_size=7), "cannot be loaded|words"),
        (
            change_config(
                model_type="own", architectures=["Own"], auto_map={"AutoModelForCausalLM": "evil.Own"}
            ),
            "cannot be loaded",
        ),
    ],
)
def test_a_directory_that_is_not_sound_is_refused(
    harm: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    save_tiny_lm(tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('code of the directory was run')")
    harm(tmp_path)
    with pytest.raises(BaseModelError, match=message):
        load_language_model(tmp_path)


def test_the_digest_counts_template_and_weights(tmp_path: Path) -> None:
    save_tiny_lm(tmp_path)
    before = base_digest(tmp_path)
    (tmp_path / "README.md").write_text("documented")
    assert base_digest(tmp_path) == before
    (tmp_path / "chat_template.jinja").write_text("another")
    assert base_digest(tmp_path) != before
