"""Writes safetensors files: the same tensors and metadata always give the same bytes, whole or not at all.

The safetensors library orders metadata by a hash that changes from process to process, which would give equal
LoRAs unequal digests. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorakit.safetensors_header import DTYPE_BYTES, LENGTH_BYTES, MAX_HEADER_BYTES, METADATA_KEY

_ALIGNMENT = 8


@dataclass(frozen=True, slots=True)
class RawTensor:
    """A tensor as a file holds it: little-endian, row-major; `dtype` as in safetensors ("F16")."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: bytes


def in_file_order(tensors: Iterable[RawTensor]) -> list[RawTensor]:
    """Wide dtypes first, so that all stay aligned, then by name: the order of the safetensors library."""
    return sorted(tensors, key=lambda tensor: (-DTYPE_BYTES[tensor.dtype], tensor.name))


def header_bytes(ordered: Sequence[RawTensor], metadata: Mapping[str, str]) -> bytes:
    """Length field, JSON and padding for tensors that will follow in this order."""
    members: dict[str, object] = {METADATA_KEY: dict(sorted(metadata.items()))} if metadata else {}
    position = 0
    for tensor in ordered:
        end = position + len(tensor.data)
        members[tensor.name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": (position, end)}
        position = end
    text = json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    if len(text) > MAX_HEADER_BYTES:
        raise ValueError(f"the header would take {len(text)} bytes, more than {MAX_HEADER_BYTES}")
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


def write_safetensors(path: Path, tensors: Iterable[RawTensor], metadata: Mapping[str, str]) -> str:
    """Writes the file at `path` and returns its SHA-256. Raises OSError; `path` then is as it was."""
    ordered = in_file_order(tensors)
    return write_atomically(path, [header_bytes(ordered, metadata), *(tensor.data for tensor in ordered)])


def write_atomically(path: Path, pieces: Iterable[bytes]) -> str:
    """Writes `pieces` beside `path`, flushes them to the disk, then renames; returns their SHA-256."""
    digest = hashlib.sha256()
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            for piece in pieces:
                digest.update(piece)
                stream.write(piece)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise
    return digest.hexdigest()
