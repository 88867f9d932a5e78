"""File names from outside. They are kept as labels and never become paths of this machine."""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath
from typing import Final

MAX_CHARACTERS: Final = 255
MAX_BYTES: Final = 512
_JUNK_NAMES: Final = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
_JUNK_FOLDER: Final = "__MACOSX"


class FileNameError(ValueError):
    """The name cannot be taken; the text says why."""


def checked(name: str) -> str:
    """The name with `/` between folders, in Unicode's composed form; FileNameError for names that lead
    elsewhere.
    """
    normal = unicodedata.normalize("NFC", name).replace("\\", "/")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in normal):
        raise FileNameError("the file name holds control characters")
    if normal.startswith("/") or normal[1:2] == ":":
        raise FileNameError("the file name is an absolute path")
    parts = [part for part in normal.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise FileNameError("the file name leads out of its folder")
    clean = "/".join(parts)
    if not clean:
        raise FileNameError("the file name is empty")
    if len(clean) > MAX_CHARACTERS or len(clean.encode()) > MAX_BYTES:
        raise FileNameError(f"the file name has more than {MAX_CHARACTERS} characters or {MAX_BYTES} bytes")
    return clean


def shown(name: str) -> str:
    """A name that was refused, fit for an answer: cut, and with its control characters made visible."""
    return "".join(
        character if unicodedata.category(character) not in {"Cc", "Cs"} else "?"
        for character in name[:MAX_CHARACTERS]
    )


def is_junk(name: str) -> bool:
    """Whether an operating system put this file into the archive without being asked."""
    parts = name.split("/")
    return _JUNK_FOLDER in parts[:-1] or parts[-1].lower() in _JUNK_NAMES or parts[-1].startswith("._")


def stem(name: str) -> str:
    """The name without its extension, folders kept: `a/b.png` -> `a/b`."""
    return PurePosixPath(name).with_suffix("").as_posix()


def base(name: str) -> str:
    """The name without its folders."""
    return name.rsplit("/", 1)[-1]
