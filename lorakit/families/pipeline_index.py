"""What a pipeline directory says of itself. Free of torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lorakit.errors import BaseModelError

_FAMILIES: Final[Mapping[str, str]] = {
    "StableDiffusionPipeline": "sd15",
    "StableDiffusionXLPipeline": "sdxl",
}


def directory_family(path: Path) -> str:
    """The family of a pipeline directory, by its index. Raises BaseModelError for one that is not known."""
    found = pipeline_class(path)
    if found not in _FAMILIES:
        raise BaseModelError(f"{path} is a {found!r}; known are {', '.join(_FAMILIES)}")
    return _FAMILIES[found]


def pipeline_class(path: Path) -> str:
    """The class that the index of a pipeline directory names. Raises BaseModelError if there is none."""
    return str(read_json(path / "model_index.json").get("_class_name"))


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises BaseModelError."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BaseModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise BaseModelError(f"{path} does not hold a JSON object")
    return content
