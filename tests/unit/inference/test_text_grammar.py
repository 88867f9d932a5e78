"""Texts that must satisfy a JSON schema."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import torch
from llguidance import LLTokenizer

from services.inference.engine.errors import JobError
from services.inference.engine.text_grammar import Grammar, open_tokenizer
from tests.fixtures.tiny_lm import tiny_tokenizer

TOKENIZER = tiny_tokenizer()
WORDS = len(TOKENIZER) + 8
END = TOKENIZER.eos_token_id
SCHEMAS: list[dict[str, Any]] = [
    {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"enum": ["x", "y"]}},
        "required": ["a"],
    },
    {"type": "array", "items": {"type": "number", "minimum": 0}, "minItems": 2, "maxItems": 3},
    {"type": "string", "pattern": "^[a-c]{2,5}$"},
    {"type": "boolean"},
    {"type": "number", "multipleOf": 0.25, "minimum": 0, "maximum": 3},
    {"anyOf": [{"type": "null"}, {"const": {"k": [1, "ü"]}}]},
]


@pytest.fixture(scope="module")
def words() -> LLTokenizer:
    return open_tokenizer(TOKENIZER, WORDS, [END])


def written(words: LLTokenizer, schema: dict[str, Any], seed: int, most: int = 60) -> str | None:
    """A text of random words that the schema allows, None if it did not end."""
    grammar = Grammar(words, json.dumps(schema))
    generator = torch.Generator().manual_seed(seed)
    ids: list[int] = []
    for _ in range(most):
        # Rather an end than not: random words would go on for long.
        scores_V = torch.randn(WORDS, generator=generator)
        scores_V[END] += 3
        token = int(grammar.allow(scores_V).argmax())
        if token == END:
            return words.decode_bytes(ids).decode()
        ids.append(token)
        if grammar.take(token):
            return words.decode_bytes(ids).decode()
    return None


@pytest.mark.parametrize("schema", SCHEMAS, ids=json.dumps)
def test_whatever_is_written_satisfies_the_schema(words: LLTokenizer, schema: dict[str, Any]) -> None:
    texts = [written(words, schema, seed) for seed in range(8)]
    assert any(text is not None for text in texts)
    for text in texts:
        if text is not None:
            jsonschema.validate(json.loads(text), schema)


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ('{"type": "frob"}', "frob"),
        ('{"not": {"type": "string"}}', "not"),
        ('{"$ref": "http://example.com/x"}', "example.com"),
        ('{"type": "string", "x-guidance": {"lenient": true}, "not": {}}', "not"),
        ('{"type": "integer", "multipleOf": 99999999}', "multipleOf"),
        ('{"type": "number", "multipleOf": 1234.5678}', "multipleOf"),
        ('{"allOf": [{"type": "integer", "multipleOf": 997}, {"multipleOf": 991}]}', "multipleOf"),
        ('{"items": {"type": "integer", "multipleOf": 1' + "0" * 400 + "}}", "multipleOf"),
        ("[]", "schema cannot be used"),
        ("no JSON", "schema cannot be used"),
    ],
)
def test_schemas_that_cannot_be_kept_are_refused(words: LLTokenizer, schema: str, why: str) -> None:
    with pytest.raises(JobError) as caught:
        Grammar(words, schema)
    assert (caught.value.failure.kind, caught.value.failure.field) == ("InvalidArgument", "json_schema")
    assert why in caught.value.failure.message


def test_a_schema_so_deep_that_no_parser_takes_it_is_refused(words: LLTokenizer) -> None:
    with pytest.raises(JobError):
        Grammar(words, '{"items":' * 5000 + "{}" + "}" * 5000)
