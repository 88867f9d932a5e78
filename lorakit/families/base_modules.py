"""What LoRAs may sit on in a base model, told from its configurations: no weights are read."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, CLIPTextConfig, CLIPTextModel
from transformers.models.clip import CLIPTextModelWithProjection

from lorakit.base_digest import is_language_model
from lorakit.errors import BaseModelError, LoraFormatError
from lorakit.families import causal_lm, sd15, sdxl
from lorakit.families.language_layers import target_of
from lorakit.families.naming import LANGUAGE_MODEL, TEXT_ENCODER, TEXT_ENCODER_2, UNET
from lorakit.families.pipeline_index import directory_family, read_json
from lorakit.families.sd15_configs import checkpoint_configs
from lorakit.families.targets import module_shapes
from lorakit.module_shape import Component, ModuleShape
from lorakit.safetensors_header import read_header

_CONFIG = "config.json"
_FAULTS = (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError)


@dataclass(frozen=True, slots=True)
class BaseModules:
    """A base model's family, and its layers by component and path."""

    family: str
    shapes: Mapping[Component, Mapping[str, ModuleShape]]


def read_base_modules(path: Path, *, configs: Path | None = None) -> BaseModules:
    """Of a pipeline directory, a language model's directory, or a single file of SD 1.5 (whose configurations
    are those of the pipeline directory `configs`, or worked out from its header).

    Raises BaseModelError saying what is missing or wrong.
    """
    if path.is_dir() and is_language_model(path):
        return BaseModules(causal_lm.FAMILY, {LANGUAGE_MODEL: _language_layers(path)})
    if path.is_file():
        return BaseModules(sd15.FAMILY, _components(sd15.FAMILY, _configs_of_file(path, configs), path))
    family = directory_family(path)
    return BaseModules(family, _components(family, _configs_in(path, family), path))


def _configs_in(path: Path, family: str) -> dict[Component, dict[str, Any]]:
    components = [UNET, TEXT_ENCODER, *([TEXT_ENCODER_2] if family == sdxl.FAMILY else [])]
    return {component: read_json(path / component / _CONFIG) for component in components}


def _configs_of_file(path: Path, configs: Path | None) -> dict[Component, dict[str, Any]]:
    if configs is not None:
        return _configs_in(configs, sd15.FAMILY)
    try:
        made = checkpoint_configs(read_header(path))
    except (BaseModelError, LoraFormatError) as error:
        raise BaseModelError(f"{path.name}: {error}") from error
    return {component: made[f"{component}/{_CONFIG}"] for component in (UNET, TEXT_ENCODER)}


def _components(
    family: str, configs: Mapping[Component, Mapping[str, Any]], path: Path
) -> dict[Component, dict[str, ModuleShape]]:
    try:
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")
            models: dict[Component, nn.Module] = {
                UNET: UNet2DConditionModel.from_config(dict(configs[UNET])),
                TEXT_ENCODER: CLIPTextModel(CLIPTextConfig(**configs[TEXT_ENCODER])),
            }
            if family == sdxl.FAMILY:
                second = CLIPTextConfig(**configs[TEXT_ENCODER_2])
                models[TEXT_ENCODER_2] = CLIPTextModelWithProjection(second)
    except _FAULTS as error:
        raise BaseModelError(f"the configurations of {path.name} make no {family} model: {error}") from error
    return {component: module_shapes(model) for component, model in models.items()}


def _language_layers(path: Path) -> dict[str, ModuleShape]:
    try:
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")
            config = AutoConfig.from_pretrained(str(path), local_files_only=True, trust_remote_code=False)
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
            causal_lm.make_linear(model)
    except _FAULTS as error:
        raise BaseModelError(f"the configuration of {path.name} makes no language model: {error}") from error
    return {name: shape for name, shape in module_shapes(model).items() if target_of(name) is not None}
