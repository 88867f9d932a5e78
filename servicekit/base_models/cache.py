"""Base models that were fetched, in a folder on the disk, under their digests.

<folder>/<sha256>/          a pipeline directory, or model.safetensors alone
<folder>/<sha256>.draft/    what is being fetched; renamed when it is complete and has its digest
<folder>/<sha256>.lock      held by whoever fetches or removes it: services of one host share the folder
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from servicekit.base_models.faults import changed, unusable
from servicekit.base_models.s3 import SINGLE_FILE

_ENTRY: Final = re.compile(r"[0-9a-f]{64}")
_IN_USE_SECONDS: Final = 3600.0
"""A model that was asked for within this time is not removed to make room."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Content:
    """What is to be fetched: how many bytes, and the call that puts its files into a folder."""

    size_bytes: int
    fill: Callable[[Path], None]


class BaseModelCache:
    """A folder with a budget; the model used least recently goes first. All methods block."""

    def __init__(self, folder: Path, budget_bytes: int, digest: Callable[[Path], str]) -> None:
        self._folder = folder
        self._budget_bytes = budget_bytes
        self._digest = digest

    def get(self, sha256: str, where: str, look: Callable[[], Content]) -> Path:
        """The model's path, as `digest` takes it; ``look`` is asked for its content if it is not there yet.

        FailedPrecondition when it does not fit, or what came from ``where`` has another digest; then nothing
        is kept. OSError when the disk is full or the like.
        """
        if not _ENTRY.fullmatch(sha256):
            raise unusable(f"{where} was registered with {sha256!r}, which is no SHA-256")
        self._folder.mkdir(parents=True, exist_ok=True)
        entry = self._folder / sha256
        with self._locked(sha256):
            if entry.is_dir():
                # Once in a process: disks rot, and files can be tampered with.
                if _is_model(content_of(entry)) and self._digest(content_of(entry)) == sha256:
                    os.utime(entry)
                    return content_of(entry)
                _log.warning("a cached base model is damaged and is fetched anew", sha256=sha256)
                shutil.rmtree(entry)
            content = look()
            self._make_room(content.size_bytes, where)
            draft = self._folder / f"{sha256}.draft"
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            try:
                content.fill(draft)
                found = self._digest(content_of(draft))
                if found != sha256:
                    raise changed(where, found, sha256)
                draft.rename(entry)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
            return content_of(entry)

    def touch(self, content: Path) -> None:
        """The model is still used."""
        entry = content.parent if content.name == SINGLE_FILE else content
        if entry.parent == self._folder:
            os.utime(entry)

    def _make_room(self, needed: int, where: str) -> None:
        if needed > self._budget_bytes:
            raise unusable(
                f"{where} takes {needed} bytes, more than the cache of base models may hold "
                f"({self._budget_bytes}): raise BRANDLOOM_BASE_MODEL_CACHE_GIB"
            )
        entries = [path for path in self._folder.iterdir() if _ENTRY.fullmatch(path.name) and path.is_dir()]
        sizes = {entry: _bytes_below(entry) for entry in entries}
        used = sum(sizes.values())
        for entry in sorted(entries, key=lambda path: path.stat().st_mtime):
            if used + needed <= self._budget_bytes:
                return
            if time.time() - entry.stat().st_mtime > _IN_USE_SECONDS and self._remove(entry):
                used -= sizes[entry]
        if used + needed > self._budget_bytes:
            raise unusable(
                f"{where} takes {needed} bytes, and models in use leave no room for it in the cache "
                f"({self._budget_bytes} bytes): raise BRANDLOOM_BASE_MODEL_CACHE_GIB"
            )

    def _remove(self, entry: Path) -> bool:
        try:
            with self._locked(entry.name, wait=False):
                shutil.rmtree(entry)
        except BlockingIOError:
            return False
        _log.info("a base model left the cache", sha256=entry.name)
        return True

    @contextmanager
    def _locked(self, sha256: str, *, wait: bool = True) -> Iterator[None]:
        with (self._folder / f"{sha256}.lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            yield


def content_of(entry: Path) -> Path:
    """The checkpoint in an entry, or the entry itself when it is a pipeline directory."""
    single = entry / SINGLE_FILE
    return single if single.is_file() else entry


def _is_model(content: Path) -> bool:
    return content.is_file() or (content / "model_index.json").is_file()


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
