"""LoRA files made by hand, byte for byte, so that tests depend on no writer."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence

Tensor = tuple[str, Sequence[int], bytes]


def safetensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """A file of the tensors (dtype, shape, bytes) in the given order."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    data = b""
    for name, (dtype, shape, content) in tensors.items():
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": offsets}
        data += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def halves(*shape: int, seed: int = 1) -> Tensor:
    """Float16 numbers of that shape; the seed only makes the bytes differ."""
    count = 1
    for size in shape:
        count *= size
    return "F16", shape, struct.pack("<e", seed / 1000) * count


def kohya_file(
    *,
    rank: int = 4,
    alpha: float = 2.0,
    context: int = 768,
    seed: int = 1,
    metadata: Mapping[str, str] | None = None,
    blocks: int = 1,
) -> bytes:
    """One cross-attention projection in each block, and one text-encoder module."""
    modules = {
        f"lora_unet_down_blocks_{block}_attentions_0_transformer_blocks_0_attn2_to_k": (context, 32)
        for block in range(blocks)
    }
    modules["lora_te_text_model_encoder_layers_0_self_attn_q_proj"] = (64, 64)
    tensors: dict[str, Tensor] = {}
    for name, (inner, outer) in modules.items():
        tensors[f"{name}.alpha"] = ("F32", (), struct.pack("<f", alpha))
        tensors[f"{name}.lora_down.weight"] = halves(rank, inner, seed=seed)
        tensors[f"{name}.lora_up.weight"] = halves(outer, rank, seed=seed)
    return safetensors(tensors, metadata)


def diffusers_file(*, rank: int = 8, lora_alpha: float | None = 16.0) -> bytes:
    """One UNet module with the LoraConfig that diffusers writes."""
    path = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    config = {"unet.r": rank, "unet.lora_alpha": lora_alpha}
    return safetensors(
        {f"{path}.lora_A.weight": halves(rank, 768), f"{path}.lora_B.weight": halves(32, rank)},
        {"lora_adapter_metadata": json.dumps(config)} if lora_alpha is not None else None,
    )


def peft_file(rank: int = 4) -> bytes:
    """One module of a causal language model."""
    path = "base_model.model.model.layers.0.self_attn.q_proj"
    return safetensors({f"{path}.lora_A.weight": halves(rank, 64), f"{path}.lora_B.weight": halves(64, rank)})


def flux_file() -> bytes:
    """A LoRA of a family that the registry does not keep."""
    name = "lora_unet_double_blocks_0_img_attn_qkv"
    return safetensors({f"{name}.lora_down.weight": halves(4, 64), f"{name}.lora_up.weight": halves(64, 4)})
