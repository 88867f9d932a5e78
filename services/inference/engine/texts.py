"""Text embeddings, each encoded once for its prompt, its stack's text-encoder part and its base."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from lorakit.families.diffusion_base import EncodedTexts
from lorakit.module_shape import Component
from lorakit.routing import GatheredRouting, RowAdapter, routed
from services.inference.domain_capacity import CacheUsage
from services.inference.engine.bases import LoadedBase
from services.inference.engine.byte_cache import ByteCache
from services.inference.engine.errors import JobError


@dataclass(frozen=True, slots=True)
class TextRow:
    """One text to encode."""

    text: str
    adapters: Mapping[Component, RowAdapter]
    """Those of the base's text encoders."""
    clip_skip: int

    def key(self, base: LoadedBase) -> Hashable:
        """Everything that the embedding depends on."""
        adapters = tuple(sorted((component, adapter.key) for component, adapter in self.adapters.items()))
        return (base.model.sha256, self.text, adapters, self.clip_skip)


class Texts:
    """Encodes what is not in the cache in one pass of the text encoders, each row with its own adapters.

    One thread at a time encodes.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._cache: ByteCache[Hashable, EncodedTexts] = ByteCache("text_embeddings", budget_bytes)

    def usage(self) -> CacheUsage:
        """How full the cache is."""
        return self._cache.usage()

    def encode(self, rows: Sequence[TextRow], base: LoadedBase) -> list[EncodedTexts]:
        """One text each, in the order of ``rows``, which share a clip_skip. Raises JobError."""
        keys = [row.key(base) for row in rows]
        found = {key: self._cache.get(key) for key in dict.fromkeys(keys)}
        missing = {key: row for key, row in zip(keys, rows, strict=True) if found[key] is None}
        if missing:
            encoded = _encode(list(missing.values()), base).split([1] * len(missing))
            for key, part in zip(missing, encoded, strict=True):
                # A copy of its own: a view would keep its whole batch alive.
                kept = found[key] = part.clone()
                self._cache.put(key, kept, kept.nbytes)
        texts = [found[key] for key in keys]
        return [text for text in texts if text is not None]


def _encode(rows: Sequence[TextRow], base: LoadedBase) -> EncodedTexts:
    model = base.model
    ids_BEN = model.text_ids([row.text for row in rows])
    try:
        with ExitStack() as routings:
            for component, encoder in model.text_encoders.items():
                adapters = [row.adapters.get(component) for row in rows]
                if any(adapter is not None for adapter in adapters):
                    routing = GatheredRouting(model.device, encoder.dtype)
                    routing.set_rows(adapters, [1] * len(rows))
                    routings.enter_context(routed(encoder, routing))
            return model.encode_texts(ids_BEN, clip_skip=rows[0].clip_skip)
    except ValueError as error:
        raise JobError(
            str(error), kind="InvalidArgument", reason="INVALID_ARGUMENT", field="clip_skip"
        ) from error
