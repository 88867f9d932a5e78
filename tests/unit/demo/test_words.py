"""The base model's tokenizer: whole grammar words, and a spelling for anything else."""

import random

import pytest

from demo.recipe.words import MAX_TOKENS, grammar_words, learn_merges, new_tokenizer, nonsense, with_nonsense


@pytest.fixture(scope="module")
def tokenizer():
    return new_tokenizer()


def test_every_word_of_the_grammar_is_one_token(tokenizer):
    for word in grammar_words():
        assert tokenizer.tokenize(word) == [f"{word}</w>"]


def test_any_text_has_a_spelling(tokenizer):
    ids = tokenizer("hootbot zq9 Ünïcode 漢字 <lora> 🦉")["input_ids"]
    unknown = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    assert ids[-1] == unknown
    assert unknown not in ids[:-1]


def test_the_vocabulary_is_small_and_padded_like_clip(tokenizer):
    assert len(tokenizer) < 1500
    ids = tokenizer("a red cat", padding="max_length", max_length=MAX_TOKENS)["input_ids"]
    assert len(ids) == MAX_TOKENS == tokenizer.model_max_length
    assert ids[0] == tokenizer.bos_token_id
    assert set(ids[4:]) == {tokenizer.eos_token_id}


def test_merges_do_not_depend_on_word_order_for_their_result():
    assert learn_merges(["cat", "car"]) == [("c", "a"), ("ca", "r</w>"), ("ca", "t</w>")]


def test_nonsense_keeps_the_sentence():
    rng = random.Random(2)
    for _ in range(100):
        mixed = with_nonsense("a red cat on a beach", rng).replace(",", "").split()
        assert [w for w in mixed if w in {"a", "red", "cat", "on", "beach"}] >= ["a"]
        assert {"a", "red", "cat", "on", "beach"} <= set(mixed)
        assert nonsense(rng).isalnum()
