"""Manifests of texts: what they say, and which line is at fault."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.errors import FailedPrecondition
from services.trainer.manifest import TRAIN, VALIDATION
from services.trainer.text_manifest import (
    MAX_CHARACTERS,
    MAX_TURNS,
    Turn,
    is_text_manifest,
    read_texts,
    training_texts,
    validation_texts,
)

PAIR = {"kind": "text", "prompt": "Hello?", "response": "Hi\u2028there"}
CHAT = {
    "kind": "text",
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello?"},
        {"role": "assistant", "content": "Hi"},
    ],
}
PICTURE = {"sha256": "a" * 64, "width": 1, "height": 1, "caption": ""}


def manifest(*rows: Any) -> bytes:
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode()


def chat(*messages: Any) -> dict[str, Any]:
    return {"kind": "text", "messages": list(messages)}


def test_pairs_and_conversations_are_read() -> None:
    (pair,) = read_texts(manifest(PAIR))
    assert pair.turns == (Turn("user", "Hello?"), Turn("assistant", "Hi\u2028there"))
    (conversation,) = read_texts(manifest(CHAT))
    assert [turn.role for turn in conversation.turns] == ["system", "user", "assistant"]
    held_out = {**PAIR, "split": VALIDATION}
    texts = read_texts(manifest(PAIR, held_out, PAIR, held_out))
    assert [text.split for text in texts] == [TRAIN, VALIDATION, TRAIN, VALIDATION]
    assert len(training_texts(texts)) == 2
    assert len(validation_texts(texts, 1)) == 1


def test_texts_are_told_from_pictures() -> None:
    assert is_text_manifest(manifest(PAIR))
    assert is_text_manifest(b"\n" + manifest(CHAT))
    assert not is_text_manifest(manifest(PICTURE))
    assert not is_text_manifest(b"")
    assert not is_text_manifest(b"[" * 100_000)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (PICTURE, "no JSON object of the kind"),
        ({"kind": "text", "prompt": "a"}, "a prompt and a response"),
        ({"kind": "text", "prompt": "a", "response": 3}, "a prompt and a response"),
        ({"kind": "text", "prompt": "a", "response": " \n"}, "no answer"),
        ({**PAIR, "response": "x" * (MAX_CHARACTERS + 1)}, "characters"),
        ({**CHAT, **PAIR}, "conversation"),
        (CHAT, "conversation"),
    ],
)
def test_the_line_at_fault_is_named(row: Any, why: str) -> None:
    with pytest.raises(FailedPrecondition, match=rf"line 2 .*{why}") as refused:
        read_texts(manifest(PAIR, row))
    assert refused.value.reason == "MANIFEST_UNREADABLE"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (chat(), "1 to 256 turns"),
        ({"kind": "text", "messages": "hi"}, "1 to 256 turns"),
        (chat(*[{"role": "user", "content": "a"}] * (MAX_TURNS + 1)), "1 to 256 turns"),
        (chat({"role": "user", "content": "a"}), "no answer"),
        (chat({"role": "robot", "content": "a"}), "turn 1 needs a role"),
        (chat({"role": "user"}), "turn 1 needs a role"),
        (chat("hi"), "turn 1 needs a role"),
        ({**CHAT, "prompt": "a"}, "both messages and"),
    ],
)
def test_a_conversation_at_fault_is_named(row: Any, why: str) -> None:
    with pytest.raises(FailedPrecondition, match=rf"line 2 .*{why}"):
        read_texts(manifest(CHAT, row))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["kind", "messages", "prompt", "role", "content"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@given(JSON)
def test_whatever_comes_is_read_or_refused(row: Any) -> None:
    try:
        read_texts(manifest(row))
    except FailedPrecondition as error:
        assert "line 1" in error.message
