"""The errors of lorakit.

LorakitError
├── LoraFormatError        a file is not what it claims to be, or is of a kind that is not read
│   └── LoraMismatchError  a sound file that does not fit the base model it is to be used with
├── PromptSyntaxError      a `<lora:...>` tag or a reference cannot be read
├── PictureMetadataError   a picture's text chunks cannot be read or written
├── TextError              a text cannot be turned into what a language model learns from
└── BaseModelError         a base model cannot be loaded
"""

from __future__ import annotations

from collections.abc import Sequence

_SHOWN_NAMES = 8
_SHOWN_CHARACTERS = 120


def quote(text: str) -> str:
    """`text` as it may stand in a message: escaped, and cut to a bearable length."""
    cut = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
    return repr(cut)


def quote_all(names: Sequence[str]) -> str:
    """The first few of `names`, quoted, with the number of those left out."""
    shown = ", ".join(quote(name) for name in names[:_SHOWN_NAMES])
    left_out = len(names) - _SHOWN_NAMES
    return f"{shown} and {left_out} more" if left_out > 0 else shown


class LorakitError(Exception):
    """Root of every error that lorakit raises on purpose."""


class LoraFormatError(LorakitError):
    """A LoRA file cannot be read. `file` and `key` say where, as far as that is known."""

    def __init__(self, message: str, *, file: str | None = None, key: str | None = None) -> None:
        self.message = message
        self.file = file
        self.key = key
        place = "".join(f"{part}: " for part in (file, quote(key) if key is not None else None) if part)
        super().__init__(place + message)


class LoraMismatchError(LoraFormatError):
    """The file is sound but does not fit the base model; `keys` are the names that do not."""

    def __init__(self, message: str, *, keys: Sequence[str] = (), file: str | None = None) -> None:
        self.keys = tuple(keys)
        super().__init__(message, file=file)


class PromptSyntaxError(LorakitError):
    """A tag of a prompt, or a reference to a LoRA, cannot be read. `tag` is its text."""

    def __init__(self, message: str, *, tag: str, position: int | None = None) -> None:
        self.message = message
        self.tag = tag
        self.position = position
        place = f" at character {position}" if position is not None else ""
        super().__init__(f"{quote(tag)}{place}: {message}")


class PictureMetadataError(LorakitError):
    """A picture's metadata cannot be read or written."""


class TextError(LorakitError):
    """A conversation or a prompt cannot be given to a base model."""


class BaseModelError(LorakitError):
    """A base model cannot be loaded or lacks a part that is needed."""
