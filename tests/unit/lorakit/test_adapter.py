"""LoRA files become the right numbers: judged by what stock diffusers and peft make of the same files."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from lorakit.adapter import Adapter, LoraWeights, load_adapter, save_kohya
from lorakit.errors import LoraFormatError
from lorakit.families.sd15 import Target, target_modules
from lorakit.hashes import file_sha256, legacy_hash, model_hash
from lorakit.safetensors_header import read_header
from lorakit.safetensors_writer import RawTensor, write_safetensors

TARGETS = frozenset(Target)


def random_adapter(
    pipeline: StableDiffusionPipeline, *, rank: int = 3, alpha: float = 1.5, seed: int = 1
) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    components: dict[str, dict[str, LoraWeights]] = {}
    for component in ("unet", "text_encoder"):
        shapes = target_modules(component, getattr(pipeline, component), TARGETS)
        assert shapes
        for path, shape in shapes.items():
            kernel = shape.kernel_size or ()
            down = torch.randn(rank, shape.in_features, *kernel, generator=generator) * 0.3
            up = torch.randn(shape.out_features, rank, *kernel, generator=generator) * 0.3
            components.setdefault(component, {})[path] = LoraWeights(down, up, alpha)
    return Adapter(components, "sd15")


def merged(pipeline: StableDiffusionPipeline, adapter: Adapter) -> StableDiffusionPipeline:
    changed = copy.deepcopy(pipeline)
    with torch.no_grad():
        for component, path, weights in adapter.each():
            layer = getattr(changed, component).get_submodule(path)
            layer.weight += weights.delta()
    return changed


@torch.no_grad()
def predict(pipeline: StableDiffusionPipeline) -> torch.Tensor:
    generator = torch.Generator().manual_seed(9)
    ids = torch.randint(0, 50, (2, 77), generator=generator)
    context = pipeline.text_encoder(ids).last_hidden_state
    sample = torch.randn(2, 4, 8, 8, generator=generator)
    return pipeline.unet(sample, torch.tensor([10, 500]), context).sample


def loaded_by_diffusers(pipeline: StableDiffusionPipeline, path: Path) -> StableDiffusionPipeline:
    stock = copy.deepcopy(pipeline)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stock.load_lora_weights(str(path.parent), weight_name=path.name)
    return stock


def test_stock_diffusers_reads_what_is_written(
    pipeline: StableDiffusionPipeline, base_modules: Any, tmp_path: Path
) -> None:
    adapter = random_adapter(pipeline)
    path = tmp_path / "mine.safetensors"
    save_kohya(adapter, path, {"ss_network_dim": "3"}, dtype=torch.float32)

    ours = predict(merged(pipeline, adapter))
    assert (ours - predict(pipeline)).abs().max() > 0.1
    assert torch.allclose(predict(loaded_by_diffusers(pipeline, path)), ours, atol=1e-4)
    read = load_adapter(path, base_modules=base_modules)
    assert torch.allclose(predict(merged(pipeline, read)), ours, atol=1e-6)


def test_a_kohya_file_with_another_alpha_and_with_none(
    pipeline: StableDiffusionPipeline, base_modules: Any, tmp_path: Path
) -> None:
    name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    path = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    down, up = torch.randn(4, 64), torch.randn(64, 4)
    tensors = {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
    for alpha, scale in ((None, 1.0), (1.0, 0.25), (8.0, 2.0), (0.0, 1.0)):
        extra = {} if alpha is None else {f"{name}.alpha": torch.tensor(alpha, dtype=torch.float16)}
        file = tmp_path / f"{alpha}.safetensors"
        save_file({**tensors, **extra}, file)
        adapter = load_adapter(file, base_modules=base_modules)
        assert torch.allclose(adapter.components["unet"][path].delta(), scale * up @ down, atol=1e-5)
        if alpha:
            expected = predict(merged(pipeline, adapter))
            assert torch.allclose(predict(loaded_by_diffusers(pipeline, file)), expected, atol=1e-4)


def peft_trained(pipeline: StableDiffusionPipeline, config: LoraConfig) -> StableDiffusionPipeline:
    trained = copy.deepcopy(pipeline)
    text_config = LoraConfig(r=2, lora_alpha=5, target_modules=["q_proj", "fc1"], init_lora_weights=False)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        trained.unet.add_adapter(config)
        trained.text_encoder.add_adapter(text_config)
    return trained


@pytest.mark.parametrize("rslora", [False, True])
def test_a_file_saved_by_diffusers(
    rslora: bool, pipeline: StableDiffusionPipeline, base_modules: Any, tmp_path: Path
) -> None:
    config = LoraConfig(
        r=4,
        lora_alpha=6,
        target_modules=["to_q", "to_out.0", "proj_in"],
        init_lora_weights=False,
        use_rslora=rslora,
    )
    trained = peft_trained(pipeline, config)
    StableDiffusionPipeline.save_lora_weights(
        str(tmp_path),
        unet_lora_layers=get_peft_model_state_dict(trained.unet),
        text_encoder_lora_layers=get_peft_model_state_dict(trained.text_encoder),
        unet_lora_adapter_metadata=config.to_dict() | {"target_modules": ["to_q"]},
        text_encoder_lora_adapter_metadata={"r": 2, "lora_alpha": 5},
    )
    adapter = load_adapter(tmp_path / "pytorch_lora_weights.safetensors", base_modules=base_modules)
    assert torch.allclose(predict(merged(pipeline, adapter)), predict(trained), atol=1e-4)


@pytest.mark.parametrize(
    ("down", "up", "text_model"),
    [
        ("lora.down.weight", "lora.up.weight", True),
        ("lora_linear_layer.down.weight", "lora_linear_layer.up.weight", True),
        ("lora_A.weight", "lora_B.weight", False),
    ],
)
def test_old_diffusers_names(
    down: str, up: str, text_model: bool, pipeline: StableDiffusionPipeline, base_modules: Any, tmp_path: Path
) -> None:
    adapter = random_adapter(pipeline, alpha=3.0)
    tensors = {}
    for component, path, weights in adapter.each():
        inner = "text_model." if component == "text_encoder" and text_model else ""
        tensors[f"{component}.{inner}{path}.{down}"] = weights.down_RD
        tensors[f"{component}.{inner}{path}.{up}"] = weights.up_OR
    save_file(tensors, tmp_path / "old.safetensors")
    read = load_adapter(tmp_path / "old.safetensors", base_modules=base_modules)
    assert {(c, p): w.alpha for c, p, w in read.each()} == {(c, p): 3.0 for c, p, w in adapter.each()}
    assert torch.allclose(predict(merged(pipeline, read)), predict(merged(pipeline, adapter)), atol=1e-6)


def test_linear_and_1x1_convolution_are_the_same_numbers(base_modules: Any, tmp_path: Path) -> None:
    name = "lora_unet_mid_block_attentions_0_proj_in"
    down, up = torch.randn(2, 64), torch.randn(64, 2)
    save_file({f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}, tmp_path / "a.safetensors")
    ((_, _, weights),) = load_adapter(tmp_path / "a.safetensors", base_modules=base_modules).each()
    assert weights.down_RD.shape == (2, 64, 1, 1)
    assert torch.allclose(weights.delta()[:, :, 0, 0], up @ down, atol=1e-5)


def test_a_3x3_convolution(pipeline: StableDiffusionPipeline, base_modules: Any, tmp_path: Path) -> None:
    name = "lora_unet_down_blocks_0_resnets_0_conv1"
    tensors = {
        f"{name}.lora_down.weight": torch.randn(2, 32, 3, 3) * 0.3,
        f"{name}.lora_up.weight": torch.randn(32, 2, 1, 1) * 0.3,
        f"{name}.alpha": torch.tensor(2.0),
    }
    save_file(tensors, tmp_path / "locon.safetensors")
    adapter = load_adapter(tmp_path / "locon.safetensors", base_modules=base_modules)
    stock = loaded_by_diffusers(pipeline, tmp_path / "locon.safetensors")
    assert torch.allclose(predict(stock), predict(merged(pipeline, adapter)), atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_saving_is_deterministic_and_says_its_hashes(
    dtype: torch.dtype, pipeline: StableDiffusionPipeline, tmp_path: Path
) -> None:
    adapter = random_adapter(pipeline)
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    saved = save_kohya(adapter, first, {"ss_b": "1", "modelspec.title": "x", "ss_a": "2"}, dtype=dtype)
    save_kohya(adapter, second, {"ss_a": "2", "ss_b": "1", "modelspec.title": "x"}, dtype=dtype)
    assert first.read_bytes() == second.read_bytes()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.safetensors", "b.safetensors"]
    assert (saved.sha256, saved.size_bytes) == (file_sha256(first), first.stat().st_size)
    metadata = read_header(first).metadata
    assert metadata == saved.metadata
    assert metadata["sshs_model_hash"] == saved.model_hash == model_hash(first)
    assert metadata["modelspec.hash_sha256"] == f"0x{saved.model_hash}"
    tensors = load_file(first)
    alphas = {tensor.item() for key, tensor in tensors.items() if key.endswith(".alpha")}
    assert alphas == {1.5}
    assert {tensor.dtype for key, tensor in tensors.items() if not key.endswith(".alpha")} == {dtype}
    assert any(key.startswith("lora_te_text_model_encoder_layers_0_self_attn_q_proj.") for key in tensors)


def test_the_legacy_hash_is_of_the_file_with_ss_keys_alone(tmp_path: Path) -> None:
    weights = LoraWeights(torch.randn(64, 4096), torch.randn(4096, 64), 1.0)
    adapter = Adapter({"unet": {"a.b": weights}}, "sd15")
    saved = save_kohya(adapter, tmp_path / "a.safetensors", {"ss_x": "1", "other": "y"}, dtype=torch.float32)
    tensors = [
        RawTensor(name, "F32", tuple(tensor.shape), tensor.numpy().tobytes())
        for name, tensor in load_file(tmp_path / "a.safetensors").items()
    ]
    write_safetensors(tmp_path / "plain.safetensors", tensors, {"ss_x": "1"})
    assert saved.metadata["sshs_legacy_hash"] == legacy_hash(tmp_path / "plain.safetensors")
    assert saved.metadata["sshs_legacy_hash"] != legacy_hash(tmp_path / "a.safetensors")


def test_a_failed_save_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"before")
    huge = Adapter({"unet": {"a": LoraWeights(torch.full((1, 2), 1e6), torch.ones(2, 1), 1.0)}}, "sd15")
    with pytest.raises(LoraFormatError, match=r"lora_unet_a.lora_down.weight.*not finite"):
        save_kohya(huge, path, {})
    with pytest.raises(LoraFormatError, match="no modules"):
        save_kohya(Adapter({}, "sd15"), path, {})
    with pytest.raises(TypeError):
        broken = RawTensor("a", "F32", (1,), "text")  # type: ignore[arg-type]
        write_safetensors(path, [broken], {})
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]
