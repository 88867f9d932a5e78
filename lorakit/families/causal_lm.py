"""Causal language models: whatever transformers loads as AutoModelForCausalLM from a directory.

B rows, T tokens, V words.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from lorakit.base_digest import base_digest
from lorakit.errors import BaseModelError, quote_all
from lorakit.families.language_layers import ATTENTION, target_of
from lorakit.families.language_tokenizer import load_tokenizer, max_tokens
from lorakit.module_shape import ModuleShape

__all__ = ["FAMILY", "LanguageModel", "load_language_model", "make_linear", "target_modules"]

FAMILY = "causal_lm"


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageModel:
    """A frozen base model in evaluation mode."""

    # transformers does not type what is asked of its models here.
    model: Any
    """PreTrainedModel with a language-modelling head"""
    tokenizer: Any
    """PreTrainedTokenizerFast"""
    layers: Mapping[str, ModuleShape]
    """What a LoRA may sit on: module path -> shape, in the model's order."""
    max_tokens: int
    """The longest text it was made for."""
    sha256: str
    """See lorakit.base_digest."""

    @property
    def family(self) -> str:
        """The family's name in LoRA records."""
        return FAMILY

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return torch.device(self.model.device)

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Tokens after which an answer is over."""
        ends = self.model.generation_config.eos_token_id
        if ends is None:
            ends = self.tokenizer.eos_token_id
        if ends is None:
            return ()
        return tuple(ends) if isinstance(ends, list | tuple) else (int(ends),)


def load_language_model(
    path: Path, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> LanguageModel:
    """Load a directory as transformers saves it, from safetensors alone; nothing is fetched or unpickled, no
    code of the directory is run.

    Raises BaseModelError saying what is missing or wrong.
    """
    digest = base_digest(path)
    _check_config(path)
    tokenizer = load_tokenizer(path)
    model = _load_model(path, dtype)
    model.requires_grad_(False).eval()
    make_linear(model)
    words = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > words:
        raise BaseModelError(f"{path}: the tokenizer has {len(tokenizer)} words, the model {words}")
    model.to(device=device)
    layers = _row_layers(model)
    if not any(target_of(layer) == ATTENTION for layer in layers):
        raise BaseModelError(
            f"{path}: no layers for LoRAs are known in {type(model).__name__}: it has no linear layers in "
            "numbered blocks with attention"
        )
    return LanguageModel(
        model=model,
        tokenizer=tokenizer,
        layers=layers,
        max_tokens=max_tokens(model.config, tokenizer),
        sha256=digest,
    )


def target_modules(base: LanguageModel, targets: Collection[str] | None = None) -> dict[str, ModuleShape]:
    """Module path -> shape of the layers that a LoRA with these targets (None: with all) has."""
    return {
        path: shape for path, shape in base.layers.items() if targets is None or target_of(path) in targets
    }


def _check_config(path: Path) -> None:
    try:
        config = json.loads((path / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BaseModelError(f"{path}/config.json cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise BaseModelError(f"{path}/config.json does not hold a JSON object")
    if config.get("quantization_config"):
        raise BaseModelError(f"{path} is quantised; LoRAs are trained on models as they were published")


def _load_model(path: Path, dtype: torch.dtype) -> Any:
    """The model in its own stock class; a model that lacks weights is refused, not filled with chance."""
    try:
        # The loaders' remarks are about their own code and help nobody.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                str(path),
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError) as error:
        raise BaseModelError(f"{path} cannot be loaded: {error}") from error
    model, found = loaded
    missing = sorted(map(str, found["missing_keys"]))
    if missing:
        raise BaseModelError(f"{path} lacks {len(missing)} weights: {quote_all(missing)}")
    return model


def make_linear(model: nn.Module) -> None:
    """GPT-2 calls its linear layers convolutions and keeps their weights transposed."""
    for path, layer in list(model.named_modules()):
        if isinstance(layer, Conv1D):
            inputs, outputs = layer.weight.shape
            linear = nn.Linear(inputs, outputs, device="meta")
            linear.weight = nn.Parameter(layer.weight.T.contiguous(), requires_grad=False)
            linear.bias = layer.bias
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, linear.eval())


@torch.no_grad()
def _row_layers(model: Any) -> dict[str, ModuleShape]:
    """The linear layers of attention and feed-forward networks that see a batch as rows of tokens.

    Not all do: experts see tokens of many rows together, where no row's LoRA could be told from another's.
    """
    linear = {
        path: layer
        for path, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and target_of(path) is not None
    }
    seen: dict[str, list[torch.Size]] = {path: [] for path in linear}
    hooks = [layer.register_forward_pre_hook(_note_shape(seen[path])) for path, layer in linear.items()]
    rows, tokens = 2, 3
    try:
        ids_BT = torch.arange(rows * tokens, device=model.device).reshape(rows, tokens)
        model(ids_BT % model.get_input_embeddings().num_embeddings, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return {
        path: ModuleShape(layer.in_features, layer.out_features)
        for path, layer in linear.items()
        if seen[path] == [torch.Size((rows, tokens))]
    }


def _note_shape(shapes: list[torch.Size]) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    def note(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        shapes.append(inputs[0].shape[:-1] if inputs else torch.Size())

    return note
