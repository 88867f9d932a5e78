"""Reads the parts of a pipeline directory: safetensors alone, by stock classes; nothing is fetched."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError

from lorakit.errors import BaseModelError

_NAMED: Final = 4
"""Weights that a message names."""


def load_model(kind: type[Any], path: Path, component: str, *, dtype: torch.dtype) -> Any:
    """One model of a pipeline directory. Raises BaseModelError, also if its file lacks some weights."""
    model, told = load_part(
        kind, path, component, use_safetensors=True, dtype=dtype, output_loading_info=True
    )
    # The loaders draw what is missing at random, and say so in a log.
    absent = sorted(str(key) for name in ("missing_keys", "mismatched_keys") for key in told[name])
    if absent:
        raise BaseModelError(
            f"the {component} of {path} lacks {len(absent)} weights of a {kind.__name__}, or has them in "
            f"other shapes: {', '.join(absent[:_NAMED])}"
        )
    return model


def load_part(kind: type[Any], path: Path, component: str, **options: Any) -> Any:
    """One component by its own stock class; what the index says of classes and code is not followed."""
    if not (path / component).is_dir():
        raise BaseModelError(f"{path} has no {component}")
    try:
        # The loaders' remarks (deprecated settings, numpy's copies) are about their own code and help nobody.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return kind.from_pretrained(str(path / component), local_files_only=True, **options)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise BaseModelError(f"the {component} of {path} cannot be loaded: {error}") from error
