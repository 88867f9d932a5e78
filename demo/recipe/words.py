"""The base model's tokenizer: whole words for the grammar, bytes for everything else."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

from demo.world import COLOURS, STYLES, SUBJECTS
from demo.world.grammar import PLACE_PHRASES

MAX_TOKENS = 77
BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def grammar_words() -> list[str]:
    """Every word that a training caption can hold."""
    phrases = [w for phrase in PLACE_PHRASES.values() for w in phrase.split()]
    return list(dict.fromkeys(["a", "an", "of", "style", "drawing", *phrases, *SUBJECTS, *COLOURS, *STYLES]))


def learn_merges(words: list[str]) -> list[tuple[str, str]]:
    """Byte-pair merges, most frequent pair first, until each word is one token."""
    spelled = [[*w[:-1], w[-1] + "</w>"] for w in words]
    merges: list[tuple[str, str]] = []
    while True:
        pairs = Counter(pair for word in spelled for pair in pairwise(word))
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spelled = [_join(word, best) for word in spelled]


def _join(word: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for piece in word:
        if out and (out[-1], piece) == pair:
            out[-1] += piece
        else:
            out.append(piece)
    return out


def new_tokenizer() -> CLIPTokenizer:
    """Any text has a spelling: unknown words fall apart into short pieces, at worst bytes."""
    merges = learn_merges(grammar_words())
    bytes_ = sorted(ByteLevel.alphabet())
    tokens = [*bytes_, *(b + "</w>" for b in bytes_), *dict.fromkeys(a + b for a, b in merges), BOS, EOS]
    vocab = {t: i for i, t in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=MAX_TOKENS)  # type: ignore[arg-type]


def nonsense(rng: random.Random) -> str:
    """A word that means nothing, of the kind that people choose as triggers."""
    syllables = [rng.choice("bcdfghjklmnpqrstvwxz") + rng.choice("aeiouy") for _ in range(rng.randint(1, 3))]
    tail = rng.choice(
        (
            "",
            rng.choice("bdfgklmnprstxz"),
            rng.choice("0123456789"),
            rng.choice("bdglnrt") + rng.choice("kstxz"),
        )
    )
    return "".join(syllables) + tail


def with_nonsense(sentence: str, rng: random.Random) -> str:
    """The sentence with one or two unknown words in it: the base learns not to mind them."""
    strange = " ".join(nonsense(rng) for _ in range(rng.choice((1, 1, 2))))
    kind = rng.random()
    if kind < 0.6:
        return f"{strange}, {sentence}"
    if kind < 0.8:
        return f"{sentence}, {strange}"
    words = sentence.split()
    words.insert(rng.randint(0, len(words)), strange)
    return " ".join(words)
