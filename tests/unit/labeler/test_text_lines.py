"""Files of texts: what is written is read again, and nothing that is sent crashes the parser."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.errors import InvalidArgument
from services.labeler.domain import Split
from services.labeler.domain_texts import Message, TextForm, Words
from services.labeler.limits import UploadLimits
from services.labeler.text_lines import MAX_FAULTS, digest_of, line_of, parsed_lines
from services.trainer.text_manifest import read_texts

LIMITS = UploadLimits()
TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40)
ANSWER = TEXT.filter(str.strip)
PAIRS = st.builds(lambda prompt, response: Words(prompt=prompt, response=response), TEXT, ANSWER)
TURN = st.builds(Message, st.sampled_from(["system", "user", "assistant"]), TEXT)
TALKS = st.builds(
    lambda turns, answer: Words(messages=(*turns, Message("assistant", answer))),
    st.lists(TURN, max_size=4),
    ANSWER,
)
SPLITS = st.sampled_from(list(Split))
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NEARLY = st.dictionaries(
    st.sampled_from(["kind", "prompt", "response", "messages", "split", "role", "content", "x"]),
    JSON | st.sampled_from(["text", "train"]) | st.just([{"role": "assistant", "content": "a"}]),
)


def faults_of(data: bytes, **options: Any) -> dict[str, str]:
    with pytest.raises(InvalidArgument) as caught:
        parsed_lines(data, "t.jsonl", options.pop("limits", LIMITS), **options)
    assert caught.value.reason == "TEXT_FILE_INVALID"
    return {fault.field: fault.description for fault in caught.value.violations}


@given(
    st.lists(st.tuples(PAIRS, SPLITS), min_size=1, max_size=6)
    | st.lists(st.tuples(TALKS, SPLITS), min_size=1)
)
def test_lines_come_back_and_are_what_the_trainer_reads(texts: list[tuple[Words, Split]]) -> None:
    data = "".join(line_of(words, split) for words, split in texts).encode()
    assert data.isascii() and data.count(b"\n") == len(texts)
    read = parsed_lines(data, "t.jsonl", LIMITS)
    assert [(line.number, line.words, line.split) for line in read] == [
        (number, words, split) for number, (words, split) in enumerate(texts, start=1)
    ]
    for (words, split), text in zip(texts, read_texts(data), strict=True):
        turns = words.messages or (Message("user", words.prompt), Message("assistant", words.response))
        assert [(turn.role, turn.content) for turn in text.turns] == [
            (turn.role, turn.content) for turn in turns
        ]
        assert text.split == split


@given(st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    for field, description in faults_of(data).items():
        assert field.startswith("t.jsonl") and description


@given(st.lists(NEARLY | JSON, min_size=1, max_size=5))
def test_nearly_right_lines_are_read_or_refused_by_their_number(records: list[Any]) -> None:
    data = "".join(json.dumps(record) + "\n" for record in records).encode()
    try:
        lines = parsed_lines(data, "t.jsonl", LIMITS)
    except InvalidArgument as error:
        numbers = [int(fault.field.removeprefix("t.jsonl:")) for fault in error.violations]
        assert numbers == sorted(set(numbers)) and numbers[0] >= 1 and numbers[-1] <= len(records)
        assert all(fault.description for fault in error.violations)
    else:
        assert len(lines) == len(records)
        manifest = "".join(line_of(line.words, line.split or Split.TRAIN) for line in lines)
        assert len(read_texts(manifest.encode())) == len(records)


@given(PAIRS, PAIRS)
def test_the_same_words_have_the_same_digest(one: Words, other: Words) -> None:
    assert (digest_of(one) == digest_of(other)) is (one == other)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"prompt": "a"}', "needs response as a string"),
        ("{}", "needs prompt and response"),
        ('{"prompt": 1, "response": "b"}', "needs prompt as a string"),
        ('{"prompt": "a", "response": " "}', "has no answer"),
        ('{"prompt": "a", "response": "b", "messages": []}', "has both messages and a prompt"),
        ('{"messages": []}', "needs 1 to 256 messages"),
        ('{"messages": {}}', "needs 1 to 256 messages"),
        ('{"messages": ["hi"]}', "message 1 must be an object"),
        ('{"messages": [{"role": "bot", "content": "b"}]}', "message 1 needs a role"),
        ('{"messages": [{"role": [], "content": "b"}]}', "message 1 needs a role"),
        ('{"messages": [{"role": "user", "content": "b", "name": "c"}]}', "message 1 has 'name'"),
        ('{"messages": [{"role": "user", "content": "b"}]}', "has no answer"),
        ('{"prompt": "a", "response": "b", "split": "test"}', "has a split other than train or validation"),
        ('{"prompt": "a", "response": "b", "split": null}', "has a split other than train or validation"),
        ('{"prompt": "a", "response": "b", "kind": "image"}', 'has a kind other than "text"'),
        ('{"prompt": "a", "response": "b", "z": 1, "y": 2}', "has 'y', 'z', which no text has"),
        ('{"prompt": "a", "response": "\\u0000"}', "characters that are no text"),
        ('{"prompt": "a", "response": "\\ud800"}', "characters that are no text"),
        ('["a"]', "must be an object"),
        ('{"prompt"', "is no JSON"),
        ("[" * 100_000, "is no JSON that can be read"),
        ("9" * 10_000, "is no JSON that can be read"),
    ],
)
def test_what_is_wrong_with_a_line(line: str, why: str) -> None:
    faults = faults_of(b'{"prompt": "a", "response": "b"}\n\n' + line.encode())
    assert list(faults) == ["t.jsonl:3"]
    assert why in faults["t.jsonl:3"]


def test_bounds_are_those_of_the_limits() -> None:
    small = dataclasses.replace(LIMITS, max_text_bytes=10, max_text_turns=2, max_text_lines=3)
    good = '{"prompt": "", "response": "äöüäö"}\n'.encode()
    assert parsed_lines(good, "t.jsonl", small)
    assert (
        "says 11 bytes; 10 are allowed" in faults_of(good.replace(b'""', b'"a"'), limits=small)["t.jsonl:1"]
    )
    escaped = b'{"prompt": "", "response": "' + b"\\u0061" * 10 + b'"}'
    assert parsed_lines(escaped, "t.jsonl", small)[0].words.response == "a" * 10
    assert "more than" in faults_of(b'{"response": "' + b"a" * 1000, limits=small)["t.jsonl:1"]
    assert "beyond 3 lines" in faults_of(b"\n" * 4, limits=small)["t.jsonl:4"]
    turns = [{"role": "assistant", "content": "a"}] * 3
    assert "1 to 2" in faults_of(json.dumps({"messages": turns}).encode(), limits=small)["t.jsonl:1"]


def test_bytes_that_are_no_text_and_files_that_are_empty() -> None:
    assert faults_of(b'{"prompt": "a", "response": "b"}\n\xff')["t.jsonl:2"].startswith("is not UTF-8")
    assert faults_of(b" \n\n") == {"t.jsonl": "holds no texts"}
    assert len(faults_of(b"x\n" * 150)) == MAX_FAULTS
    assert parsed_lines(b'\xef\xbb\xbf{"prompt": "a", "response": "b"}', "t.jsonl", LIMITS)


def test_the_form_of_the_dataset_counts() -> None:
    pair = b'{"prompt": "a", "response": "b"}\n'
    talk = b'{"messages": [{"role": "assistant", "content": "a"}]}\n'
    assert "line 2 is a prompt" in faults_of(b"\n" + pair + talk)["t.jsonl:3"]
    assert list(faults_of(pair + talk, form=TextForm.CONVERSATION)) == ["t.jsonl:1"]
