"""Texts that must satisfy a JSON schema: which words may come next, by llguidance.

V words.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer

from services.inference.engine.errors import JobError

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

REASON = "JSON_SCHEMA_UNSUPPORTED"
MAX_MULTIPLES = 20_000
"""Of all `multipleOf`, added and as their least common multiple: llguidance has a state for each remainder,
which none of its own limits bounds.
"""
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
            _check_multiples(members)
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


def _check_multiples(schema: dict[str, Any]) -> None:
    """ValueError for a schema that would take minutes and gigabytes."""
    multiples = list(_multiples(schema))
    if max(sum(multiples), math.lcm(*multiples)) > MAX_MULTIPLES:
        raise ValueError("its multipleOf have too many remainders")


def _multiples(schema: dict[str, Any]) -> Iterator[int]:
    """The digits of every `multipleOf`, wherever it is."""
    waiting: list[Any] = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            multiple = part.get("multipleOf")
            number = Decimal(str(multiple)) if type(multiple) in (int, float) else Decimal(0)
            if number.is_finite() and number:
                yield abs(int(number.scaleb(-min(0, int(number.as_tuple().exponent)))))
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


def _refused(why: str) -> JobError:
    return JobError(
        f"the schema cannot be used: {(why.splitlines() or [''])[0][:300]}",
        kind="InvalidArgument",
        reason=REASON,
        field="json_schema",
    )
