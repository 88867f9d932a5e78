"""Resources as plain data for JSON, and small values as words for people."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

_MARK: Final = "\N{REPLACEMENT CHARACTER}"
_COMMANDS: Final = ("Cc", "Cs")
_TURNING: Final = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""They show what follows in another order."""


def plain(value: Any) -> Any:  # noqa: PLR0911 - one for each kind of value
    """Dicts, lists, strings and numbers: times as ISO 8601, durations in seconds; bytes are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return {name: plain(item) for name, item in fields if not isinstance(item, bytes)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Path):
        return str(value)
    return value


def visible(text: str) -> str:
    """The text with a mark for each character that a terminal would obey rather than show: names and
    messages come from others."""
    return "".join(_MARK if _commands(character) else character for character in text)


def _commands(character: str) -> bool:
    if character in "\n\t":
        return False
    return character in _TURNING or unicodedata.category(character) in _COMMANDS


def size(count: int) -> str:
    """A number of bytes: `3.4 MB`."""
    number = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def moment(time: datetime | None) -> str:
    """A time on the reader's clock: `2026-11-23 14:05`."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M") if time else ""


def span(duration: timedelta | None) -> str:
    """A duration: `1:02:03`, `4:05`."""
    if duration is None:
        return ""
    minutes, seconds = divmod(round(duration.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def words(items: tuple[str, ...] | list[str]) -> str:
    """`a, b, c`."""
    return ", ".join(items)
