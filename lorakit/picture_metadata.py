"""What a generated picture says about itself: A1111's `parameters` text and Brandloom's own JSON.

Both are PNG text chunks. `parameters` is what other tools read, and is not exact: a prompt may hold lines
that look like its own. `brandloom` is exact, and names every digest of the stack. Standard library only.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lorakit.errors import PictureMetadataError

PARAMETERS_KEY = "parameters"
BRANDLOOM_KEY = "brandloom"
XMP_KEY = "XML:com.adobe.xmp"
"""Adobe's XMP, which must be in an iTXt chunk whatever its letters."""
MAX_TEXT_BYTES = 4 * 1024 * 1024
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NEGATIVE = "Negative prompt:"
# As in A1111, but with names and lines bounded: a picture may come from anywhere.
_PAIR = re.compile(r'\s*(\w[\w \-/]{1,100}):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
_LONGEST_LINE = 100_000
_LEAST_PAIRS = 3
# Controls that the PNG specification keeps out of text, and line ends that A1111's split would not leave.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f]")


@dataclass(frozen=True, slots=True)
class Infotext:
    """A1111's generation parameters."""

    prompt: str
    negative_prompt: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """`Steps`, `Sampler`, `CFG scale`, `Seed`, `Size`, ... in order; names have two characters or more."""


def format_infotext(info: Infotext) -> str:
    """The text of the `parameters` chunk.

    Raises PictureMetadataError if a parameter's name or value cannot be written so that it is read again.
    """
    pairs = []
    for name, value in info.parameters.items():
        if not re.fullmatch(r"\w[\w \-/]{1,100}", name) or name != name.strip():
            raise PictureMetadataError(f"{name!r} cannot be the name of a parameter")
        pairs.append(f"{name}: {_quoted(value)}")
    lines = [_CONTROL.sub("", info.prompt).strip()]
    if info.negative_prompt:
        lines.append(f"{_NEGATIVE} {_CONTROL.sub('', info.negative_prompt).strip()}")
    if pairs:
        lines.append(", ".join(pairs))
    return "\n".join(lines).strip()


def parse_infotext(text: str) -> Infotext:
    """Reads a `parameters` chunk by A1111's rules: a last line of less than three pairs is prompt."""
    lines = text.strip().split("\n")
    pairs = _PAIR.findall(lines[-1]) if len(lines[-1]) <= _LONGEST_LINE else []
    if len(pairs) < _LEAST_PAIRS:
        pairs = []
    else:
        lines.pop()
    prompt: list[str] = []
    negative: list[str] = []
    current = prompt
    for line in (line.strip() for line in lines):
        if line.startswith(_NEGATIVE):
            current = negative
        current.append(line.removeprefix(_NEGATIVE).strip() if current is negative else line)
    return Infotext(
        "\n".join(prompt).strip(), "\n".join(negative).strip(), {k: _unquoted(v) for k, v in pairs}
    )


def lora_hashes(stack: Mapping[str, str]) -> str:
    """The value of `Lora hashes`: `a: <12 hex digits>, b: ...` from name -> `sshs_model_hash`."""
    return ", ".join(f"{name}: {digest[:12]}" for name, digest in stack.items())


def embed_png(png: bytes, texts: Mapping[str, str]) -> bytes:
    """`png` with the texts as chunks after its IHDR, in place of chunks of the same keys.

    Raises PictureMetadataError if it is no PNG file or a key is not 1 to 79 Latin letters.
    """
    pieces = [_SIGNATURE]
    for position, (kind, body) in enumerate(_chunks(png)):
        split = _split_text(kind, body)
        if split is None or split[0] not in texts:
            pieces.append(_chunk(kind, body))
        if position == 0:
            pieces += [_text_chunk(key, text) for key, text in texts.items()]
    return b"".join(pieces)


def read_png(png: bytes) -> dict[str, str]:
    """The texts of a PNG file, compressed ones up to a bound. Raises PictureMetadataError."""
    found: dict[str, str] = {}
    for kind, body in _chunks(png):
        split = _split_text(kind, body)
        if split is not None:
            found[split[0]] = _decode_text(kind, split[1])
    return found


def format_record(record: Mapping[str, object]) -> str:
    """The text of the `brandloom` chunk. Raises PictureMetadataError for what JSON cannot hold."""
    try:
        return json.dumps(record, ensure_ascii=True, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise PictureMetadataError(f"the record cannot be written as JSON: {error}") from None


def parse_record(text: str) -> dict[str, object]:
    """Reads a `brandloom` chunk. Raises PictureMetadataError if it is no JSON object."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        raise PictureMetadataError("the brandloom chunk is not JSON") from None
    if not isinstance(record, dict):
        raise PictureMetadataError("the brandloom chunk is not a JSON object")
    return record


def _quoted(value: str) -> str:
    # Beyond A1111's own rule, whatever would come back changed is quoted: outer spaces, quotation marks.
    plain = (
        not any(mark in value for mark in ',:\n"') and value == value.strip() and not _CONTROL.search(value)
    )
    return value if plain else json.dumps(value, ensure_ascii=False)


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == '"' and value[-1] == '"':
        try:
            return str(json.loads(value))
        except ValueError:
            return value
    return value.strip()


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    if not png.startswith(_SIGNATURE):
        raise PictureMetadataError("is no PNG file")
    position = len(_SIGNATURE)
    while position < len(png):
        header = png[position : position + 8]
        length = int.from_bytes(header[:4], "big")
        end = position + 12 + length
        if len(header) < 8 or end > len(png):
            raise PictureMetadataError(f"the PNG file is truncated at byte {len(png)}")
        yield header[4:], png[position + 8 : end - 4]
        position = end


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _text_chunk(key: str, text: str) -> bytes:
    if not re.fullmatch(r"[!-~](?:[ -~]{0,77}[!-~])?", key):
        raise PictureMetadataError(f"{key!r} cannot be the key of a PNG text chunk")
    if "\0" in text:
        raise PictureMetadataError("a PNG text chunk cannot hold a null character")
    if key != XMP_KEY and not _beyond_latin(text):
        return _chunk(b"tEXt", key.encode("latin-1") + b"\0" + text.encode("latin-1"))
    # Lone surrogates are no characters: they cannot be written.
    return _chunk(b"iTXt", key.encode() + b"\0\0\0\0\0" + text.encode("utf-8", "replace"))


def _beyond_latin(text: str) -> bool:
    return any(ord(character) > 0xFF for character in text)


def _split_text(kind: bytes, body: bytes) -> tuple[str, bytes] | None:
    if kind not in (b"tEXt", b"zTXt", b"iTXt"):
        return None
    key, _, rest = body.partition(b"\0")
    return key.decode("latin-1"), rest


def _decode_text(kind: bytes, rest: bytes) -> str:
    if kind == b"tEXt":
        return rest.decode("latin-1")
    if kind == b"zTXt":
        return _inflate(rest[1:]).decode("latin-1")
    compressed = rest[:1] == b"\1"
    # Language tag and translated keyword come before the text.
    text = rest[2:].split(b"\0", 2)[-1]
    return (_inflate(text) if compressed else text).decode("utf-8", "replace")


def _inflate(data: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(data, MAX_TEXT_BYTES)
    except zlib.error as error:
        raise PictureMetadataError(f"a compressed text chunk is broken: {error}") from None
    if stream.unconsumed_tail:
        raise PictureMetadataError(f"a compressed text chunk holds more than {MAX_TEXT_BYTES} bytes")
    return text
