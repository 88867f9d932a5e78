"""Text embeddings, each encoded once for its prompt, its stack's text-encoder part and its base.

N tokens, D features.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch

from lorakit.families import sd15
from lorakit.routing import GatheredRouting, RowAdapter, routed
from services.inference.engine.bases import LoadedBase
from services.inference.engine.byte_cache import ByteCache
from services.inference.engine.errors import JobError


@dataclass(frozen=True, slots=True)
class TextRow:
    """One text to encode."""

    text: str
    adapter: RowAdapter | None
    clip_skip: int

    def key(self, base: LoadedBase) -> Hashable:
        """Everything that the embedding depends on."""
        return (base.model.sha256, self.text, self.adapter.key if self.adapter else None, self.clip_skip)


class Texts:
    """Encodes what is not in the cache in one pass of the text encoder, each row with its own adapter."""

    def __init__(self, budget_bytes: int) -> None:
        self.cache: ByteCache[Hashable, torch.Tensor] = ByteCache("text_embeddings", budget_bytes)

    def encode(self, rows: Sequence[TextRow], base: LoadedBase) -> list[torch.Tensor]:
        """Embeddings [N, D] in the order of ``rows``, which share a clip_skip. Raises JobError."""
        found = {row.key(base): self.cache.get(row.key(base)) for row in rows}
        missing = {row.key(base): row for row in rows if found[row.key(base)] is None}
        if missing:
            encoded_BND = self._encode(list(missing.values()), base)
            for key, embedding_ND in zip(missing, encoded_BND, strict=True):
                # A copy of its own: a view would keep its whole batch alive.
                kept_ND = found[key] = embedding_ND.clone()
                self.cache.put(key, kept_ND, kept_ND.nbytes)
        embeddings = [found[row.key(base)] for row in rows]
        return [embedding for embedding in embeddings if embedding is not None]

    @staticmethod
    def _encode(rows: Sequence[TextRow], base: LoadedBase) -> torch.Tensor:
        model = base.model
        ids_BN = sd15.tokenize(model, [row.text for row in rows])
        try:
            if all(row.adapter is None for row in rows):
                return sd15.encode_tokens(model, ids_BN, clip_skip=rows[0].clip_skip)
            routing = GatheredRouting(model.device, model.text_encoder.dtype)
            routing.set_rows([row.adapter for row in rows], [1] * len(rows))
            with routed(model.text_encoder, routing):
                return sd15.encode_tokens(model, ids_BN, clip_skip=rows[0].clip_skip)
        except ValueError as error:
            raise JobError(
                str(error), kind="InvalidArgument", reason="INVALID_ARGUMENT", field="clip_skip"
            ) from error
