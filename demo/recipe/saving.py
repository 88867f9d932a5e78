"""Details of writing models to disk."""

from __future__ import annotations

import json
from pathlib import Path


def forget_origin(directory: Path) -> None:
    """Drop the path that a part was once loaded from: it means nothing to anyone else."""
    for file in directory.glob("*/config.json"):
        config = json.loads(file.read_text())
        if config.pop("_name_or_path", None) is not None:
            file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def read_as_float32(directory: Path) -> None:
    """Let a model stored in float16 be loaded in float32 unless the caller says otherwise.

    transformers loads in the type that the configuration names, diffusers in float32: without this a stock
    pipeline would mix the two, and half precision is slow on a CPU.
    """
    file = directory / "config.json"
    config = json.loads(file.read_text())
    config["dtype"] = "float32"
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
