"""How the modules of a base model are named in LoRA files. Free of torch.

kohya: prefix + module path with every `.` turned into `_`, which cannot be turned back by rule (`to_out_0`),
so names are looked up among the base model's own modules. SDXL's UNet has other paths there, those of
lorakit.families.sgm_names, though files with its own occur. diffusers: component + `.` + module path.
In both, text-encoder paths start with `text_model.`, which transformers 5 left out of its module paths.
PEFT, for language models: `base_model.model.` + module path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from lorakit.errors import LoraFormatError
from lorakit.families.sgm_names import sgm_path
from lorakit.module_shape import Component

UNET: Component = "unet"
TEXT_ENCODER: Component = "text_encoder"
TEXT_ENCODER_2: Component = "text_encoder_2"
LANGUAGE_MODEL: Component = "language_model"

KOHYA_PREFIXES: Mapping[str, Component] = MappingProxyType(
    {
        "lora_unet_": UNET,
        "lora_te_": TEXT_ENCODER,
        "lora_te1_": TEXT_ENCODER,
        "lora_te2_": TEXT_ENCODER_2,
    }
)
DIFFUSERS_PREFIXES: Mapping[str, Component] = MappingProxyType(
    {f"{component}.": component for component in (UNET, TEXT_ENCODER, TEXT_ENCODER_2)}
)
PEFT_PREFIX = "base_model.model."
_TEXT_MODEL = "text_model."
_SDXL = "sdxl"


def path_in_file(component: Component, module_path: str) -> str:
    """The module's path as files write it: text encoders' start with `text_model.`, but projections."""
    is_text_encoder = component in (TEXT_ENCODER, TEXT_ENCODER_2)
    needs_prefix = is_text_encoder and not module_path.startswith((_TEXT_MODEL, "text_projection"))
    return _TEXT_MODEL + module_path if needs_prefix else module_path


def kohya_name(component: Component, module_path: str, *, prefix: str) -> str:
    """`lora_unet_down_blocks_0_...` for a module of the base model."""
    return prefix + path_in_file(component, module_path).replace(".", "_")


def written_kohya_name(component: Component, module_path: str, family: str) -> str:
    """The name to write for a module of a base model of that family. Raises LoraFormatError."""
    written = sgm_path(module_path) if family == _SDXL and component == UNET else module_path
    return kohya_name(component, written, prefix=_written_prefix(component, family))


def _written_prefix(component: Component, family: str) -> str:
    # SDXL numbers its text encoders, SD 1.5 does not.
    if component == TEXT_ENCODER:
        return "lora_te1_" if family == _SDXL else "lora_te_"
    for prefix, known in KOHYA_PREFIXES.items():
        if known == component:
            return prefix
    raise LoraFormatError(f"kohya files have no name for the component {component!r}")


def kohya_lookup(modules: Mapping[Component, Iterable[str]]) -> dict[str, tuple[Component, str]]:
    """Every kohya name that a base model's modules may have -> (component, module path).

    A base model with two text encoders is SDXL: its UNet's modules have sgm names too. Raises LoraFormatError
    if two modules share a name, for then no file of this format could be read right.
    """
    found: dict[str, tuple[Component, str]] = {}
    for prefix, component in KOHYA_PREFIXES.items():
        has_sgm_names = component == UNET and TEXT_ENCODER_2 in modules
        for module_path in modules.get(component, ()):
            for path in {module_path, sgm_path(module_path)} if has_sgm_names else (module_path,):
                name = kohya_name(component, path, prefix=prefix)
                if name in found:
                    raise LoraFormatError(
                        f"the modules {found[name][1]} and {module_path} share a name", key=name
                    )
                found[name] = (component, module_path)
    return found


def diffusers_lookup(modules: Mapping[Component, Iterable[str]]) -> dict[str, tuple[Component, str]]:
    """Every `component.path` name -> (component, module path), with and without `text_model.`."""
    found: dict[str, tuple[Component, str]] = {}
    for component, paths in modules.items():
        for module_path in paths:
            for written in (module_path, path_in_file(component, module_path)):
                found[f"{component}.{written}"] = (component, module_path)
    return found


def peft_lookup(modules: Mapping[Component, Iterable[str]]) -> dict[str, tuple[Component, str]]:
    """Every `base_model.model.path` name of a language model's modules -> (component, module path)."""
    return {PEFT_PREFIX + path: (LANGUAGE_MODEL, path) for path in modules.get(LANGUAGE_MODEL, ())}
