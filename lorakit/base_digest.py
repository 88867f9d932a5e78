"""The digest by which a base model is known everywhere. Free of torch.

A single file: the SHA-256 of its bytes. A directory (a diffusers pipeline, or a language model as
transformers saves it): the SHA-256 over one line ``<relative path>\\0<SHA-256 of the file>\\n`` for each
file that the engines read, sorted by path: the weights under their stock names, the configurations and the
tokenizer's texts. Nothing else counts (read-me files, pictures, hidden files, weights in another precision
beside the stock ones, the safety checker), so a model has one digest whether its directory was copied,
documented better or fetched only in part.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from lorakit.errors import BaseModelError

_INDEX = "model_index.json"
_CONFIG = "config.json"
# Weights, perhaps in several files and then with an index; configurations; the tokenizer's merges.
_OF_PIPELINE = re.compile(
    r"(?P<component>\w[\w-]*)/(?:(?:diffusion_pytorch_)?model(?:-\d{5}-of-\d{5})?\.safetensors"
    r"|(?:diffusion_pytorch_)?model\.safetensors\.index\.json|\w[\w-]*\.(?:json|txt))",
    re.ASCII,
)
# Chat templates and sentencepiece vocabularies too.
_OF_LANGUAGE_MODEL = re.compile(
    r"model(?:-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json|\w[\w-]*\.(?:json|txt|jinja|model)",
    re.ASCII,
)
_UNREAD_COMPONENTS = frozenset({"safety_checker", "feature_extractor", "image_encoder"})
_CHUNK_BYTES = 1 << 20


def counts(name: str) -> bool:
    """Whether the file at that path (relative to a model's directory, with slashes) may be part of it."""
    return _OF_LANGUAGE_MODEL.fullmatch(name) is not None or _counts_in_pipeline(name)


def counted_files(directory: Path) -> list[Path]:
    """The files of a base model's directory that make it what it is, sorted by relative path.

    Of a pipeline only ``model_index.json`` and the components beside it count: nothing deeper, nothing
    hidden. A language model, which has a ``config.json`` instead, lies in one directory without any below it.
    """
    files = [file for file in directory.iterdir() if file.is_file()]
    if not is_pipeline(directory):
        return sorted(
            (file for file in files if _OF_LANGUAGE_MODEL.fullmatch(file.name)), key=lambda file: file.name
        )
    for component in directory.iterdir():
        if component.is_dir():
            files += [file for file in component.iterdir() if file.is_file()]
    names = {file.relative_to(directory).as_posix(): file for file in files}
    return [names[name] for name in sorted(names) if _counts_in_pipeline(name)]


def is_pipeline(directory: Path) -> bool:
    """Whether a directory is a diffusers pipeline."""
    return (directory / _INDEX).is_file()


def is_language_model(directory: Path) -> bool:
    """Whether a directory is a model as transformers saves it."""
    return not is_pipeline(directory) and (directory / _CONFIG).is_file()


def base_digest(path: Path) -> str:
    """Lower-case hexadecimal SHA-256 of a base model. Raises BaseModelError if there is none at ``path``."""
    if path.is_file():
        return _file_digest(path)
    if not is_pipeline(path) and not is_language_model(path):
        raise BaseModelError(
            f"{path} is neither a checkpoint file nor a pipeline directory with a {_INDEX} "
            f"nor a language model's with a {_CONFIG}"
        )
    whole = hashlib.sha256()
    for file in counted_files(path):
        whole.update(f"{file.relative_to(path).as_posix()}\0{_file_digest(file)}\n".encode())
    return whole.hexdigest()


def _file_digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _counts_in_pipeline(name: str) -> bool:
    match = _OF_PIPELINE.fullmatch(name)
    return name == _INDEX or (match is not None and match["component"] not in _UNREAD_COMPONENTS)
