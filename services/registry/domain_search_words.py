"""Which words a LoRA is found by. The index and the queries must cut texts in the same way."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

MAX_WORD_LENGTH: Final = 64
MAX_WORDS: Final = 512
"""A description of 4,000 characters has more than this only when it is not prose."""
_WORD: Final = re.compile(r"\w+")


def words_of(*texts: str) -> Sequence[str]:
    """The words of the texts, each once, case and compatibility forms folded, in order of first mention."""
    found: dict[str, None] = {}
    for text in texts:
        folded = unicodedata.normalize("NFKC", text).casefold()
        for match in _WORD.finditer(folded):
            found[match.group()[:MAX_WORD_LENGTH]] = None
            if len(found) == MAX_WORDS:
                return tuple(found)
    return tuple(found)
