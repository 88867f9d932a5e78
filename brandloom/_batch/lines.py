"""Files of prompts: JSON Lines, CSV with a header, or plain text with a prompt on each line.

Everything is checked before anything is made; every faulty line is named with its number.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from brandloom import _arguments
from brandloom._stack_text import is_png, parse_stack_entry
from brandloom.errors import ConfigurationError
from brandloom.types.batch import BatchLine
from brandloom.types.image_settings import ImageSettings
from brandloom.types.inference import Composition, InitialImage, Sampler, SigmaSchedule, StackEntry

MAX_FILE_BYTES: Final = 64 << 20
MAX_LINES: Final = 100_000
_MAX_PROMPT: Final = 8000
_MAX_PICTURE_BYTES: Final = 16 << 20
_SHOWN_FAULTS: Final = 20
_JSON_SUFFIXES: Final = (".jsonl", ".ndjson")
_PICTURE: Final = ("initial_image", "strength", "mask")


class _FaultError(Exception):
    """What is wrong with a line."""


def read_batch(path: str | Path) -> tuple[BatchLine, ...]:
    """The prompts of a file. `.jsonl` holds objects, `.csv` has a header, any other file is plain text.

    Objects and columns are named as the settings are: `prompt`, `negative_prompt`, `stack`, `seed`, `count`,
    `steps`, `guidance_scale`, `sampler`, `initial_image`, `strength`, `mask` ... Files that are named are
    looked for beside this one. Raises ConfigurationError naming every faulty line.
    """
    file = Path(path)
    text = _read(file)
    rows = _rows_of(file.suffix.lower())(text)
    reader = _LineReader(file.parent)
    lines: list[BatchLine] = []
    faults: list[str] = []
    try:
        for number, row in rows:
            try:
                lines.append(reader.line(number, row))
            except _FaultError as fault:
                faults.append(f"line {number}: {fault}")
            if len(lines) + len(faults) > MAX_LINES:
                raise ConfigurationError(f"{file} has more than {MAX_LINES} prompts")
    except _FaultError as fault:
        faults.append(str(fault))
    if faults:
        shown = faults[:_SHOWN_FAULTS]
        if len(faults) > len(shown):
            shown.append(f"and {len(faults) - len(shown)} more")
        raise ConfigurationError("\n  ".join([f"{file} cannot be used:", *shown]))
    if not lines:
        raise ConfigurationError(f"{file} has no prompts")
    return tuple(lines)


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise ConfigurationError(f"{file} has more than {MAX_FILE_BYTES >> 20} MiB")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file} is not UTF-8 text") from error


Row = Mapping[str, Any] | _FaultError


def _rows_of(suffix: str) -> Callable[[str], Iterator[tuple[int, Row]]]:
    if suffix in _JSON_SUFFIXES:
        return _json_rows
    return _csv_rows if suffix == ".csv" else _text_rows


def _text_rows(text: str) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, {"prompt": line.strip()}


def _json_rows(text: str) -> Iterator[tuple[int, Row]]:
    # Not splitlines(): JSON may hold other line separators within its strings.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield number, _FaultError(f"is not JSON: {error}")
            continue
        if isinstance(value, dict):
            yield number, value
        else:
            yield number, _FaultError("is no JSON object")


def _csv_rows(text: str) -> Iterator[tuple[int, Row]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = reader.fieldnames or []
        if "prompt" not in columns:
            raise _FaultError("line 1: is no header with a column `prompt`")
        double = [name for name in columns if columns.count(name) > 1]
        if double:
            raise _FaultError(f"line 1: has the column {double[0]!r} twice")
        for row in reader:
            if None in row or None in row.values():
                yield reader.line_num, _FaultError(f"has not {len(columns)} columns")
            else:
                yield reader.line_num, {name: value for name, value in row.items() if value.strip()}
    except csv.Error as error:
        raise _FaultError(f"line {reader.line_num}: is not CSV: {error}") from error


class _LineReader:
    """Checks rows; reads each file that they name once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[Path, bytes] = {}

    def line(self, number: int, row: Row) -> BatchLine:
        """The line; _FaultError with all that is wrong with it."""
        if isinstance(row, _FaultError):
            raise row
        faults: list[str] = []
        values: dict[str, Any] = {}
        for name, value in row.items():
            try:
                values[name] = self._value(name, value)
            except _FaultError as fault:
                faults.append(f"{name} {fault}")
        if "prompt" not in row:
            faults.append("has no prompt")
        prompt = values.pop("prompt", "")
        picture = {name: values.pop(name) for name in _PICTURE if name in values}
        if "initial_image" in picture:
            values["initial_image"] = InitialImage(
                picture["initial_image"], picture.get("strength"), picture.get("mask", b"")
            )
        elif picture and not faults:
            faults.append(f"{next(iter(picture))} is of use with an initial_image alone")
        if faults:
            raise _FaultError("; ".join(faults))
        return BatchLine(number, prompt, cast(ImageSettings, values))

    def _value(self, name: str, value: Any) -> Any:
        if name == "stack":
            return self._stack(value)
        if name == "mask":
            return _mask(self._file(_text(value)), value)
        if name == "initial_image":
            return self._file(_text(value))
        check = _CHECKS.get(name)
        if check is None:
            raise _FaultError(f"is unknown; known are {', '.join(sorted({*_CHECKS, *_PICTURE, 'stack'}))}")
        return check(value)

    def _stack(self, value: Any) -> tuple[StackEntry, ...]:
        entries = value.split() if isinstance(value, str) else value
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            raise _FaultError("must be a list of texts such as hero@prod:0.8")
        try:
            return tuple(parse_stack_entry(entry, folder=self._folder) for entry in entries)
        except ConfigurationError as error:
            raise _FaultError(str(error)) from error

    def _file(self, name: str) -> bytes:
        path = self._folder / name
        if path not in self._files:
            try:
                if path.stat().st_size > _MAX_PICTURE_BYTES:
                    raise _FaultError(f"{path} has more than {_MAX_PICTURE_BYTES >> 20} MiB")
                self._files[path] = path.read_bytes()
            except OSError as error:
                raise _FaultError(f"{path} cannot be read: {error.strerror}") from error
        return self._files[path]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _FaultError("must be a text")
    if len(value) > _MAX_PROMPT:
        raise _FaultError(f"has {len(value)} characters, at most {_MAX_PROMPT} are taken")
    return value


def _number(value: Any, *, low: float, high: float, whole: bool) -> float:
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
        if whole and number != int(number):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise _FaultError(f"must be a {'whole ' if whole else ''}number, not {value!r}") from None
    if not low <= number <= high:
        raise _FaultError(f"must be from {low:g} to {high:.12g}, not {value}")
    return int(number) if whole else number


def _side(value: Any) -> float:
    side = _number(value, low=-math.inf, high=math.inf, whole=True)
    try:
        _arguments.check_side(int(side))
    except ValueError as error:
        raise _FaultError(str(error)) from None
    return side


def _mask(content: bytes, name: str) -> bytes:
    if not is_png(content):
        raise _FaultError(f"{name} is no PNG picture; a mask must be one")
    return content


def _choice(value: Any, *, kind: type[StrEnum]) -> StrEnum:
    known = [member.lower() for member in kind if member != "UNSPECIFIED"]
    if not isinstance(value, str) or value.lower() not in known:
        raise _FaultError(f"must be one of {', '.join(known)}, not {value!r}")
    return kind(value.upper())


def _whole(low: int, high: int) -> Callable[[Any], float]:
    return partial(_number, low=low, high=high, whole=True)


_CHECKS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "prompt": _text,
    "negative_prompt": _text,
    "base_model": _text,
    "seed": _whole(0, 2**32 - 1),
    "count": _whole(1, 64),
    "steps": _whole(1, 150),
    "guidance_scale": partial(_number, low=0, high=30, whole=False),
    "sampler": partial(_choice, kind=Sampler),
    "sigma_schedule": partial(_choice, kind=SigmaSchedule),
    "width": _side,
    "height": _side,
    "clip_skip": _whole(0, 12),
    "composition": partial(_choice, kind=Composition),
    "switch_every": _whole(1, 150),
    "strength": partial(_number, low=0, high=1, whole=False),
    "priority": _whole(-100, 100),
}
