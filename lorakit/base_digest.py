"""The digest by which a base model is known everywhere. Free of torch.

A single file: the SHA-256 of its bytes. A directory (a diffusers pipeline, or a language model as
transformers saves it): the SHA-256 over one line ``<relative path>\\0<SHA-256 of the file>\\n`` for each
weight and configuration file, sorted by path. Read-me files, pictures and hidden files do not count, so a
directory copied elsewhere or documented better keeps its digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

from lorakit.errors import BaseModelError

COUNTED_SUFFIXES = frozenset({".safetensors", ".json", ".txt"})
"""Weights, configurations, and the tokenizer's merges."""
LANGUAGE_MODEL_SUFFIXES = COUNTED_SUFFIXES | {".jinja", ".model"}
"""Chat templates and sentencepiece vocabularies too."""
_CHUNK_BYTES = 1 << 20


def counted_files(directory: Path) -> list[Path]:
    """The files of a base model's directory that make it what it is, sorted by relative path.

    Of a pipeline only ``model_index.json`` and the components beside it count: nothing deeper, nothing
    hidden. A language model, which has a ``config.json`` instead, lies in one directory without any below it.
    """
    if not is_pipeline(directory):
        return sorted(_counted(directory, LANGUAGE_MODEL_SUFFIXES), key=lambda file: file.name)
    found = [directory / "model_index.json"]
    for component in directory.iterdir():
        if component.is_dir() and not component.name.startswith("."):
            found += _counted(component, COUNTED_SUFFIXES)
    return sorted(found, key=lambda file: file.relative_to(directory).as_posix())


def is_pipeline(directory: Path) -> bool:
    """Whether a directory is a diffusers pipeline."""
    return (directory / "model_index.json").is_file()


def is_language_model(directory: Path) -> bool:
    """Whether a directory is a model as transformers saves it."""
    return not is_pipeline(directory) and (directory / "config.json").is_file()


def base_digest(path: Path) -> str:
    """Lower-case hexadecimal SHA-256 of a base model. Raises BaseModelError if there is none at ``path``."""
    if path.is_file():
        return _file_digest(path)
    if not is_pipeline(path) and not is_language_model(path):
        raise BaseModelError(
            f"{path} is neither a checkpoint file nor a pipeline directory with a model_index.json "
            "nor a language model's with a config.json"
        )
    whole = hashlib.sha256()
    for file in counted_files(path):
        whole.update(f"{file.relative_to(path).as_posix()}\0{_file_digest(file)}\n".encode())
    return whole.hexdigest()


def _counted(directory: Path, suffixes: Collection[str]) -> list[Path]:
    return [
        file
        for file in directory.iterdir()
        if file.is_file() and file.suffix in suffixes and not file.name.startswith(".")
    ]


def _file_digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
