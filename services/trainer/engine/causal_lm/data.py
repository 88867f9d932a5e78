"""What is computed once for each job: its texts in tokens, and which of them are learned.

T tokens of a text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from lorakit.errors import TextError
from lorakit.families.causal_lm import LanguageModel
from lorakit.families.conversation import EncodedText, encode_conversation
from services.trainer.engine.fault import NO_TEXTS, TEXT_TOO_LONG, TEXT_UNUSABLE, EngineFault
from services.trainer.engine.items import TrainingText
from services.trainer.engine.port import OnProgress

NOT_LEARNED: Final = -100
"""The target of a token whose successor is not learned."""
_CHUNK: Final = 256


@dataclass(frozen=True, slots=True)
class CachedText:
    """One text, on the CPU."""

    ids_T: Tensor
    targets_T: Tensor
    """The token that follows each one, where it is part of an answer."""

    @property
    def learned(self) -> int:
        """Tokens that are learned; at least 1."""
        return int((self.targets_T != NOT_LEARNED).sum())


@dataclass(frozen=True, slots=True)
class CachedTexts:
    """All that a job trains on."""

    texts: Sequence[CachedText]
    digest: str
    """Of the tokens and what is learned of them, in order: a checkpoint belongs to one set of texts."""

    def __len__(self) -> int:
        return len(self.texts)


def cache_texts(
    base: LanguageModel, items: Sequence[TrainingText], *, on_progress: OnProgress | None = None
) -> CachedTexts:
    """Turns every text into tokens.

    Raises EngineFault naming the row if one has no answer, is longer than the base can read, or cannot be
    rendered by the base's chat template.
    """
    if not items:
        raise EngineFault(NO_TEXTS, "there are no texts to learn from")
    texts: list[CachedText] = []
    digest = hashlib.sha256()
    for index, item in enumerate(items):
        encoded = _encoded(base, item, index)
        cached = _cached(encoded)
        digest.update(repr((encoded.ids, encoded.learned)).encode())
        texts.append(cached)
        if on_progress is not None and (len(texts) % _CHUNK == 0 or len(texts) == len(items)):
            on_progress(len(texts), len(items))
    return CachedTexts(texts, digest.hexdigest())


def _encoded(base: LanguageModel, item: TrainingText, index: int) -> EncodedText:
    turns = [{"role": message.role, "content": message.content} for message in item.messages]
    try:
        encoded = encode_conversation(base.tokenizer, turns)
    except TextError as error:
        raise EngineFault(TEXT_UNUSABLE, f"text {index + 1} cannot be used: {error}") from error
    if len(encoded.ids) > base.max_tokens:
        raise EngineFault(
            TEXT_TOO_LONG,
            f"text {index + 1} has {len(encoded.ids)} tokens, the base model reads {base.max_tokens} at most",
        )
    return encoded


def _cached(encoded: EncodedText) -> CachedText:
    ids_T = torch.tensor(encoded.ids)
    targets_T = torch.full_like(ids_T, NOT_LEARNED)
    targets_T[:-1] = torch.where(torch.tensor(encoded.learned)[1:], ids_T[1:], NOT_LEARNED)
    return CachedText(ids_T, targets_T)
