"""The LoraConfig of a file, and what it says about alphas. Free of torch.

diffusers leaves it in the header: key `lora_adapter_metadata`, JSON of LoraConfig fields, each key prefixed
by its component and a dot. PEFT writes `adapter_config.json` beside the file, without components; PEFT files
of our own have the same in the header, for a file in a store stands alone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorakit.errors import LoraFormatError
from lorakit.module_shape import Component

METADATA_KEY = "lora_adapter_metadata"
CONFIG_FILE = "adapter_config.json"
_MAX_CONFIG_BYTES = 1 << 20
# PEFT matches pattern keys as regular expressions against the ends of module names. Those of a file from
# anywhere are not run as such: only plain names, with an optional ^, are read.
_PLAIN_NAME = re.compile(r"^\^?[\w.]+$")


@dataclass(frozen=True, slots=True)
class ComponentConfig:
    """The fields of one component's LoraConfig that change what its weights mean."""

    alpha: float | None
    alpha_pattern: Mapping[str, float]
    rank_scaled: bool
    """rsLoRA: the scale is alpha / sqrt(rank)."""


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """The configs by component."""

    components: Mapping[Component, ComponentConfig]

    def alpha(self, component: Component, module_path: str, rank: int) -> float | None:
        """The alpha whose alpha / rank is the module's scale, or None if the config says nothing."""
        config = self.components.get(component)
        if config is None:
            return None
        alpha = next(
            (value for name, value in config.alpha_pattern.items() if _matches(name, module_path)),
            config.alpha,
        )
        if alpha is None:
            return None
        return alpha * math.sqrt(rank) if config.rank_scaled else alpha


def config_beside(path: Path) -> dict[str, str]:
    """The metadata that the `adapter_config.json` beside a PEFT file stands for; empty if there is none."""
    try:
        with path.with_name(CONFIG_FILE).open(encoding="utf-8", errors="replace") as stream:
            return {METADATA_KEY: stream.read(_MAX_CONFIG_BYTES)}
    except OSError:
        return {}


def peft_alphas(
    metadata: Mapping[str, str], *, by_component: bool = True, file: str | None = None
) -> AdapterConfig | None:
    """The config in a header's metadata, or None if there is none; without components it is that of "".

    Raises LoraFormatError if it is broken.
    """
    text = metadata.get(METADATA_KEY)
    if text is None:
        return None
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        raise LoraFormatError("is not JSON", file=file, key=METADATA_KEY) from None
    if not isinstance(members, dict):
        raise LoraFormatError("is not a JSON object", file=file, key=METADATA_KEY)
    if not by_component:
        return AdapterConfig({"": _component(members, file)})
    fields: dict[Component, dict[str, Any]] = {}
    for name, value in members.items():
        component, _, field = name.partition(".")
        fields.setdefault(component, {})[field] = value
    return AdapterConfig({component: _component(values, file) for component, values in fields.items()})


def _component(values: Mapping[str, Any], file: str | None) -> ComponentConfig:
    if values.get("use_dora"):
        raise LoraFormatError("asks for DoRA, which is not served", file=file, key=METADATA_KEY)
    pattern = values.get("alpha_pattern") or {}
    alpha = values.get("lora_alpha")
    if not isinstance(pattern, dict) or not all(_is_number(value) for value in pattern.values()):
        raise LoraFormatError("alpha_pattern is no object of numbers", file=file, key=METADATA_KEY)
    if alpha is not None and not _is_number(alpha):
        raise LoraFormatError("lora_alpha is no number", file=file, key=METADATA_KEY)
    strange = [name for name in pattern if not _PLAIN_NAME.match(name)]
    if strange:
        raise LoraFormatError(
            f"alpha_pattern {strange[0]!r} is no plain module name", file=file, key=METADATA_KEY
        )
    return ComponentConfig(alpha, pattern, bool(values.get("use_rslora", False)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _matches(pattern: str, module_path: str) -> bool:
    if pattern.startswith("^"):
        return module_path == pattern[1:]
    return module_path == pattern or module_path.endswith("." + pattern)
