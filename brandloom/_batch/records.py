"""What a batch's folder knows: pictures, and a line of results.jsonl for each prompt that has been through.

Pictures appear under their names whole or not at all. A record is written behind its pictures, so whatever a
run leaves when it is ended, the next one finds out what is missing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

from brandloom.errors import ConfigurationError
from brandloom.types.batch import BatchImage, BatchLine, BatchResult
from brandloom.types.common import Failure
from brandloom.types.image_settings import ImageSettings
from brandloom.types.inference import GeneratedImage, UsedLora

RESULTS: Final = "results.jsonl"
_LOCK: Final = ".batch.lock"
_SLUG_CHARACTERS: Final = 40
_KEY_DIGITS: Final = 8


class BatchFolder:
    """The folder of one run; no other run uses it meanwhile."""

    def __init__(self, folder: Path, lock: BinaryIO) -> None:
        self._folder = folder
        self._lock = lock
        self.made: dict[str, BatchResult] = {}
        """Results of earlier runs whose pictures are all there, by key."""

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The folder, made if need be; results without pictures are forgotten, for they are to be made anew.

        Raises ConfigurationError while another run uses it, OSError.
        """
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("wb")
        try:
            _lock_alone(lock, folder)
            opened = cls(folder, lock)
            opened.made = {result.key: result for result in _read_results(folder)}
            lines = [_record(result) for result in opened.made.values()]
            _write_whole(folder / RESULTS, b"".join(lines))
        except BaseException:
            lock.close()
            raise
        return opened

    def close(self) -> None:
        """Lets other runs in."""
        self._lock.close()

    def save(self, line: BatchLine, key: str, image: GeneratedImage, count: int) -> BatchImage:
        """Writes a picture. Raises OSError."""
        name = ""
        if not image.withheld:
            name = _file_name(line, key, image.index if count > 1 else None)
            _write_whole(self._folder / name, image.png)
        return BatchImage(
            file=name,
            seed=image.seed,
            sha256=image.sha256,
            size_bytes=len(image.png),
            width=image.width,
            height=image.height,
            withheld=image.withheld,
        )

    def note(self, result: BatchResult) -> None:
        """Adds a line to the results. Raises OSError."""
        with (self._folder / RESULTS).open("ab") as file:
            file.write(_record(result))
            file.flush()
            os.fsync(file.fileno())


def line_key(brand: str, line: BatchLine, settings: ImageSettings, occurrence: int) -> str:
    """What a line asks for, as a digest; `occurrence` tells lines apart that ask for the same."""
    asked = [brand, line.prompt, _plain(settings), occurrence]
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else value


def _file_name(line: BatchLine, key: str, index: int | None) -> str:
    """`00003-a-red-fox-1a2b3c4d.png`: by its key no other line's picture is in its place."""
    slug = re.sub(r"[^a-z0-9]+", "-", re.sub(r"<[^>]*>", " ", line.prompt.lower())).strip("-")
    end = "" if index is None else f"-{index:02d}"
    parts = (f"{line.number:05d}", slug[:_SLUG_CHARACTERS].strip("-"), key[:_KEY_DIGITS])
    return "-".join(part for part in parts if part) + f"{end}.png"


def _record(result: BatchResult) -> bytes:
    fields = dataclasses.asdict(result)
    del fields["made_before"]
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


def _read_results(folder: Path) -> Iterator[BatchResult]:
    """Those of which all pictures are there; a line that was torn off by the end of a run is none."""
    try:
        lines = (folder / RESULTS).read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for line in lines:
        try:
            result = _result(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        if result.images and all(_is_there(folder, image) for image in result.images):
            yield result


def _result(fields: dict[str, Any]) -> BatchResult:
    fields["images"] = tuple(BatchImage(**image) for image in fields["images"])
    fields["stack"] = tuple(UsedLora(**used) for used in fields["stack"])
    fields["error"] = Failure(**fields["error"]) if fields["error"] else None
    return BatchResult(**fields)


def _is_there(folder: Path, image: BatchImage) -> bool:
    # A record from elsewhere names no file outside of its folder.
    if image.withheld:
        return True
    path = folder / Path(image.file).name
    return path.is_file() and path.stat().st_size == image.size_bytes


def _write_whole(path: Path, content: bytes) -> None:
    # No other run is here, so one name will do; and the file may be read by whom the user's own files may.
    draft = path.with_name(f".{path.name}.part")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _lock_alone(lock: BinaryIO, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: its users are trusted to run one batch at a time
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigurationError(f"another batch writes into {folder}") from None
