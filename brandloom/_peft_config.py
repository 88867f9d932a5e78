"""The `adapter_config.json` that PEFT looks for beside its weights, out of the header that holds it too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

WEIGHTS_FILE: Final = "adapter_model.safetensors"
CONFIG_FILE: Final = "adapter_config.json"
_CONFIG_KEY: Final = "lora_adapter_metadata"
_LENGTH_BYTES: Final = 8
_MAX_HEADER_BYTES: Final = 100 << 20


def write_config_beside(weights: Path) -> None:
    """Does nothing for a file under another name, or that holds no configuration. Raises OSError."""
    if weights.name != WEIGHTS_FILE:
        return
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if length > _MAX_HEADER_BYTES:
            return
        header = json.loads(file.read(length))
    config = header.get("__metadata__", {}).get(_CONFIG_KEY)
    if isinstance(config, str):
        (weights.parent / CONFIG_FILE).write_text(config, encoding="utf-8")
