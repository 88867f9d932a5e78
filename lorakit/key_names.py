"""Takes the tensor names of LoRA files apart: which format, component, module and part each one names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType

from lorakit.families.naming import DIFFUSERS_PREFIXES, KOHYA_PREFIXES, PEFT_PREFIX, UNET
from lorakit.module_shape import Component


class FileFormat(StrEnum):
    """The three layouts of names that LoRA files have."""

    KOHYA = "kohya"
    DIFFUSERS = "diffusers"
    PEFT = "peft"


class Part(StrEnum):
    """What one tensor is to its module."""

    DOWN = "down"
    UP = "up"
    MID = "mid"
    ALPHA = "alpha"
    DORA = "dora"
    HADA = "hada"
    LOKR = "lokr"


_KOHYA_PARTS: Mapping[str, Part] = MappingProxyType(
    {
        "lora_down.weight": Part.DOWN,
        "lora_up.weight": Part.UP,
        "lora_mid.weight": Part.MID,
        "alpha": Part.ALPHA,
        "dora_scale": Part.DORA,
        **{f"hada_{leaf}": Part.HADA for leaf in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")},
        **{f"lokr_{leaf}": Part.LOKR for leaf in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2")},
    }
)
_PEFT_PARTS: Mapping[str, Part] = MappingProxyType(
    {
        ".lora_A.weight": Part.DOWN,
        ".lora_B.weight": Part.UP,
        ".lora_magnitude_vector": Part.DORA,
        ".lora_magnitude_vector.weight": Part.DORA,
    }
)
_DIFFUSERS_PARTS: Mapping[str, Part] = MappingProxyType(
    {
        **_PEFT_PARTS,
        ".lora.down.weight": Part.DOWN,
        ".lora.up.weight": Part.UP,
        ".lora_linear_layer.down.weight": Part.DOWN,
        ".lora_linear_layer.up.weight": Part.UP,
        ".alpha": Part.ALPHA,
        ".dora_scale": Part.DORA,
    }
)
_REMEMBERED = 8192
"""Names: those of one base occur in each of its LoRAs."""
# The attention processors of diffusers before 0.22: `attn1.processor.to_out_lora.down.weight`; its text
# encoders: `self_attn.to_out_lora.down.weight`.
_PROCESSOR_KEY = re.compile(
    r"^(?P<path>.+?)(?P<processor>\.processor)?\.to_(?P<leaf>[qkv]|out)_lora(?P<rest>\..+)$"
)


@dataclass(frozen=True, slots=True)
class KeyName:
    """One tensor name taken apart; `name` is the module's without the prefix, `leaf` the part's own."""

    format: FileFormat
    prefix: str
    component: Component
    name: str
    part: Part
    leaf: str


@lru_cache(maxsize=_REMEMBERED)
def split_key(key: str) -> KeyName | None:
    """The parts of a tensor's name, or None if no format has such a name."""
    if key.startswith(PEFT_PREFIX):
        return _split_dotted(key, PEFT_PREFIX, "", FileFormat.PEFT, _PEFT_PARTS)
    for prefix, component in KOHYA_PREFIXES.items():
        if key.startswith(prefix):
            name, _, leaf = key.removeprefix(prefix).partition(".")
            part = _KOHYA_PARTS.get(leaf)
            return KeyName(FileFormat.KOHYA, prefix, component, name, part, leaf) if part and name else None
    for prefix, component in DIFFUSERS_PREFIXES.items():
        if key.startswith(prefix):
            return _split_dotted(
                _modern(key, component), prefix, component, FileFormat.DIFFUSERS, _DIFFUSERS_PARTS
            )
    return None


def _split_dotted(
    key: str, prefix: str, component: Component, file_format: FileFormat, parts: Mapping[str, Part]
) -> KeyName | None:
    path = key.removeprefix(prefix)
    for suffix, part in parts.items():
        if path.endswith(suffix) and len(path) > len(suffix):
            return KeyName(file_format, prefix, component, path.removesuffix(suffix), part, suffix[1:])
    return None


def _modern(key: str, component: Component) -> str:
    match = _PROCESSOR_KEY.match(key)
    if match is None or (component == UNET) != bool(match["processor"]):
        return key
    leaf = match["leaf"]
    unet_name = "to_out.0" if leaf == "out" else f"to_{leaf}"
    name = unet_name if component == UNET else f"{leaf}_proj"
    return f"{match['path']}.{name}.lora{match['rest']}"
