"""The language models that the engine holds, prepared for rows that share passes.

B rows, T tokens, L tokens of the longest row, V words.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from llguidance import LLTokenizer

from lorakit.families.causal_lm import FAMILY, LanguageModel, load_language_model
from lorakit.families.naming import LANGUAGE_MODEL
from lorakit.module_shape import Component, ModuleShape
from lorakit.routing import install
from services.inference.engine.held_bases import HeldBases
from services.inference.engine.text_grammar import open_tokenizer
from services.inference.engine.text_masks import Masks, read_masks
from services.inference.engine.text_probe import layer_shapes, probe
from services.inference.engine.text_slots import LayerShape, Slots


@dataclass(frozen=True, slots=True)
class TextBase:
    """A language model with routed layers, and what follows from it once."""

    source: str
    language: LanguageModel
    words: LLTokenizer
    special_ids: frozenset[int]
    """Words that are no text."""
    layers: Sequence[LayerShape]
    masks: Masks
    takes_places: bool
    """Whether it computes scores for chosen places alone."""

    @property
    def sha256(self) -> str:
        """Digest of its files."""
        return self.language.sha256

    @property
    def family(self) -> str:
        """Its family's name."""
        return FAMILY

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.language.device

    @property
    def word_count(self) -> int:
        """V."""
        count: int = self.language.model.get_output_embeddings().weight.shape[0]
        return count

    @property
    def token_bytes(self) -> int:
        """Bytes that keys and values of one token take."""
        return sum(layer.nbytes for layer in self.layers)

    @property
    def modules(self) -> Mapping[Component, Mapping[str, ModuleShape]]:
        """What a LoRA may sit on."""
        return {LANGUAGE_MODEL: self.language.layers}

    def new_slots(self) -> Slots:
        """Slots for its rows, none yet."""
        return Slots(self.layers, self.device)

    def bytes_of(self, token: int) -> bytes:
        """What a word adds to the text."""
        # Words beyond the tokenizer's fill a model's tables up; nobody means them.
        if token in self.special_ids or token >= len(self.language.tokenizer):
            return b""
        return self.words.decode_bytes([token])

    def scores(
        self, ids_BT: torch.Tensor, positions_BT: torch.Tensor, last: Sequence[int], slots: Slots
    ) -> torch.Tensor:
        """Scores [B, V] of what follows each row's token `last[i]`, in float32; call Slots.begin before."""
        arguments: dict[str, Any] = {}
        places = sorted(set(last))
        if self.takes_places:
            arguments["logits_to_keep"] = torch.tensor(places, device=self.device)
        scores_BPV = self.language.model(
            input_ids=ids_BT,
            attention_mask=self.masks.build(positions_BT, slots.read(), self.language.model.dtype),
            position_ids=positions_BT,
            past_key_values=slots.cache,
            use_cache=True,
            **arguments,
        ).logits
        columns = [places.index(place) for place in last] if self.takes_places else list(last)
        rows_B = torch.arange(len(columns), device=self.device)
        chosen_BV: torch.Tensor = scores_BPV[rows_B, torch.tensor(columns, device=self.device)]
        return chosen_BV.float()


def text_bases(device: torch.device, dtype: torch.dtype, max_bases: int) -> HeldBases[TextBase]:
    """Language models."""

    def load(source: str, path: Path) -> TextBase:
        return open_base(source, load_language_model(path, dtype=dtype, device=device))

    return HeldBases(load, max_bases, device)


@torch.inference_mode()
def open_base(source: str, language: LanguageModel) -> TextBase:
    """Puts routed layers into a model and tries whether rows can share its passes.

    Raises BaseModelError if they cannot, ValueError for a tokenizer whose words have no bytes.
    """
    tokenizer, model = language.tokenizer, language.model
    words = model.get_output_embeddings().weight.shape[0]
    added = {number for number, word in tokenizer.added_tokens_decoder.items() if word.special}
    base = TextBase(
        source=source,
        language=language,
        words=open_tokenizer(tokenizer, words, language.end_ids),
        special_ids=frozenset({*tokenizer.all_special_ids, *added}),
        layers=layer_shapes(model),
        masks=read_masks(model.config.get_text_config()),
        takes_places="logits_to_keep" in inspect.signature(model.forward).parameters,
    )
    probe(base)
    install(model, language.layers)
    return base
