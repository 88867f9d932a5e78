"""Formats, families and modules are told from headers; alphas from their bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file

from lorakit.errors import LoraFormatError
from lorakit.formats import FileFormat, ModuleKind, inspect, inspect_file
from lorakit.safetensors_header import parse_header

Q = "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
K2 = "down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
DOTTED = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
TEXT = "text_model.encoder.layers.0.self_attn.q_proj"


def pair(
    name: str, down: str, up: str, *, rank: int = 4, inner: int = 8, outer: int = 6
) -> dict[str, torch.Tensor]:
    return {f"{name}.{down}.weight": torch.ones(rank, inner), f"{name}.{up}.weight": torch.ones(outer, rank)}


def kohya(name: str, *, rank: int = 4, inner: int = 8, outer: int = 6) -> dict[str, torch.Tensor]:
    return pair(name, "lora_down", "lora_up", rank=rank, inner=inner, outer=outer)


def described(tensors: dict[str, torch.Tensor], tmp_path: Path, metadata: dict[str, str] | None = None):
    path = tmp_path / "x.safetensors"
    save_file(tensors, path, metadata)
    return inspect_file(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64])
def test_kohya_with_its_own_alpha(dtype: torch.dtype, tmp_path: Path) -> None:
    tensors = {**kohya(f"lora_unet_{Q}"), f"lora_unet_{Q}.alpha": torch.tensor(2, dtype=dtype)}
    found = described(tensors, tmp_path, {"ss_network_dim": "4"})
    (module,) = found.modules
    assert (found.format, found.family, found.rank, found.alpha) == (FileFormat.KOHYA, "sd15", 4, 2.0)
    assert (module.component, module.name, module.kind) == ("unet", Q, ModuleKind.LINEAR)
    assert (module.in_features, module.out_features) == (8, 6)
    assert found.metadata == {"ss_network_dim": "4"}


@pytest.mark.parametrize("alpha", [None, 0.0])
def test_alpha_missing_or_zero_means_rank(alpha: float | None, tmp_path: Path) -> None:
    tensors = kohya(f"lora_unet_{Q}")
    if alpha is not None:
        tensors[f"lora_unet_{Q}.alpha"] = torch.tensor(alpha)
    assert described(tensors, tmp_path).alpha == 4.0


@pytest.mark.parametrize(
    ("names", "context", "family"),
    [
        ([f"lora_unet_{Q}", f"lora_unet_{K2}"], 768, "sd15"),
        ([f"lora_unet_{Q}", f"lora_unet_{K2}"], 64, "sd15"),
        ([f"lora_unet_{K2}"], 1024, "sd2"),
        ([f"lora_unet_{K2}"], 2048, "sdxl"),
        (["lora_unet_down_blocks_1_attentions_0_transformer_blocks_1_attn1_to_q"], 8, "sdxl"),
        (["lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"], 8, "sdxl"),
        (["lora_te_text_model_encoder_layers_0_mlp_fc1"], 8, "sd15"),
        (
            ["lora_te1_text_model_encoder_layers_0_mlp_fc1", "lora_te2_text_model_encoder_layers_0_mlp_fc1"],
            8,
            "sdxl",
        ),
        (["lora_unet_double_blocks_0_img_attn_qkv"], 8, "flux"),
        (["lora_unet_joint_blocks_0_context_block_attn_qkv"], 8, "sd3"),
        (["lora_unet_something_else"], 8, "unknown"),
    ],
)
def test_families(names: list[str], context: int, family: str, tmp_path: Path) -> None:
    tensors = {}
    for name in names:
        tensors |= kohya(name, inner=context if name.endswith("attn2_to_k") else 8)
    assert described(tensors, tmp_path).family == family


@pytest.mark.parametrize(
    ("key", "down", "up", "name"),
    [
        (f"unet.{DOTTED}", "lora_A", "lora_B", DOTTED),
        (f"unet.{DOTTED}", "lora.down", "lora.up", DOTTED),
        (f"text_encoder.{TEXT}", "lora_linear_layer.down", "lora_linear_layer.up", TEXT),
        ("unet.down_blocks.0.attn1.processor.to_out_lora", "down", "up", "down_blocks.0.attn1.to_out.0"),
        ("text_encoder.text_model.encoder.layers.0.self_attn.to_q_lora", "down", "up", TEXT),
    ],
)
def test_diffusers_names(key: str, down: str, up: str, name: str, tmp_path: Path) -> None:
    found = described(pair(key, down, up), tmp_path)
    assert (found.format, found.family) == (FileFormat.DIFFUSERS, "sd15")
    assert [module.name for module in found.modules] == [name]
    assert found.components == (key.split(".")[0],)


def test_diffusers_alphas_come_from_the_config(tmp_path: Path) -> None:
    tensors = {
        **pair(f"unet.{DOTTED}", "lora_A", "lora_B"),
        **pair("unet.mid_block.attentions.0.proj_in", "lora_A", "lora_B"),
        **pair(f"text_encoder.{TEXT}", "lora_A", "lora_B"),
    }
    config = {
        "unet.lora_alpha": 8,
        "unet.alpha_pattern": {"attn1.to_q": 2},
        "text_encoder.lora_alpha": 3,
        "text_encoder.use_rslora": True,
    }
    found = described(tensors, tmp_path, {"lora_adapter_metadata": json.dumps(config)})
    assert {module.name: module.alpha for module in found.modules} == {
        DOTTED: 2,
        "mid_block.attentions.0.proj_in": 8,
        TEXT: 6.0,
    }


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("[", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"unet.use_dora": true}', "DoRA"),
        ('{"unet.lora_alpha": "8"}', "no number"),
        ('{"unet.alpha_pattern": {"(a+)+$": 2}}', "plain module name"),
        ('{"unet.alpha_pattern": {"a": null}}', "object of numbers"),
    ],
)
def test_a_broken_config_is_refused(config: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(LoraFormatError, match=words):
        described(pair(f"unet.{DOTTED}", "lora_A", "lora_B"), tmp_path, {"lora_adapter_metadata": config})


def test_peft_text_lora(tmp_path: Path) -> None:
    found = described(pair("base_model.model.model.layers.0.self_attn.q_proj", "lora_A", "lora_B"), tmp_path)
    assert (found.format, found.family) == (FileFormat.PEFT, "causal_lm")
    assert found.modules[0].name == "model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("parts", "kind", "rank"),
    [
        ({"lora_down.weight": (4, 8, 1, 1), "lora_up.weight": (6, 4, 1, 1)}, ModuleKind.CONV1X1, 4),
        ({"lora_down.weight": (4, 8, 3, 3), "lora_up.weight": (6, 4, 1, 1)}, ModuleKind.CONV3X3, 4),
        (
            {
                "lora_down.weight": (4, 8, 1, 1),
                "lora_mid.weight": (4, 4, 3, 3),
                "lora_up.weight": (6, 4, 1, 1),
            },
            ModuleKind.CONV3X3,
            4,
        ),
        ({"lora_down.weight": (4, 8), "lora_up.weight": (6, 4), "dora_scale": (6, 1)}, ModuleKind.DORA, 4),
        (
            {"hada_w1_a": (6, 2), "hada_w1_b": (2, 8), "hada_w2_a": (6, 2), "hada_w2_b": (2, 8)},
            ModuleKind.LOHA,
            2,
        ),
        ({"lokr_w1": (2, 2), "lokr_w2_a": (3, 2), "lokr_w2_b": (2, 4)}, ModuleKind.LOKR, 2),
        ({"lokr_w1": (2, 2), "lokr_w2": (3, 4)}, ModuleKind.LOKR, None),
    ],
)
def test_kinds(parts: dict[str, tuple[int, ...]], kind: ModuleKind, rank: int | None, tmp_path: Path) -> None:
    tensors = {f"lora_unet_{Q}.{part}": torch.ones(shape) for part, shape in parts.items()}
    (module,) = described(tensors, tmp_path).modules
    assert (module.kind, module.rank) == (kind, rank)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"model.diffusion_model.x.weight": torch.ones(2)}, "'model.diffusion_model.x.weight'"),
        ({**kohya(f"lora_unet_{Q}"), f"lora_unet_{Q}.diff_b": torch.ones(6)}, "diff_b"),
        ({**kohya(f"lora_unet_{Q}"), **pair(f"unet.{DOTTED}", "lora_A", "lora_B")}, "mixes the formats"),
        ({f"lora_unet_{Q}.lora_down.weight": torch.ones(4, 8)}, "no up weight"),
        ({f"lora_unet_{Q}.alpha": torch.ones(())}, "no down and no up"),
        ({**kohya(f"lora_unet_{Q}"), f"lora_unet_{Q}.lora_up.weight": torch.ones(6, 5)}, "do not fit"),
        ({**kohya(f"lora_unet_{Q}", rank=0)}, "do not fit"),
        ({**kohya(f"lora_unet_{Q}"), f"lora_unet_{Q}.alpha": torch.ones(2)}, "not one number"),
        ({**kohya(f"lora_unet_{Q}"), f"lora_unet_{Q}.alpha": torch.tensor(float("nan"))}, "alpha is nan"),
        ({f"lora_unet_{Q}.lora_down.weight": torch.ones(4, 8, dtype=torch.int64)}, "dtype I64"),
        (
            {
                **pair(f"unet.{DOTTED}", "lora_A", "lora_B"),
                **pair(f"unet.{DOTTED}", "lora.down", "lora.up"),
            },
            "says the same",
        ),
    ],
)
def test_refusals_name_the_key(tensors: dict[str, torch.Tensor], words: str, tmp_path: Path) -> None:
    with pytest.raises(LoraFormatError, match=words):
        described(tensors, tmp_path)


def test_a_header_alone_is_enough() -> None:
    content = save({**kohya(f"lora_unet_{Q}"), f"lora_unet_{Q}.alpha": torch.tensor(2.0)})
    header = parse_header(content[: 8 + int.from_bytes(content[:8], "little")], len(content))
    found = inspect(header)
    assert (found.rank, found.modules[0].alpha) == (4, None)
    with pytest.raises(LoraFormatError, match="no tensors"):
        inspect(parse_header(b"\x02" + bytes(7) + b"{}", 10))
