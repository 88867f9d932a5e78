"""The digest by which a base model is known everywhere. Free of torch.

A single file: the SHA-256 of its bytes. A pipeline directory: the SHA-256 over one line
``<relative path>\\0<SHA-256 of the file>\\n`` for each file that the engines read, sorted by path: the
weights under their stock names, the configurations and the tokenizer's texts. Nothing else counts (read-me
files, pictures, hidden files, weights in another precision beside the stock ones, the safety checker), so a
model has one digest whether its directory was copied, documented better or fetched only in part.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from lorakit.errors import BaseModelError

_INDEX = "model_index.json"
# Weights, perhaps in several files and then with an index; configurations; the tokenizer's merges.
_COUNTED = re.compile(
    r"(?P<component>\w[\w-]*)/(?:(?:diffusion_pytorch_)?model(?:-\d{5}-of-\d{5})?\.safetensors"
    r"|(?:diffusion_pytorch_)?model\.safetensors\.index\.json|\w[\w-]*\.(?:json|txt))",
    re.ASCII,
)
_UNREAD_COMPONENTS = frozenset({"safety_checker", "feature_extractor", "image_encoder"})
_CHUNK_BYTES = 1 << 20


def counts(name: str) -> bool:
    """Whether the file at that path, relative to a pipeline directory, with slashes, is part of the model."""
    match = _COUNTED.fullmatch(name)
    return name == _INDEX or (match is not None and match["component"] not in _UNREAD_COMPONENTS)


def counted_files(directory: Path) -> list[Path]:
    """The files of a pipeline directory that make it what it is, sorted by relative path.

    Only ``model_index.json`` and the components beside it count: nothing deeper, nothing hidden.
    """
    found = [directory / _INDEX]
    for component in directory.iterdir():
        if component.is_dir():
            found += [file for file in component.iterdir() if file.is_file()]
    names = {file.relative_to(directory).as_posix(): file for file in found}
    return [names[name] for name in sorted(names) if counts(name)]


def base_digest(path: Path) -> str:
    """Lower-case hexadecimal SHA-256 of a base model. Raises BaseModelError if there is none at ``path``."""
    if path.is_file():
        return _file_digest(path)
    if not (path / _INDEX).is_file():
        raise BaseModelError(f"{path} is neither a checkpoint file nor a pipeline directory with a {_INDEX}")
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
