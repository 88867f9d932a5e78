"""Texts as a language model sees them: token ids, and which of them are the answers to be learned.

A conversation is a list of `{"role", "content"}` turns. The base's chat template renders it where there is
one. A base without one has no turns: it gets the prompt, a line feed where neither side has a blank, and the
answer. Free of torch; the tokenizer is one of transformers with offsets (a fast one).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2.exceptions import TemplateError

from lorakit.errors import TextError

ASSISTANT = "assistant"
USER = "user"

Turn = Mapping[str, str]
"""`{"role": ..., "content": ...}`"""


@dataclass(frozen=True, slots=True)
class EncodedText:
    """A text in tokens."""

    ids: tuple[int, ...]
    learned: tuple[bool, ...]
    """Whether each token belongs to an answer."""


def encode_conversation(tokenizer: Any, turns: Sequence[Turn]) -> EncodedText:
    """All turns in tokens; those of the assistant, each with its end mark, are the learned ones.

    Raises TextError if there is no answer, or if the base cannot render these turns.
    """
    if not any(turn["role"] == ASSISTANT and turn["content"].strip() for turn in turns):
        raise TextError("there is no answer to learn from")
    if tokenizer.chat_template:
        text = _rendered(tokenizer, turns)
        encoded = _encode(tokenizer, text, _answers(tokenizer, turns, text), special=False)
    else:
        prompt, answer = _plain_parts(turns)
        text = prompt + answer
        encoded = _ended(tokenizer, _encode(tokenizer, text, [(len(prompt), len(text))], special=True))
    if not any(encoded.learned[1:]):
        raise TextError("no token of the answer stands by itself, so there is nothing to learn")
    return encoded


def encode_prompt(tokenizer: Any, prompt: str) -> tuple[int, ...]:
    """The tokens after which the answer to a prompt begins. Raises TextError."""
    if tokenizer.chat_template:
        return encode_question(tokenizer, [{"role": USER, "content": prompt}])
    return _without_end(tokenizer, tuple(tokenizer(_joined(prompt, "")).input_ids))


def encode_question(tokenizer: Any, turns: Sequence[Turn]) -> tuple[int, ...]:
    """The tokens of a conversation after which the assistant's next turn begins.

    Raises TextError if the base cannot render these turns; one without a chat template knows one prompt only.
    """
    if not tokenizer.chat_template:
        if [turn["role"] for turn in turns] != [USER]:
            raise TextError("the base has no chat template, so it takes a single turn of the user only")
        return encode_prompt(tokenizer, turns[0]["content"])
    text = _rendered(tokenizer, turns, answering=True)
    return tuple(tokenizer(text, add_special_tokens=False).input_ids)


def encode_beginning(tokenizer: Any, text: str) -> tuple[int, ...]:
    """The tokens of a text that the model is to go on with, as it stands: no template, nothing between."""
    return _without_end(tokenizer, tuple(tokenizer(text).input_ids))


def _rendered(tokenizer: Any, turns: Sequence[Turn], *, answering: bool = False) -> str:
    """`answering` adds the head of the assistant's next turn."""
    try:
        text: str = tokenizer.apply_chat_template(
            [dict(turn) for turn in turns], tokenize=False, add_generation_prompt=answering
        )
    except (TemplateError, TypeError, ValueError) as error:
        raise TextError(f"the base's chat template refuses it: {error}") from error
    return text


def _answers(tokenizer: Any, turns: Sequence[Turn], text: str) -> list[tuple[int, int]]:
    """Where each answer with its end mark lies in the rendered text."""
    spans, told = [], 0
    for index, turn in enumerate(turns):
        content = turn["content"].strip()
        if turn["role"] == ASSISTANT:
            if index == 0:
                raise TextError("it begins with an answer; the chat template needs a turn before it")
            span = _answer(tokenizer, turns[: index + 1], text)
            if span[0] < told:
                raise TextError("the base's chat template renders earlier turns anew for each answer")
            spans.append(span)
        found = text.find(content, told)
        told = told if found < 0 else found + len(content)
    return spans


def _answer(tokenizer: Any, turns: Sequence[Turn], text: str) -> tuple[int, int]:
    """Where the last of these turns lies in the text of all."""
    # Some templates open the answer in another way when it is still to come; what both share is the head.
    head = _rendered(tokenizer, turns[:-1], answering=True)
    start = _common(text, head)
    content = turns[-1]["content"].strip()
    found = text.find(content, start)
    if found < 0:
        raise TextError("the base's chat template leaves an answer out, or changes it")
    end = found + len(content)
    # The end mark is what the template puts behind this answer where it is the last one.
    as_last = _rendered(tokenizer, turns)
    mark = as_last[as_last.rfind(content) + len(content) :].rstrip()
    return start, end + len(mark) if text.startswith(mark, end) else end


def _common(one: str, other: str) -> int:
    """Characters that two texts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


def _plain_parts(turns: Sequence[Turn]) -> tuple[str, str]:
    roles = [turn["role"] for turn in turns]
    if roles == [USER, ASSISTANT]:
        answer = turns[1]["content"]
        return _joined(turns[0]["content"], answer), answer
    raise TextError(
        "the base has no chat template, so it learns pairs of a prompt and a response only, not the turns "
        + ", ".join(roles)
    )


def _joined(prompt: str, answer: str) -> str:
    """The prompt, ready for the answer to follow."""
    apart = not prompt or prompt[-1:].isspace() or answer[:1].isspace()
    return prompt if apart else prompt + "\n"


def _encode(tokenizer: Any, text: str, spans: Sequence[tuple[int, int]], *, special: bool) -> EncodedText:
    tokens = tokenizer(text, add_special_tokens=special, return_offsets_mapping=True)
    learned = tuple(
        any(first <= start < end and stop > start for first, end in spans)
        for start, stop in tokens["offset_mapping"]
    )
    return EncodedText(tuple(tokens["input_ids"]), learned)


def _without_end(tokenizer: Any, ids: tuple[int, ...]) -> tuple[int, ...]:
    """Tokens to go on from: a mark that the text is over would mislead."""
    return ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids


def _ended(tokenizer: Any, encoded: EncodedText) -> EncodedText:
    """With the end of the text as the last token to learn, where the base has one."""
    end = tokenizer.eos_token_id
    if end is None:
        return encoded
    ids = encoded.ids[:-1] if encoded.ids[-1] == end else encoded.ids
    return EncodedText((*ids, end), (*encoded.learned[: len(ids)], True))
