"""Measures texts: `python -m services.trainer.text_lengths_worker <memory limit in bytes>`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from servicekit.child_frames import Header, WorkerFaultError, run_worker
from servicekit.large_imports import large_imports

with large_imports():
    from lorakit.errors import BaseModelError, TextError
    from lorakit.families.conversation import encode_conversation
    from lorakit.families.language_tokenizer import load_tokenizer, max_tokens, read_model_config

_KEPT = 4
_WORDS = 500
"""Letters of what went wrong with a base or a text."""


class TextMeter:
    """Tokenizers of the bases that were asked about last, by the bases' digests."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Any, int]] = {}

    def handle(self, header: Header, parts: list[bytes]) -> tuple[Header, Sequence[bytes]]:
        """`{"path", "sha256", "seconds", "most"}` with `[[number, turns], ...]` -> `{"faults", "checked"}`.

        The longest come first, until `most` are at fault or the time is over.
        """
        tokenizer, limit = self._base(header["path"], header["sha256"])
        texts = json.loads(parts[0])
        texts.sort(key=lambda text: -sum(len(turn["content"]) for turn in text[1]))
        faults: list[tuple[int, str]] = []
        checked = 0
        until = time.monotonic() + header["seconds"]
        for number, turns in texts:
            if len(faults) >= header["most"] or time.monotonic() > until:
                break
            why = _fault(tokenizer, limit, turns)
            if why:
                faults.append((number, why))
            checked += 1
        return {"faults": sorted(faults), "checked": checked}, ()

    def _base(self, path: str, sha256: str) -> tuple[Any, int]:
        if sha256 not in self._known:
            try:
                tokenizer = load_tokenizer(Path(path))
                limit = max_tokens(read_model_config(Path(path)), tokenizer)
            except BaseModelError as error:
                raise WorkerFaultError("BASE_UNUSABLE", str(error)[:_WORDS]) from error
            while len(self._known) >= _KEPT:
                del self._known[next(iter(self._known))]
            self._known[sha256] = tokenizer, limit
        return self._known[sha256]


def _fault(tokenizer: Any, limit: int, turns: list[dict[str, str]]) -> str:
    try:
        count = len(encode_conversation(tokenizer, turns).ids)
    except TextError as error:
        return f"cannot be used: {str(error)[:_WORDS]}"
    return f"has {count} tokens, the base model reads {limit} at most" if count > limit else ""


if __name__ == "__main__":
    run_worker(TextMeter().handle, memory_bytes=int(sys.argv[1]))
