"""The digest that names a base model, for registering one that lies on this machine.

A single file: the SHA-256 of its bytes. A pipeline directory: the SHA-256 over one line
`<relative path>\\0<SHA-256 of the file>\\n` for `model_index.json` and each .safetensors, .json and .txt
file of the components beside it, sorted by path. Hidden files and deeper folders do not count. The engines
compute it anew and refuse a model that differs.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from brandloom.errors import ConfigurationError

_COUNTED_SUFFIXES: Final = frozenset({".safetensors", ".json", ".txt"})


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
        if component.is_dir() and not component.name.startswith("."):
            files.extend(file for file in component.iterdir() if _counts(file))
    names = {file.relative_to(root).as_posix(): file for file in files}
    lines = (f"{name}\0{_file_digest(names[name])}\n" for name in sorted(names))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _counts(file: Path) -> bool:
    return file.is_file() and file.suffix in _COUNTED_SUFFIXES and not file.name.startswith(".")


def _file_digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
