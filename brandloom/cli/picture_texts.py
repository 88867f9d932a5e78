"""The text chunks of a PNG file that somebody else may have made."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_MAX_TEXT_BYTES: Final = 4 << 20


class PictureFileError(Exception):
    """The file is no PNG, or it is broken."""


def read_texts(png: bytes) -> dict[str, str]:
    """Each text by its key, compressed ones up to 4 MiB. Raises PictureFileError."""
    return dict(_text(kind, body) for kind, body in _chunks(png) if kind in {b"tEXt", b"zTXt", b"iTXt"})


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    if not png.startswith(_SIGNATURE):
        raise PictureFileError("is no PNG file")
    position = len(_SIGNATURE)
    while position < len(png):
        end = position + 12 + int.from_bytes(png[position : position + 4], "big")
        if end > len(png):
            raise PictureFileError("ends before the picture does")
        yield png[position + 4 : position + 8], png[position + 8 : end - 4]
        position = end


def _text(kind: bytes, body: bytes) -> tuple[str, str]:
    key, _, rest = body.partition(b"\0")
    name = key.decode("latin-1")
    if kind == b"tEXt":
        return name, rest.decode("latin-1")
    if kind == b"zTXt":
        return name, _inflated(rest[1:]).decode("latin-1")
    # Two flags, the language and the translated key come before the text.
    text = rest[2:].split(b"\0", 2)[-1]
    return name, (_inflated(text) if rest[:1] == b"\1" else text).decode("utf-8", "replace")


def _inflated(data: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(data, _MAX_TEXT_BYTES)
    except zlib.error as error:
        raise PictureFileError(f"holds a text that cannot be read: {error}") from error
    if stream.unconsumed_tail:
        raise PictureFileError(f"holds a text of more than {_MAX_TEXT_BYTES} bytes")
    return text
