"""The hashes by which LoRA files are known: the file's own, and the two of sd-scripts (AddNet)."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import BinaryIO

from lorakit.safetensors_header import LENGTH_BYTES, header_size

LEGACY_OFFSET = 0x100000
LEGACY_LENGTH = 0x10000
LEGACY_DIGITS = 8
SHORT_DIGITS = 12
# A thread that hashes needs the interpreter once a chunk, and waits for it whenever another is at work.
_CHUNK_BYTES = 1 << 24


def file_sha256(path: Path) -> str:
    """SHA-256 of the whole file, 64 hex digits: its name in the artifact store."""
    with path.open("rb") as stream:
        return _digest_rest(stream)


def model_hash(path: Path) -> str:
    """`sshs_model_hash`: SHA-256 of the bytes after the header; metadata may change without changing it.

    Raises LoraFormatError if the file is no safetensors file.
    """
    with path.open("rb") as stream:
        stream.seek(header_size(stream.read(LENGTH_BYTES), file=path.name))
        return _digest_rest(stream)


def legacy_hash(path: Path) -> str:
    """`sshs_legacy_hash` of the file as it is: 8 hex digits over 64 KiB at 1 MiB (of nothing, if shorter).

    sd-scripts takes it while the header holds only `ss_*` keys; see `legacy_hash_of_bytes`.
    """
    with path.open("rb") as stream:
        return _legacy(stream)


def legacy_hash_of_bytes(content: bytes) -> str:
    """The same for a file held in memory, as it is before the `sshs_*` keys are added."""
    return _legacy(io.BytesIO(content))


def short_hash(digest: str) -> str:
    """The digits of a model hash that stand in a picture's `Lora hashes`."""
    return digest[:SHORT_DIGITS]


def _digest_rest(stream: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := stream.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _legacy(stream: BinaryIO) -> str:
    stream.seek(LEGACY_OFFSET)
    return hashlib.sha256(stream.read(LEGACY_LENGTH)).hexdigest()[:LEGACY_DIGITS]
