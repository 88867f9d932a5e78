"""SDXL's LoRA files: written with sgm names, read with those and with diffusers', as by stock diffusers."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from lorakit.adapter import Adapter, LoraWeights, load_adapter, save_kohya
from lorakit.errors import LoraFormatError, LoraMismatchError
from lorakit.families.naming import kohya_lookup, written_kohya_name
from lorakit.families.sgm_names import sgm_path
from lorakit.families.targets import Target, module_shapes, target_modules
from lorakit.formats import inspect_file
from tests.fixtures.tiny_sd import tiny_pipeline
from tests.fixtures.tiny_sdxl import tiny_sdxl_pipeline

COMPONENTS = ("unet", "text_encoder", "text_encoder_2")


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionXLPipeline:
    return tiny_sdxl_pipeline()


@pytest.fixture(scope="module")
def base_modules(pipeline: StableDiffusionXLPipeline) -> dict[str, Any]:
    return {component: module_shapes(getattr(pipeline, component)) for component in COMPONENTS}


def random_adapter(pipeline: StableDiffusionXLPipeline, components: tuple[str, ...] = COMPONENTS) -> Adapter:
    generator = torch.Generator().manual_seed(1)
    parts: dict[str, dict[str, LoraWeights]] = {}
    for component in components:
        for path, shape in target_modules(component, getattr(pipeline, component), list(Target)).items():
            down = torch.randn(3, shape.in_features, generator=generator) * 0.3
            up = torch.randn(shape.out_features, 3, generator=generator) * 0.3
            parts.setdefault(component, {})[path] = LoraWeights(down, up, 1.5)
    return Adapter(parts, "sdxl")


def merged(pipeline: StableDiffusionXLPipeline, adapter: Adapter) -> StableDiffusionXLPipeline:
    changed = copy.deepcopy(pipeline)
    with torch.no_grad():
        for component, path, weights in adapter.each():
            getattr(changed, component).get_submodule(path).weight += weights.delta()
    return changed


def loaded_by_diffusers(pipeline: StableDiffusionXLPipeline, path: Path) -> StableDiffusionXLPipeline:
    stock = copy.deepcopy(pipeline)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stock.load_lora_weights(str(path.parent), weight_name=path.name)
    return stock


@torch.no_grad()
def predict(pipeline: StableDiffusionXLPipeline) -> torch.Tensor:
    context, _, pooled, _ = pipeline.encode_prompt("a red fox", None, "cpu", 1, False)
    time_ids = torch.tensor([[16.0, 16, 0, 0, 16, 16]])
    z_BCHW = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(9))
    added = {"text_embeds": pooled, "time_ids": time_ids}
    return pipeline.unet(z_BCHW, torch.tensor([500]), context, added_cond_kwargs=added).sample


@pytest.mark.parametrize("components", [COMPONENTS, ("unet",), ("text_encoder",), ("text_encoder_2",)])
def test_diffusers_reads_what_is_written(
    components: tuple[str, ...], pipeline: StableDiffusionXLPipeline, base_modules: Any, tmp_path: Path
) -> None:
    adapter = random_adapter(pipeline, components)
    path = tmp_path / "a.safetensors"
    save_kohya(adapter, path, {}, dtype=torch.float32)
    names = {key.partition(".")[0] for key in load_file(path)}
    assert len(names) == sum(1 for _ in adapter.each())
    prefixes = {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}
    assert {name[: name.index("_", 5) + 1] for name in names} == {prefixes[name] for name in components}
    assert not any("down_blocks" in name or "mid_block_" in name or "up_blocks" in name for name in names)
    if "unet" in components:
        assert "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q" in names
        assert "lora_unet_middle_block_1_transformer_blocks_1_ff_net_0_proj" in names
        assert "lora_unet_output_blocks_5_1_proj_out" in names
    if "text_encoder_2" in components:
        assert "lora_te2_text_model_encoder_layers_2_self_attn_out_proj" in names
    expected = predict(merged(pipeline, adapter))
    assert torch.allclose(predict(loaded_by_diffusers(pipeline, path)), expected, atol=1e-4)
    assert not torch.allclose(predict(pipeline), expected, atol=1e-2)
    read = load_adapter(path, base_modules=base_modules)
    assert {(c, p) for c, p, _ in read.each()} == {(c, p) for c, p, _ in adapter.each()}
    assert torch.allclose(predict(merged(pipeline, read)), expected, atol=1e-6)
    if components != ("text_encoder",):  # SD 1.5 has that one too
        assert read.family == "sdxl"


def test_names_of_diffusers_blocks_are_read_too(
    pipeline: StableDiffusionXLPipeline, base_modules: Any, tmp_path: Path
) -> None:
    adapter = random_adapter(pipeline)
    kohya, dotted = {}, {}
    for component, path, weights in adapter.each():
        prefix = {"unet": "lora_unet", "text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}[component]
        written = path if component == "unet" or path.startswith("text_model.") else f"text_model.{path}"
        name = f"{prefix}_{written.replace('.', '_')}"
        kohya[f"{name}.lora_down.weight"], kohya[f"{name}.lora_up.weight"] = weights.down_RD, weights.up_OR
        kohya[f"{name}.alpha"] = torch.tensor(1.5)
        dotted[f"{component}.{path}.lora_A.weight"] = weights.down_RD
        dotted[f"{component}.{path}.lora_B.weight"] = weights.up_OR * 0.5
    expected = predict(merged(pipeline, adapter))
    for name, tensors in (("kohya", kohya), ("dotted", dotted)):
        path = tmp_path / f"{name}.safetensors"
        save_file(tensors, path)
        assert inspect_file(path).family == "sdxl"
        read = load_adapter(path, base_modules=base_modules)
        assert torch.allclose(predict(merged(pipeline, read)), expected, atol=1e-5), name


def test_a_file_saved_by_diffusers(
    pipeline: StableDiffusionXLPipeline, base_modules: Any, tmp_path: Path
) -> None:
    trained = copy.deepcopy(pipeline)
    targets = {"unet": ["to_q", "proj_in"], "text_encoder": ["q_proj"], "text_encoder_2": ["fc1"]}
    layers, alphas = {}, {}
    for alpha, (component, names) in enumerate(targets.items(), start=3):
        config = LoraConfig(r=2, lora_alpha=alpha, target_modules=names, init_lora_weights=False)
        getattr(trained, component).add_adapter(config)
        layers[f"{component}_lora_layers"] = get_peft_model_state_dict(getattr(trained, component))
        alphas[f"{component}_lora_adapter_metadata"] = {"r": 2, "lora_alpha": alpha}
    StableDiffusionXLPipeline.save_lora_weights(str(tmp_path), **layers, **alphas)
    path = tmp_path / "pytorch_lora_weights.safetensors"
    assert inspect_file(path).family == "sdxl"
    read = load_adapter(path, base_modules=base_modules)
    assert torch.allclose(predict(merged(pipeline, read)), predict(trained), atol=1e-4)


def test_sgm_names_are_those_of_checkpoints_in_one_file(pipeline: StableDiffusionXLPipeline) -> None:
    unet = pipeline.unet.state_dict()
    written = {}
    for key, value in unet.items():
        path, _, leaf = key.rpartition(".")
        written[f"model.diffusion_model.{sgm_path(path)}.{leaf}"] = value
    assert len(written) == len(unet)
    assert not any("down_blocks" in key or "mid_block." in key or "up_blocks" in key for key in written)
    read = convert_ldm_unet_checkpoint(dict(written), dict(pipeline.unet.config))
    assert read.keys() == unet.keys()
    assert all(torch.equal(read[key], unet[key]) for key in unet)


def test_the_published_size_has_the_modules_that_kohya_trains() -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
            cross_attention_dim=2048,
            attention_head_dim=(5, 10, 20),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )
        shapes = target_modules("unet", unet, list(Target))
    names = {written_kohya_name("unet", path, "sdxl") for path in shapes}
    # As many as sd-scripts says that it makes.
    assert len(names) == 722
    blocks = {"_".join(name.removeprefix("lora_unet_").split("_")[:4]) for name in names}
    inputs = {f"input_blocks_{number}_1" for number in (4, 5, 7, 8)}
    outputs = {f"output_blocks_{number}_1" for number in range(6)}
    assert {block for block in blocks if not block.startswith("middle")} == inputs | outputs
    assert "lora_unet_middle_block_1_transformer_blocks_9_attn2_to_out_0" in names


def test_a_locon_file_with_sgm_names(
    pipeline: StableDiffusionXLPipeline, base_modules: Any, tmp_path: Path
) -> None:
    tensors = {}
    for name, inputs, outputs in (
        ("lora_unet_input_blocks_1_0_in_layers_2", 16, 16),
        ("lora_unet_input_blocks_3_0_op", 16, 16),
        ("lora_unet_output_blocks_5_2_conv", 32, 32),
    ):
        tensors[f"{name}.lora_down.weight"] = torch.randn(2, inputs, 3, 3) * 0.3
        tensors[f"{name}.lora_up.weight"] = torch.randn(outputs, 2, 1, 1) * 0.3
    path = tmp_path / "locon.safetensors"
    save_file(tensors, path)
    expected = predict(merged(pipeline, load_adapter(path, base_modules=base_modules)))
    assert torch.allclose(predict(loaded_by_diffusers(pipeline, path)), expected, atol=1e-4)
    assert not torch.allclose(predict(pipeline), expected, atol=1e-3)


def test_files_of_the_other_family_are_refused(
    pipeline: StableDiffusionXLPipeline, base_modules: Any, tmp_path: Path
) -> None:
    path = tmp_path / "xl.safetensors"
    save_kohya(random_adapter(pipeline), path, {})
    small = tiny_pipeline()
    shapes = {"unet": module_shapes(small.unet), "text_encoder": module_shapes(small.text_encoder)}
    with pytest.raises(LoraMismatchError, match=r"are not in the base model \(the file looks like sdxl\)"):
        load_adapter(path, base_modules=shapes)


def test_one_module_under_both_names_is_refused(base_modules: Any, tmp_path: Path) -> None:
    tensors = {}
    for block in ("down_blocks_1_attentions_0", "input_blocks_4_1"):
        name = f"lora_unet_{block}_proj_in"
        tensors |= {
            f"{name}.lora_down.weight": torch.ones(2, 32),
            f"{name}.lora_up.weight": torch.ones(32, 2),
        }
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(LoraFormatError, match="adapted twice"):
        load_adapter(tmp_path / "x.safetensors", base_modules=base_modules)
    with pytest.raises(LoraFormatError, match="share a name"):
        kohya_lookup({"unet": ["a.b_c", "a_b.c"], "text_encoder_2": []})
