"""The digest that names a base model, for registering one that lies on this machine.

A single file: the SHA-256 of its bytes. A folder: the SHA-256 over one line
`<relative path>\\0<SHA-256 of the file>\\n` for each file that counts, sorted by path. Those of a pipeline
are `model_index.json` and each .safetensors, .json and .txt file of the components beside it; those of a
language model (`config.json`) are its own files of these kinds, .jinja and .model. Hidden files and deeper
folders do not count. The engines compute it anew and refuse a model that differs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Final

from brandloom.errors import ConfigurationError

_COUNTED_SUFFIXES: Final = frozenset({".safetensors", ".json", ".txt"})
_LANGUAGE_MODEL_SUFFIXES: Final = _COUNTED_SUFFIXES | {".jinja", ".model"}


def base_model_digest(path: str | Path) -> str:
    """Lower-case hex SHA-256 of a checkpoint file or model folder; ConfigurationError for others."""
    root = Path(path).expanduser()
    if root.is_file():
        return _file_digest(root)
    files = _files_of(root)
    names = {file.relative_to(root).as_posix(): file for file in files}
    lines = (f"{name}\0{_file_digest(names[name])}\n" for name in sorted(names))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _files_of(root: Path) -> list[Path]:
    index = root / "model_index.json"
    if index.is_file():
        folders = [folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
        return [index, *(file for folder in folders for file in _counted(folder, _COUNTED_SUFFIXES))]
    if not (root / "config.json").is_file():
        raise ConfigurationError(
            f"{root} is neither a checkpoint file nor a folder with a model_index.json or a config.json"
        )
    return _counted(root, _LANGUAGE_MODEL_SUFFIXES)


def _counted(folder: Path, suffixes: Collection[str]) -> list[Path]:
    return [
        file
        for file in folder.iterdir()
        if file.is_file() and file.suffix in suffixes and not file.name.startswith(".")
    ]


def _file_digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
