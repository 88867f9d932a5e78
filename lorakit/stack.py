"""A stack of weighted LoRAs is one adapter: ranks side by side, weights folded into the up matrices.

For {(A_i, B_i, alpha_i, R_i, w_i)}: A = [A_1; A_2; ...], B = [w_1 alpha_1 / R_1 B_1, ...], alpha = rank.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from lorakit.adapter import Adapter, LoraWeights
from lorakit.errors import LoraMismatchError
from lorakit.families.detection import UNKNOWN
from lorakit.families.naming import TEXT_ENCODER, TEXT_ENCODER_2
from lorakit.module_shape import Component

Stack = Sequence[tuple[Adapter, float, float]]
"""(adapter, weight of its text encoders, weight of all else), in the order of the request."""
_TEXT_ENCODERS = (TEXT_ENCODER, TEXT_ENCODER_2)


def combine(stack: Stack, *, dtype: torch.dtype = torch.float32) -> Adapter:
    """The one adapter that does what the stack does, with alpha = rank in every module.

    The same LoRA (same digest, or same object) named twice counts once, with the sum of its weights. A weight
    of 0 leaves no trace: nothing is multiplied by 0. Folding is done in float32, then cast to `dtype`.
    Raises LoraMismatchError if the LoRAs are of different families or shapes, ValueError for a weight that is
    not finite.
    """
    merged = _add_weights(stack)
    families = sorted({adapter.family for adapter, _, _ in merged if adapter.family != UNKNOWN})
    if len(families) > 1:
        raise LoraMismatchError(f"LoRAs of different base families cannot be stacked: {', '.join(families)}")
    parts: dict[Component, dict[str, list[tuple[LoraWeights, float]]]] = {}
    for adapter, text_encoder_weight, main_weight in merged:
        for component, path, weights in adapter.each():
            weight = text_encoder_weight if component in _TEXT_ENCODERS else main_weight
            if weight != 0.0:
                parts.setdefault(component, {}).setdefault(path, []).append((weights, weight))
    components: Mapping[Component, Mapping[str, LoraWeights]] = {
        component: {path: _fold(path, entries, dtype) for path, entries in modules.items()}
        for component, modules in parts.items()
    }
    return Adapter(components, families[0] if families else UNKNOWN)


def weigh(adapter: Adapter, text_encoder_weight: float, main_weight: float) -> Adapter:
    """A stack of one LoRA: its own tensors, with the weight in alpha. A weight of 0 leaves no trace.

    Raises ValueError for a weight that is not finite.
    """
    _check_finite(text_encoder_weight, main_weight)
    components: dict[Component, dict[str, LoraWeights]] = {}
    for component, path, weights in adapter.each():
        weight = text_encoder_weight if component in _TEXT_ENCODERS else main_weight
        if weight != 0.0:
            weighed = LoraWeights(weights.down_RD, weights.up_OR, weights.alpha * weight)
            components.setdefault(component, {})[path] = weighed
    return Adapter(components, adapter.family)


def _check_finite(text_encoder_weight: float, main_weight: float) -> None:
    if not (math.isfinite(text_encoder_weight) and math.isfinite(main_weight)):
        raise ValueError(f"weights must be finite, not {text_encoder_weight} and {main_weight}")


def _add_weights(stack: Stack) -> list[tuple[Adapter, float, float]]:
    totals: dict[str | int, tuple[Adapter, float, float]] = {}
    for adapter, text_encoder_weight, main_weight in stack:
        _check_finite(text_encoder_weight, main_weight)
        key: str | int = adapter.digest or id(adapter)
        _, te, main = totals.get(key, (adapter, 0.0, 0.0))
        totals[key] = (adapter, te + text_encoder_weight, main + main_weight)
    return list(totals.values())


def _fold(path: str, entries: Sequence[tuple[LoraWeights, float]], dtype: torch.dtype) -> LoraWeights:
    downs = [weights.down_RD.float() for weights, _ in entries]
    ups = [weights.up_OR.float() * (weight * weights.scale) for weights, weight in entries]
    try:
        down, up = torch.cat(downs), torch.cat(ups, dim=1)
    except RuntimeError as error:
        if len({(down.shape[1:], up.shape[0]) for down, up in zip(downs, ups, strict=True)}) == 1:
            raise  # no memory, most likely
        raise LoraMismatchError(f"the stacked LoRAs have different shapes for {path}", keys=[path]) from error
    return LoraWeights(down.to(dtype), up.to(dtype), float(len(down)))
