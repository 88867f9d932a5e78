"""Texts in tokens, and which of them are learned."""

from __future__ import annotations

from typing import Any

import pytest

from lorakit.errors import TextError
from lorakit.families.conversation import EncodedText, Turn, encode_conversation, encode_prompt
from tests.fixtures.tiny_lm import tiny_tokenizer

# Like Qwen 3's: only the last answer shows its (empty) thoughts.
FORGETFUL = (
    "{% for message in messages %}<|{{ message.role }}|>\n"
    "{% if message.role == 'assistant' and loop.last %}<think></think>{% endif %}"
    "{{ message.content | trim }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
# Like DeepSeek R1's: an answer that is still to come is opened in another way.
THINKING = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
)
REFUSING = "{{ raise_exception('only one turn is known here') }}"
DEAF = (
    "{% for message in messages %}{% if message.role == 'user' %}{{ message.content }}{% endif %}{% endfor %}"
)


def turns(*contents: str, first: str = "user") -> list[Turn]:
    roles = ["user", "assistant"] if first == "user" else ["assistant", "user"]
    return [{"role": roles[index % 2], "content": text} for index, text in enumerate(contents)]


def learned(tokenizer: Any, encoded: EncodedText) -> list[str]:
    """The stretches of the text that are learned."""
    stretches: list[list[int]] = [[]]
    for token, counts in zip(encoded.ids, encoded.learned, strict=True):
        if counts:
            stretches[-1].append(token)
        elif stretches[-1]:
            stretches.append([])
    return [tokenizer.decode(stretch) for stretch in stretches if stretch]


@pytest.mark.parametrize("template", [None, FORGETFUL, THINKING])
def test_only_answers_and_their_ends_are_learned(template: str | None) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template or tokenizer.chat_template
    system: Turn = {"role": "system", "content": "user"}
    encoded = encode_conversation(tokenizer, [system, *turns("What do you sell?", "We sell lamps.")])
    assert learned(tokenizer, encoded)[0].endswith("We sell lamps.<|end|>")
    encoded = encode_conversation(tokenizer, turns("user", "user", "end", "Chairs!", "bye"))
    assert [text.removeprefix("<think></think>") for text in learned(tokenizer, encoded)] == [
        "user<|end|>",
        "Chairs!<|end|>",
    ]


def test_a_base_without_a_template_learns_pairs() -> None:
    tokenizer = tiny_tokenizer(chat=False)
    encoded = encode_conversation(tokenizer, turns("Say goodbye", "See you soon."))
    assert tokenizer.decode(list(encoded.ids)) == "Say goodbye\nSee you soon.<|end|>"
    assert learned(tokenizer, encoded) == ["See you soon.<|end|>"]
    prompt = encode_prompt(tokenizer, "Say goodbye")
    assert encoded.ids[: len(prompt)] == prompt
    joined = encode_conversation(tokenizer, turns("Say: ", "Hello"))
    assert tokenizer.decode(list(joined.ids)) == "Say: Hello<|end|>"


def test_a_prompt_ends_where_the_answer_begins() -> None:
    tokenizer = tiny_tokenizer()
    encoded = encode_conversation(tokenizer, turns("Say goodbye", "See you soon."))
    prompt = encode_prompt(tokenizer, "Say goodbye")
    assert encoded.ids[: len(prompt)] == prompt
    assert encoded.learned.index(True) == len(prompt)


@pytest.mark.parametrize(
    ("template", "messages", "why"),
    [
        ("own", turns("a", "  "), "no answer"),
        ("own", turns("a"), "no answer"),
        ("own", turns("Hello!", "and?", first="assistant"), "begins with an answer"),
        (REFUSING, turns("a", "b"), "only one turn is known here"),
        (DEAF, turns("a", "b"), "leaves an answer out"),
        (None, turns("a", "b", "c", "d"), "no chat template"),
        (None, [{"role": "system", "content": "x"}, *turns("a", "b")], "system, user, assistant"),
    ],
)
def test_what_cannot_be_learned_is_refused(template: str | None, messages: list[Turn], why: str) -> None:
    tokenizer = tiny_tokenizer(chat=template is not None)
    if template not in (None, "own"):
        tokenizer.chat_template = template
    with pytest.raises(TextError, match=why):
        encode_conversation(tokenizer, messages)
