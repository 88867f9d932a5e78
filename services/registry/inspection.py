"""Reads what a LoRA file is while its bytes go by, through lorakit, without torch and without the weights."""

from __future__ import annotations

import asyncio
import json
import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lorakit.errors import LoraFormatError
from lorakit.formats import LoraDescription, decode_scalar, inspect
from lorakit.metadata import read_metadata
from lorakit.safetensors_header import LENGTH_BYTES, SafetensorsHeader, header_size, parse_header
from servicekit.errors import FieldViolation, InvalidArgument
from services.registry.domain import FileFacts, LoraFormat, ModelFamily, ModuleRank

MAX_NAME_BYTES: Final = 1 << 20
"""For all module names of a file together; an SDXL LoRA with every module has about 100 kB."""
MAX_METADATA_BYTES: Final = 1 << 20
MAX_TRIGGER_WORDS: Final = 32
_SCALAR_BYTES: Final = 8


class LoraHeaderReader:
    """HeaderReader of safetensors files in kohya's, diffusers' and PEFT's layouts."""

    def probe(self, *, field: str, file_name: str, size_bytes: int | None) -> LoraProbe:
        """A probe for one file."""
        return LoraProbe(field, file_name or "the file", size_bytes)


@dataclass(slots=True)
class _Scalar:
    """One alpha on its way: where it lies in the file, and the bytes of it that have come."""

    key: str
    dtype: str
    begin: int
    end: int
    data: bytearray = field(default_factory=bytearray)


class LoraProbe:
    """HeaderProbe that keeps the header and the alphas of a file, and lets the weights go by."""

    def __init__(self, field: str, file_name: str, size_bytes: int | None) -> None:
        self._field = field
        self._file_name = file_name
        self._size_bytes = size_bytes
        self._position = 0
        self._prefix = bytearray()
        self._header: SafetensorsHeader | None = None
        self._scalars: deque[_Scalar] = deque()
        self._alphas: dict[str, float] = {}

    async def feed(self, chunk: bytes) -> None:
        """The next bytes; InvalidArgument as soon as the file is known to be none that can be registered."""
        try:
            if self._header is None:
                self._prefix += chunk
                await self._try_header()
            if self._header is not None:
                self._collect(chunk)
        except LoraFormatError as error:
            raise self._refusal(error) from None
        self._position += len(chunk)

    async def finish(self) -> FileFacts:
        """What the file is; InvalidArgument when it ended too early or holds more than its header tells."""
        try:
            if self._header is None or self._header.total_size != self._position:
                # Says what is wrong with a file of the size that came.
                parse_header(bytes(self._prefix), self._position, file=self._file_name)
                raise LoraFormatError("is truncated", file=self._file_name)
            description = await asyncio.to_thread(
                inspect, self._header, alphas=self._alphas, file=self._file_name
            )
            return self._facts(description)
        except LoraFormatError as error:
            raise self._refusal(error) from None

    async def _try_header(self) -> None:
        if len(self._prefix) < LENGTH_BYTES:
            return
        data_offset = header_size(bytes(self._prefix[:LENGTH_BYTES]), file=self._file_name)
        if len(self._prefix) < data_offset:
            return
        prefix = bytes(self._prefix[:data_offset])
        self._prefix = bytearray(prefix)
        # In a thread: a hostile header of 16 MiB must not hold up the other calls.
        self._header = await asyncio.to_thread(self._read_header, prefix)
        self._scalars = deque(_alphas_of(self._header))

    def _read_header(self, prefix: bytes) -> SafetensorsHeader:
        total_size = self._size_bytes or _claimed_size(prefix)
        header = parse_header(prefix, total_size, file=self._file_name)
        # Again at the end, with alphas; now already, so that a checkpoint of gigabytes is refused early.
        self._facts(inspect(header, file=self._file_name))
        return header

    def _collect(self, chunk: bytes) -> None:
        """Takes the bytes of alphas out of a chunk that starts at the current position."""
        end = self._position + len(chunk)
        while self._scalars and self._scalars[0].begin < end:
            scalar = self._scalars[0]
            start = max(scalar.begin + len(scalar.data), self._position)
            scalar.data += chunk[start - self._position : scalar.end - self._position]
            if scalar.begin + len(scalar.data) < scalar.end:
                return
            self._scalars.popleft()
            value = decode_scalar(bytes(scalar.data), scalar.dtype)
            if not math.isfinite(value):
                raise LoraFormatError(f"alpha is {value}", file=self._file_name, key=scalar.key)
            self._alphas[scalar.key] = value

    def _facts(self, description: LoraDescription) -> FileFacts:
        families = {family.value for family in ModelFamily}
        if description.family not in families:
            raise LoraFormatError(
                f"is a LoRA for {description.family!r} models; only {', '.join(sorted(families))} are known",
                file=self._file_name,
            )
        names = sum(len(module.prefix) + len(module.name) for module in description.modules)
        if names > MAX_NAME_BYTES:
            raise LoraFormatError(f"has module names of {names} bytes in all, too many", file=self._file_name)
        told = read_metadata(description.metadata)
        return FileFacts(
            format=LoraFormat(description.format.value),
            family=ModelFamily(description.family),
            rank=description.rank,
            modules=tuple(
                ModuleRank(
                    module=_plain(module.prefix + module.name),
                    rank=module.rank or 0,
                    alpha=float(module.alpha or module.rank or 0),
                )
                for module in description.modules
            ),
            components=tuple(component or "model" for component in description.components),
            metadata=_bounded_metadata(description.metadata),
            trigger_words=tuple(_plain(word)[:100] for word in told.trigger_words[:MAX_TRIGGER_WORDS]),
            license=_plain(told.license or "")[:200],
            description=_plain(told.description or "")[:4000],
            base_model_sha256=_digest(told.base_model_sha256),
        )

    def _refusal(self, error: LoraFormatError) -> InvalidArgument:
        metadata = {"file": self._file_name, **({"key": error.key[:200]} if error.key else {})}
        return InvalidArgument(
            [FieldViolation(self._field, _plain(str(error))[:2000])],
            reason="LORA_FILE_INVALID",
            metadata={name: _plain(value) for name, value in metadata.items()},
        )


def _alphas_of(header: SafetensorsHeader) -> Iterable[_Scalar]:
    """The scalars in the order of the file; `inspect` has checked that each is one number."""
    for key, entry in header.tensors.items():
        if key.endswith(".alpha") and 0 < entry.end - entry.begin <= _SCALAR_BYTES:
            yield _Scalar(key, entry.dtype, header.data_offset + entry.begin, header.data_offset + entry.end)


def _claimed_size(prefix: bytes) -> int:
    """How long the file is by its own header. Only where that adds up does lorakit's parser let it pass."""
    try:
        members: Any = json.loads(prefix[LENGTH_BYTES:])
        ends = [member["data_offsets"][1] for name, member in members.items() if name != "__metadata__"]
        return len(prefix) + max(ends, default=0)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return len(prefix)


def _bounded_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata without its largest values where it would not fit into an answer; the file keeps them."""
    kept = {_plain(key): _plain(value) for key, value in metadata.items()}
    by_size = sorted(kept, key=lambda key: len(kept[key]) + len(key))
    room = MAX_METADATA_BYTES
    for key in by_size:
        room -= len(key.encode()) + len(kept[key].encode())
        if room < 0:
            del kept[key]
    return kept


def _plain(text: str) -> str:
    """Text that a database and a message can hold: JSON may smuggle in NUL and halves of surrogate pairs."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _digest(text: str | None) -> str:
    digest = (text or "").lower().removeprefix("0x")
    return digest if len(digest) == 64 and all(digit in "0123456789abcdef" for digit in digest) else ""
