"""Tells the base-model family of a LoRA from its module names and shapes. Free of torch.

Names decide first, then the width of the cross-attention's text input; metadata is not believed, for it is
often copied from one file to another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from lorakit.families.naming import TEXT_ENCODER_2, UNET
from lorakit.module_shape import Component

SD15 = "sd15"
SD2 = "sd2"
SDXL = "sdxl"
SD3 = "sd3"
FLUX = "flux"
CAUSAL_LM = "causal_lm"
UNKNOWN = "unknown"

_SD2_CONTEXT = 1024
_SDXL_CONTEXT = 2048
_SGM_NAME = re.compile(r"(input_blocks|middle_block|output_blocks)[_.]")
_UNET_NAME = re.compile(r"(down_blocks|mid_block|up_blocks)[_.]")
# SD 1.5 has one transformer block in each attention module, SDXL two or ten.
_LATER_TRANSFORMER_BLOCK = re.compile(r"transformer_blocks[_.]\d*[1-9]")
_CROSS_ATTENTION_INPUT = re.compile(r"attn2[_.]to[_.][kv]$")
_FLUX_NAME = re.compile(r"(double_blocks|single_blocks|single_transformer_blocks)[_.]")
_SD3_NAME = re.compile(r"(joint_blocks[_.]|transformer_blocks[_.]\d+[_.]attn[_.]add_q_proj)")
_CAUSAL_LM_NAME = re.compile(r"(^|\.)(layers|h)\.\d+\.")
_TEXT_ENCODER_NAME = re.compile(r"(text_model[_.])?encoder[_.]layers[_.]\d+[_.](self_attn|mlp)[_.]")


class NamedModule(Protocol):
    """What detection looks at; `name` is the module's name in the file without its component prefix."""

    @property
    def component(self) -> Component:
        """The model that the module belongs to."""

    @property
    def name(self) -> str:
        """Its name, with dots or underscores."""

    @property
    def in_features(self) -> int | None:
        """How wide its input is, where the file tells."""


def detect_family(modules: Sequence[NamedModule], *, text_only: bool = False) -> str:
    """One of the constants above; `text_only` says that the file is a PEFT one without components."""
    names = [module.name for module in modules]
    for pattern, family in ((_FLUX_NAME, FLUX), (_SD3_NAME, SD3)):
        if any(pattern.search(name) for name in names):
            return family
    if any(_UNET_NAME.match(name) or _SGM_NAME.match(name) for name in names):
        return _unet_family(modules)
    if text_only:
        return CAUSAL_LM if any(_CAUSAL_LM_NAME.search(name) for name in names) else UNKNOWN
    return _text_encoder_family(modules)


def _unet_family(modules: Sequence[NamedModule]) -> str:
    if any(module.component == TEXT_ENCODER_2 or _SGM_NAME.match(module.name) for module in modules):
        return SDXL
    contexts = {
        module.in_features
        for module in modules
        if module.component == UNET and _CROSS_ATTENTION_INPUT.search(module.name)
    }
    if _SDXL_CONTEXT in contexts:
        return SDXL
    if _SD2_CONTEXT in contexts:
        return SD2
    if not contexts and any(_LATER_TRANSFORMER_BLOCK.search(module.name) for module in modules):
        return SDXL
    return SD15


def _text_encoder_family(modules: Sequence[NamedModule]) -> str:
    if not modules or not all(_TEXT_ENCODER_NAME.match(module.name) for module in modules):
        return UNKNOWN
    return SDXL if any(module.component == TEXT_ENCODER_2 for module in modules) else SD15
