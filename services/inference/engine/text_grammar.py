"""Texts that must satisfy a JSON schema: which words may come next, by llguidance.

V words.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer

from services.inference.engine.errors import JobError

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

REASON = "JSON_SCHEMA_UNSUPPORTED"
# Free white space would let a model go on with nothing else; a schema's own options are not for callers.
_OPTIONS: JsonCompileOptions = {
    "whitespace_flexible": False,
    "whitespace_pattern": None,
    "item_separator": ", ",
    "key_separator": ": ",
    "coerce_one_of": False,
    "lenient": False,
}


def open_tokenizer(tokenizer: Any, words: int, end_ids: Sequence[int]) -> LLTokenizer:
    """The tokenizer as llguidance needs it: every word as bytes. Takes a second for a large one.

    Raises ValueError for a tokenizer whose words have no bytes.
    """
    return from_tokenizer(tokenizer, n_vocab=words, eos_token=list(end_ids) or None)


class Grammar:
    """Where one text stands within its schema."""

    def __init__(self, tokenizer: LLTokenizer, schema: str) -> None:
        """Raises JobError naming json_schema, with the reason."""
        try:
            members = json.loads(schema)
            if not isinstance(members, dict):
                raise ValueError("it is no JSON object")
            members.pop("x-guidance", None)
            grammar = LLMatcher.grammar_from_json_schema(members, overrides=_OPTIONS)
        except (ValueError, RecursionError) as error:
            raise _refused(str(error)) from error
        self._matcher = LLMatcher(tokenizer, grammar, log_level=0)
        self._check()

    def allow(self, scores_V: torch.Tensor) -> torch.Tensor:
        """The scores, minus infinity for every word that cannot come next. Raises JobError."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        self._check()
        allowed_V = torch.from_numpy(np.unpackbits(bits, bitorder="little").view(np.bool_)[: len(scores_V)])
        return scores_V.masked_fill(~allowed_V.to(scores_V.device), -float("inf"))

    def take(self, token: int) -> bool:
        """Go on by one word; True when nothing can follow. Raises JobError."""
        self._matcher.consume_token(token)
        self._check()
        return self._matcher.is_stopped()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise _refused(self._matcher.get_error())


def _refused(why: str) -> JobError:
    return JobError(
        f"the schema cannot be used: {(why.splitlines() or [''])[0][:300]}",
        kind="InvalidArgument",
        reason=REASON,
        field="json_schema",
    )
