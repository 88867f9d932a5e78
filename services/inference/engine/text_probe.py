"""Tries, before a language model serves anyone, whether its rows can share passes at all.

Architectures differ in what they keep of a text and in what they make of masks and positions; one that would
answer differently in company is refused here, and never wrong silently.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers.cache_utils import DynamicLayer

from lorakit.errors import BaseModelError
from services.inference.engine.text_slots import LayerShape

if TYPE_CHECKING:
    from services.inference.engine.text_bases import TextBase

_LENGTHS = (5, 3)
_FURTHER = 2
"""Tokens after the prompt."""
_TOLERANCES = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 8e-2}
"""Of the largest score."""


def layer_shapes(model: Any) -> list[LayerShape]:
    """What each layer keeps of a token. Raises BaseModelError if that is anything but keys and values."""
    ids_BT = torch.zeros(1, 2, dtype=torch.long, device=model.device)
    cache = model(ids_BT, use_cache=True).past_key_values
    layers = getattr(cache, "layers", None) or []
    shapes = []
    for layer in layers:
        if not isinstance(layer, DynamicLayer) or not isinstance(layer.keys, torch.Tensor):
            raise BaseModelError(
                f"{type(model).__name__} keeps more of a text than keys and values; that is not served"
            )
        assert layer.values is not None
        heads, key_size, value_size = layer.keys.shape[1], layer.keys.shape[3], layer.values.shape[3]
        shapes.append(LayerShape(heads, key_size, value_size, layer.keys.dtype))
    if not shapes:
        raise BaseModelError(f"{type(model).__name__} keeps no keys and values")
    return shapes


def probe(base: TextBase) -> None:
    """Compares rows of different lengths in one batch with the same texts alone. Raises BaseModelError."""
    model = base.language.model
    total = max(_LENGTHS) + _FURTHER
    ids_BT = (torch.arange(2 * total, device=base.device) * 7 + 1).reshape(2, total) % base.word_count
    try:
        found = _together(base, ids_BT)
    except (ValueError, TypeError, RuntimeError, IndexError) as error:
        raise BaseModelError(
            f"{type(model).__name__} takes no rows of different lengths: {error}; it is not served"
        ) from error
    for row, length in enumerate(_LENGTHS):
        alone_TV = model(ids_BT[row : row + 1, : length + _FURTHER], use_cache=False).logits[0].float()
        together_TV = torch.stack([scores_BV[row] for scores_BV in found])
        expected_TV = alone_TV[length - 1 :]
        tolerance = _TOLERANCES[model.dtype] * float(expected_TV.abs().max())
        if not torch.allclose(together_TV, expected_TV, rtol=0, atol=tolerance):
            raise BaseModelError(
                f"the texts of {type(model).__name__} would change in company with others; it is not served"
            )


def _together(base: TextBase, ids_BT: torch.Tensor) -> list[torch.Tensor]:
    """Scores [B, V] after the prompts, and after each further token."""
    slots = base.new_slots()
    slots.resize(*ids_BT.shape)
    found, lengths = [], [0, 0]
    for new in (_LENGTHS, *[(1, 1)] * _FURTHER):
        part_BT = torch.stack([ids_BT[row, lengths[row] :][: max(new)] for row in range(2)])
        positions_BT = slots.begin([0, 1], lengths, new)
        found.append(base.scores(part_BT, positions_BT, [count - 1 for count in new], slots))
        lengths = [length + count for length, count in zip(lengths, new, strict=True)]
    return found
