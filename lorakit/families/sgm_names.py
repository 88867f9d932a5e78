"""The names of SDXL's UNet modules in Stability's own code (sgm), and so in sd-scripts. Free of torch.

There the blocks of all levels are numbered through: `down_blocks.1.attentions.0` is `input_blocks.4.1`.
"""

from __future__ import annotations

import re

LAYERS_PER_BLOCK = 2
"""Of every SDXL UNet; the numbers depend on it."""
_STRIDE = LAYERS_PER_BLOCK + 1
_KINDS = {"resnets": "0", "attentions": "1"}
_LAYER = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.+)")
_RESAMPLER = re.compile(r"(down|up)_blocks\.(\d+)\.(?:down|up)samplers\.0\.conv")
_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)")
_RESNET_PARTS = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_OUTSIDE = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def sgm_path(module_path: str) -> str:
    """`input_blocks.4.1.proj_in` for diffusers' `down_blocks.1.attentions.0.proj_in`; a path that sgm has no
    other name for stays as it is.
    """
    if match := _LAYER.fullmatch(module_path):
        side, level, kind, layer, rest = match.groups()
        # Before the first level comes conv_in.
        number = int(level) * _STRIDE + int(layer) + (side == "down")
        block = "input_blocks" if side == "down" else "output_blocks"
        return f"{block}.{number}.{_KINDS[kind]}.{_inner(kind, rest)}"
    if match := _MIDDLE.fullmatch(module_path):
        kind, layer, rest = match.groups()
        number = 1 if kind == "attentions" else 2 * int(layer)
        return f"middle_block.{number}.{_inner(kind, rest)}"
    if match := _RESAMPLER.fullmatch(module_path):
        number = (int(match[2]) + 1) * _STRIDE
        # Going up, the level's last block enlarges after its attention, which every such level of SDXL has.
        return f"input_blocks.{number}.0.op" if match[1] == "down" else f"output_blocks.{number - 1}.2.conv"
    return _OUTSIDE.get(module_path, module_path)


def _inner(kind: str, rest: str) -> str:
    return _RESNET_PARTS.get(rest, rest) if kind == "resnets" else rest
