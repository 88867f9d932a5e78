"""Reads the header of a safetensors file, trusting nothing it says.

Layout (safetensors 0.8): 8 bytes little-endian header length n, n bytes of JSON, then the tensors' bytes.
Every claim is checked: offsets must cover the bytes after the header exactly once, without holes, and each
tensor's bytes must be as many as its dtype and shape need. Standard library only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from lorakit.errors import LoraFormatError, quote

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 16 * 1024 * 1024
"""An SDXL LoRA with every module has a header of about 0.5 MiB; safetensors itself allows 100 MB."""
MAX_DIMENSIONS = 8
MAX_NAME_LENGTH = 1024
"""Names are matched against patterns later on: their length bounds what a hostile one can cost."""
METADATA_KEY = "__metadata__"

DTYPE_BYTES: Mapping[str, int] = MappingProxyType(
    {
        "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "F8_E8M0": 1,
        "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
        "U32": 4, "I32": 4, "F32": 4,
        "U64": 8, "I64": 8, "F64": 8, "C64": 8,
    }
)  # fmt: skip

_MAGICS = (
    (b"PK\x03\x04", "a zip archive (a torch pickle is one)"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x03", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"GGUF", "a GGUF file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x89PNG", "a picture"),
)


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor as the header describes it; `begin` and `end` count from the first byte after the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class SafetensorsHeader:
    """A checked header: the tensors by name in file order, the string metadata, and where the bytes start."""

    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]
    data_offset: int
    total_size: int


def header_size(prefix: bytes, *, file: str | None = None) -> int:
    """How many bytes from the start of the file the header takes, its length field included.

    `prefix` is the first 8 bytes or more. Raises LoraFormatError if they cannot start a safetensors file.
    """
    if len(prefix) < LENGTH_BYTES:
        raise LoraFormatError(f"has {len(prefix)} bytes, too few for a safetensors file", file=file)
    length = int.from_bytes(prefix[:LENGTH_BYTES], "little")
    if length > MAX_HEADER_BYTES:
        # Only now: a header of 0x0280 bytes starts like a pickle and is none.
        for magic, what in _MAGICS:
            if prefix.startswith(magic):
                raise LoraFormatError(f"is {what}, not a safetensors file; it was not opened", file=file)
        raise LoraFormatError(
            f"claims a header of {length} bytes, more than the {MAX_HEADER_BYTES} allowed; "
            "it is probably no safetensors file",
            file=file,
        )
    if length < 2:
        raise LoraFormatError(f"claims a header of {length} bytes, too few for JSON", file=file)
    return LENGTH_BYTES + length


def parse_header(prefix: bytes, total_size: int, *, file: str | None = None) -> SafetensorsHeader:
    """The header from the first bytes of a file of `total_size` bytes (`prefix` may go beyond the header).

    Raises LoraFormatError naming the file and tensor if anything in it is wrong.
    """
    data_offset = header_size(prefix, file=file)
    if data_offset > total_size:
        raise LoraFormatError(
            f"is truncated: the header ends at byte {data_offset}, the file at {total_size}", file=file
        )
    if len(prefix) < data_offset:
        raise LoraFormatError(f"the header needs {data_offset} bytes, {len(prefix)} were given", file=file)
    members = _json_object(prefix[LENGTH_BYTES:data_offset], file)
    metadata = _metadata(members.pop(METADATA_KEY, None), file)
    entries = sorted(
        (_entry(name, description, file) for name, description in members.items()),
        key=lambda entry: (entry.begin, entry.end),
    )
    _check_coverage(entries, total_size - data_offset, file)
    tensors = MappingProxyType({entry.name: entry for entry in entries})
    return SafetensorsHeader(tensors, metadata, data_offset, total_size)


def read_header(path: Path) -> SafetensorsHeader:
    """The header of the file at `path`; reads nothing beyond it. Raises LoraFormatError, OSError."""
    with path.open("rb") as stream:
        total_size = stream.seek(0, 2)
        stream.seek(0)
        prefix = stream.read(LENGTH_BYTES)
        rest = header_size(prefix, file=path.name) - LENGTH_BYTES
        return parse_header(prefix + stream.read(rest), total_size, file=path.name)


def _json_object(text: bytes, file: str | None) -> dict[str, Any]:
    if not text.startswith(b"{"):
        raise LoraFormatError("the header does not start with '{': not a safetensors file", file=file)
    try:
        decoded = text.decode("utf-8")
        value = json.loads(decoded, object_pairs_hook=_unique_members, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise LoraFormatError(f"the header is not UTF-8 (byte {error.start})", file=file) from None
    except LoraFormatError as error:
        raise LoraFormatError(error.message, file=file, key=error.key) from None
    except RecursionError:
        raise LoraFormatError("the header's JSON is nested too deeply", file=file) from None
    except ValueError as error:
        raise LoraFormatError(f"the header is not JSON: {error}", file=file) from None
    if not isinstance(value, dict):
        raise LoraFormatError("the header is not a JSON object", file=file)
    return value


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise LoraFormatError("occurs twice in the header", key=name)
        members[name] = value
    return members


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _metadata(value: Any, file: str | None) -> Mapping[str, str]:
    if value is None:
        return MappingProxyType({})
    if not isinstance(value, dict):
        raise LoraFormatError("must be an object of strings", file=file, key=METADATA_KEY)
    for name, text in value.items():
        if not isinstance(text, str):
            raise LoraFormatError(f"the value of {quote(name)} is not a string", file=file, key=METADATA_KEY)
    return MappingProxyType(value)


def _entry(name: str, description: Any, file: str | None) -> TensorEntry:
    if len(name) > MAX_NAME_LENGTH:
        raise LoraFormatError(f"is a name of more than {MAX_NAME_LENGTH} characters", file=file, key=name)
    if not isinstance(description, dict) or description.keys() != {"dtype", "shape", "data_offsets"}:
        raise LoraFormatError("needs exactly dtype, shape and data_offsets", file=file, key=name)
    dtype, shape, offsets = description["dtype"], description["shape"], description["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise LoraFormatError(f"has the unknown dtype {quote(str(dtype))}", file=file, key=name)
    if not _are_counts(shape) or len(shape) > MAX_DIMENSIONS:
        raise LoraFormatError(
            f"has a shape that is no list of up to {MAX_DIMENSIONS} sizes", file=file, key=name
        )
    if not _are_counts(offsets) or len(offsets) != 2:
        raise LoraFormatError("has data_offsets that are no pair of positions", file=file, key=name)
    begin, end = offsets
    needed = math.prod(shape) * DTYPE_BYTES[dtype]
    if end - begin != needed:
        raise LoraFormatError(
            f"claims bytes {begin} to {end}, but {dtype} of shape {shape} takes {needed} bytes",
            file=file,
            key=name,
        )
    return TensorEntry(name, dtype, tuple(shape), begin, end)


def _are_counts(value: Any) -> bool:
    # bool is an int to Python, and true is no size; sizes beyond 64 bits only serve to slow arithmetic down.
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**63 for item in value)


def _check_coverage(entries: list[TensorEntry], data_size: int, file: str | None) -> None:
    position = 0
    for entry in entries:
        if entry.end > data_size:
            raise LoraFormatError(
                f"ends at byte {entry.end} of the data, which has {data_size}: truncated, or a lying header",
                file=file,
                key=entry.name,
            )
        if entry.begin != position:
            fault = "overlaps the tensor before it" if entry.begin < position else "leaves a hole before it"
            raise LoraFormatError(f"{fault} (byte {entry.begin} of the data)", file=file, key=entry.name)
        position = entry.end
    if position != data_size:
        raise LoraFormatError(f"{data_size - position} bytes after the last tensor belong to none", file=file)
