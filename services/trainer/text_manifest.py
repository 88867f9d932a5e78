"""Reads the manifest of a dataset revision of texts: JSON Lines, one text a line.

A line is `{"kind": "text", "prompt": ..., "response": ...}`, or `{"kind": "text", "messages": [{"role": ...,
"content": ...}, ...]}` for a conversation; `split` says what it is for. All lines have the same form.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from servicekit.errors import FailedPrecondition
from services.trainer.manifest import TRAIN, VALIDATION

TEXT: Final = "text"
ROLES: Final = ("system", "user", "assistant")
MAX_TURNS: Final = 256
MAX_CHARACTERS: Final = 1 << 20
"""Of one text; what a base model can read is far less."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation; `role` is one of ROLES."""

    role: str
    content: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """One text of a revision: a conversation, of which the assistant's turns are learned."""

    turns: tuple[Turn, ...]
    split: str = TRAIN


def is_text_manifest(data: bytes) -> bool:
    """Whether the first line of a manifest is a text's."""
    first = data.lstrip().partition(b"\n")[0]
    try:
        row: Any = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and row.get("kind") == TEXT


def read_texts(data: bytes) -> tuple[Text, ...]:
    """All texts, in the order of the manifest; FailedPrecondition naming the line that cannot be read."""
    lines = data.decode("utf-8", errors="replace").split("\n")
    rows = [(number, _row(line, number)) for number, line in enumerate(lines, start=1) if line.strip()]
    forms = {number: "a conversation" if "messages" in row else "a prompt" for number, row in rows}
    for number, form in forms.items():
        first = next(iter(forms.values()))
        if form != first:
            raise _unreadable(number, f"it is {form}, the first one is {first}; give all texts one form")
    return tuple(_text(row, number) for number, row in rows)


def training_texts(texts: Sequence[Text]) -> tuple[Text, ...]:
    """Those that are trained on, without the held-out ones."""
    return tuple(text for text in texts if text.split == TRAIN)


def validation_texts(texts: Sequence[Text], most: int) -> tuple[Text, ...]:
    """Those that a job is evaluated on: the first `most` of the held-out ones."""
    return tuple(text for text in texts if text.split == VALIDATION)[:most]


def _row(line: str, number: int) -> dict[str, Any]:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError):
        raise _unreadable(number, "it is not JSON") from None
    if not isinstance(row, dict) or row.get("kind") != TEXT:
        raise _unreadable(number, 'it is no JSON object of the kind "text"')
    return row


def _text(row: dict[str, Any], number: int) -> Text:
    if "messages" in row and ("prompt" in row or "response" in row):
        raise _unreadable(number, "it has both messages and a prompt or response")
    turns = _turns(row["messages"], number) if "messages" in row else _pair(row, number)
    if sum(len(turn.content) for turn in turns) > MAX_CHARACTERS:
        raise _unreadable(number, f"it has more than {MAX_CHARACTERS} characters")
    if not any(turn.role == "assistant" and turn.content.strip() for turn in turns):
        raise _unreadable(number, "it has no answer to learn from")
    return Text(turns=turns, split=str(row.get("split") or TRAIN))


def _pair(row: dict[str, Any], number: int) -> tuple[Turn, ...]:
    prompt, response = row.get("prompt"), row.get("response")
    if not isinstance(prompt, str) or not isinstance(response, str):
        raise _unreadable(number, "it needs messages, or a prompt and a response, which are texts")
    return Turn("user", prompt), Turn("assistant", response)


def _turns(messages: Any, number: int) -> tuple[Turn, ...]:
    if not isinstance(messages, list) or not 1 <= len(messages) <= MAX_TURNS:
        raise _unreadable(number, f"its messages are no list of 1 to {MAX_TURNS} turns")
    turns = []
    for place, message in enumerate(messages, start=1):
        role = message.get("role") if isinstance(message, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        if role not in ROLES or not isinstance(content, str):
            raise _unreadable(number, f"turn {place} needs a role ({', '.join(ROLES)}) and a text as content")
        turns.append(Turn(str(role), content))
    return tuple(turns)


def _unreadable(number: int, why: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"line {number} of the dataset revision's manifest cannot be read: {why}",
        reason="MANIFEST_UNREADABLE",
    )
