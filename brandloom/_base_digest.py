"""The digest that names a base model, for registering one that lies on this machine.

A single file: the SHA-256 of its bytes. A folder: the SHA-256 over one line `<relative path>\\0<SHA-256 of
the file>\\n` for each file that the engines read, sorted by path. Of a pipeline these are `model_index.json`,
and of the components beside it the weights under their stock names, the configurations and the tokenizer's
texts; of a language model (`config.json`) its own files of these kinds, .jinja and .model. Weights in another
precision, the safety checker, hidden files and deeper folders do not count. The engines compute it anew and
refuse a model that differs.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final

from brandloom.errors import ConfigurationError

_INDEX: Final = "model_index.json"
_CONFIG: Final = "config.json"
_OF_PIPELINE: Final = re.compile(
    r"(?P<component>\w[\w-]*)/(?:(?:diffusion_pytorch_)?model(?:-\d{5}-of-\d{5})?\.safetensors"
    r"|(?:diffusion_pytorch_)?model\.safetensors\.index\.json|\w[\w-]*\.(?:json|txt))",
    re.ASCII,
)
_OF_LANGUAGE_MODEL: Final = re.compile(
    r"model(?:-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json|\w[\w-]*\.(?:json|txt|jinja|model)",
    re.ASCII,
)
_UNREAD_COMPONENTS: Final = frozenset({"safety_checker", "feature_extractor", "image_encoder"})


def base_model_digest(path: str | Path) -> str:
    """SHA-256 in hexadecimal. Raises ConfigurationError if there is no base model at `path`."""
    root = Path(path).expanduser()
    if root.is_file():
        return _file_digest(root)
    if (root / _INDEX).is_file():
        folders = [folder for folder in root.iterdir() if folder.is_dir()]
        files = [root / _INDEX, *(file for folder in folders for file in folder.iterdir() if file.is_file())]
    elif (root / _CONFIG).is_file():
        files = [file for file in root.iterdir() if file.is_file()]
    else:
        raise ConfigurationError(
            f"{root} is neither a checkpoint file nor a folder with a {_INDEX} or a {_CONFIG}"
        )
    names = {file.relative_to(root).as_posix(): file for file in files}
    counted = sorted(name for name in names if _counts(name))
    lines = (f"{name}\0{_file_digest(names[name])}\n" for name in counted)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _counts(name: str) -> bool:
    if "/" not in name:
        return name == _INDEX or _OF_LANGUAGE_MODEL.fullmatch(name) is not None
    match = _OF_PIPELINE.fullmatch(name)
    return match is not None and match["component"] not in _UNREAD_COMPONENTS


def _file_digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
