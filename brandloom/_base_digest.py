"""The digest that names a base model, for registering one that lies on this machine.

A single file: the SHA-256 of its bytes. A pipeline directory: the SHA-256 over one line `<relative
path>\\0<SHA-256 of the file>\\n` for each file that the engines read, sorted by path: `model_index.json`, and
of the components beside it the weights under their stock names, the configurations and the tokenizer's texts.
Weights in another precision, the safety checker, hidden files and deeper folders do not count. The engines
compute it anew and refuse a model that differs.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final

from brandloom.errors import ConfigurationError

_COUNTED: Final = re.compile(
    r"(?P<component>\w[\w-]*)/(?:(?:diffusion_pytorch_)?model(?:-\d{5}-of-\d{5})?\.safetensors"
    r"|(?:diffusion_pytorch_)?model\.safetensors\.index\.json|\w[\w-]*\.(?:json|txt))",
    re.ASCII,
)
_UNREAD_COMPONENTS: Final = frozenset({"safety_checker", "feature_extractor", "image_encoder"})


def base_model_digest(path: str | Path) -> str:
    """Lower-case hex SHA-256 of a checkpoint file or pipeline directory; ConfigurationError for others."""
    root = Path(path).expanduser()
    if root.is_file():
        return _file_digest(root)
    index = root / "model_index.json"
    if not index.is_file():
        raise ConfigurationError(f"{root} is neither a checkpoint file nor a folder with a model_index.json")
    files = [index]
    for component in root.iterdir():
        if component.is_dir():
            files.extend(file for file in component.iterdir() if file.is_file())
    names = {file.relative_to(root).as_posix(): file for file in files}
    counted = sorted(name for name in names if name == index.name or _counts(name))
    lines = (f"{name}\0{_file_digest(names[name])}\n" for name in counted)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _counts(name: str) -> bool:
    match = _COUNTED.fullmatch(name)
    return match is not None and match["component"] not in _UNREAD_COMPONENTS


def _file_digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
