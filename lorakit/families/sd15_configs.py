"""The configurations of a Stable Diffusion 1.x checkpoint in one file, worked out from its header. Free of
torch.

Such a file holds tensors alone, named as the original code named them. Widths, depths and which levels attend
follow from names and shapes. What leaves no trace in them is as it was in every release of Stable Diffusion
1.x: eight attention heads, 32 groups in a norm, the factor and the noise schedule below. A model that differs
in those needs a pipeline directory with its configurations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lorakit.errors import BaseModelError
from lorakit.safetensors_header import SafetensorsHeader

TOKENIZER_REPOSITORY = "openai/clip-vit-large-patch14"
"""Where the hub has CLIP's tokenizer, which no checkpoint holds."""
_UNET = "model.diffusion_model."
_VAE = "first_stage_model."
_TEXT = "cond_stage_model.transformer.text_model."
_NORM_GROUPS = 32
_CONTEXT = "input_blocks.{}.1.transformer_blocks.0.attn2.to_k.weight"
_UNET_HEADS = 8
_TEXT_HEAD_WIDTH = 64
_LATENT_SIDE = 64
_SCALING_FACTOR = 0.18215
_SCHEDULER: Mapping[str, Any] = {
    "_class_name": "DDIMScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
_INDEX: Mapping[str, Any] = {
    "_class_name": "StableDiffusionPipeline",
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
_RESOLUTION = re.compile(r"(\d{2,4})x(\d{2,4})\Z")
# Names that only files of another kind hold, and what those are.
_OTHERS = (
    ("conditioner.embedders.", "an SDXL checkpoint"),
    ("cond_stage_model.model.", "a Stable Diffusion 2 checkpoint"),
    ("model.diffusion_model.joint_blocks.", "a Stable Diffusion 3 checkpoint"),
    ("model.diffusion_model.double_blocks.", "a Flux checkpoint"),
    ("double_blocks.", "a Flux checkpoint"),
    ("lora_", "a LoRA"),
)


def checkpoint_configs(header: SafetensorsHeader) -> dict[str, dict[str, Any]]:
    """Files of a pipeline directory and their JSON, such as ``unet/config.json``; all but the tokenizer's.

    Raises BaseModelError saying which part the file lacks, or what it is instead.
    """
    shapes = {name: entry.shape for name, entry in header.tensors.items()}
    for prefix, what in _OTHERS:
        if any(name.startswith(prefix) for name in shapes):
            raise BaseModelError(f"it is {what}, not one of Stable Diffusion 1.x")
    vae = _vae(shapes)
    factor = 2 ** (len(vae["block_out_channels"]) - 1)
    resolution = stated_resolution(header.metadata) or _LATENT_SIDE * factor
    return {
        "model_index.json": dict(_INDEX),
        "unet/config.json": _unet(shapes) | {"sample_size": resolution // factor},
        "vae/config.json": vae | {"sample_size": resolution},
        "text_encoder/config.json": _text_encoder(shapes),
        "scheduler/scheduler_config.json": {
            **_SCHEDULER,
            "prediction_type": _prediction_type(header.metadata),
        },
    }


def stated_resolution(metadata: Mapping[str, str]) -> int | None:
    """Pixels on a side as ``modelspec.resolution`` has it; None if it tells none, or no square."""
    match = _RESOLUTION.match(metadata.get("modelspec.resolution", ""))
    return int(match[1]) if match and match[1] == match[2] else None


def _prediction_type(metadata: Mapping[str, str]) -> str:
    stated = metadata.get("modelspec.prediction_type", "")
    return "v_prediction" if stated in ("v", "v_prediction") else "epsilon"


Shapes = Mapping[str, tuple[int, ...]]


def _unet(shapes: Shapes) -> dict[str, Any]:
    stem = _shape(shapes, _UNET + "input_blocks.0.0.weight", "UNet", 4)
    widths, attends, depths = _levels(shapes)
    context = _shape(shapes, _UNET + _CONTEXT.format(_first_attention(shapes)), "UNet", 2)[1]
    linear = any(
        name.startswith(_UNET) and name.endswith("proj_in.weight") and len(shape) == 2
        for name, shape in shapes.items()
    )
    if len(set(depths)) != 1:
        raise BaseModelError(f"its UNet's levels have {depths} layers: not the architecture of this family")
    _check_groups(widths, "UNet")
    down = ["CrossAttnDownBlock2D" if attention else "DownBlock2D" for attention in attends]
    up = ["CrossAttnUpBlock2D" if attention else "UpBlock2D" for attention in reversed(attends)]
    return {
        "_class_name": "UNet2DConditionModel",
        "act_fn": "silu",
        "attention_head_dim": _UNET_HEADS,
        "block_out_channels": widths,
        "center_input_sample": False,
        "cross_attention_dim": context,
        "down_block_types": down,
        "downsample_padding": 1,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "in_channels": stem[1],
        "layers_per_block": depths[0],
        "mid_block_scale_factor": 1,
        "norm_eps": 1e-05,
        "norm_num_groups": _NORM_GROUPS,
        "out_channels": _shape(shapes, _UNET + "out.2.weight", "UNet", 4)[0],
        "up_block_types": up,
        "use_linear_projection": linear,
    }


def _first_attention(shapes: Shapes) -> int:
    index = 1
    while any(f"{_UNET}input_blocks.{index}.0.{part}.weight" in shapes for part in ("in_layers.2", "op")):
        if _UNET + _CONTEXT.format(index) in shapes:
            return index
        index += 1
    raise BaseModelError("it holds no UNet that attends to texts")


def _levels(shapes: Shapes) -> tuple[list[int], list[bool], list[int]]:
    """Width, whether it attends, and depth of each level of the UNet's way down."""
    widths: list[int] = []
    attends: list[bool] = []
    depths: list[int] = []
    index, depth, attention = 1, 0, False
    while True:
        block = f"{_UNET}input_blocks.{index}."
        resnet = shapes.get(block + "0.in_layers.2.weight")
        if resnet is not None and resnet:
            depth, width = depth + 1, resnet[0]
            attention = attention or _UNET + _CONTEXT.format(index) in shapes
        elif depth:
            widths.append(width)
            attends.append(attention)
            depths.append(depth)
            depth, attention = 0, False
            if block + "0.op.weight" not in shapes:
                break
        else:
            break
        index += 1
    return widths, attends, depths


def _vae(shapes: Shapes) -> dict[str, Any]:
    stem = _shape(shapes, _VAE + "encoder.conv_in.weight", "autoencoder", 4)
    latent = _shape(shapes, _VAE + "post_quant_conv.weight", "autoencoder", 4)
    widths: list[int] = []
    while (shape := shapes.get(f"{_VAE}encoder.down.{len(widths)}.block.0.conv1.weight")) and len(shape) == 4:
        widths.append(shape[0])
    depth = 0
    while f"{_VAE}encoder.down.0.block.{depth}.conv1.weight" in shapes:
        depth += 1
    if not widths:
        raise BaseModelError("it holds no autoencoder")
    _check_groups(widths, "autoencoder")
    return {
        "_class_name": "AutoencoderKL",
        "act_fn": "silu",
        "block_out_channels": widths,
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "in_channels": stem[1],
        "latent_channels": latent[1],
        "layers_per_block": depth,
        "norm_num_groups": _NORM_GROUPS,
        "out_channels": _shape(shapes, _VAE + "decoder.conv_out.weight", "autoencoder", 4)[0],
        "scaling_factor": _SCALING_FACTOR,
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
    }


def _text_encoder(shapes: Shapes) -> dict[str, Any]:
    words = _shape(shapes, _TEXT + "embeddings.token_embedding.weight", "CLIP text encoder", 2)
    places = _shape(shapes, _TEXT + "embeddings.position_embedding.weight", "CLIP text encoder", 2)
    wide = _shape(shapes, _TEXT + "encoder.layers.0.mlp.fc1.weight", "CLIP text encoder", 2)
    layers = 0
    while f"{_TEXT}encoder.layers.{layers}.mlp.fc1.weight" in shapes:
        layers += 1
    if words[1] % _TEXT_HEAD_WIDTH:
        raise BaseModelError(
            f"its text encoder is {words[1]} wide, no multiple of {_TEXT_HEAD_WIDTH}: how many heads it has "
            "must be told by configurations"
        )
    return {
        "architectures": ["CLIPTextModel"],
        "model_type": "clip_text_model",
        "attention_dropout": 0.0,
        "bos_token_id": words[0] - 2,
        "eos_token_id": words[0] - 1,
        "pad_token_id": words[0] - 1,
        "hidden_act": "quick_gelu",
        "hidden_size": words[1],
        "intermediate_size": wide[0],
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": places[0],
        "num_attention_heads": words[1] // _TEXT_HEAD_WIDTH,
        "num_hidden_layers": layers,
        "projection_dim": words[1],
        "vocab_size": words[0],
    }


def _shape(shapes: Shapes, name: str, part: str, dimensions: int) -> tuple[int, ...]:
    shape = shapes.get(name)
    if shape is None:
        raise BaseModelError(f"it holds no {part} of Stable Diffusion 1.x: there is no {name}")
    if len(shape) != dimensions or 0 in shape:
        raise BaseModelError(f"{name} has the shape {list(shape)}, not that of a {part}")
    return shape


def _check_groups(widths: list[int], part: str) -> None:
    if any(width % _NORM_GROUPS for width in widths):
        raise BaseModelError(
            f"its {part} has the widths {widths}, not all multiples of {_NORM_GROUPS}: how its norms are "
            "grouped must be told by configurations"
        )
