"""Which of the tokens before it a token sees: all, or those within a window, as the model was made.

B rows, T new tokens, L tokens of the longest row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from lorakit.errors import BaseModelError

_FULL, _SLIDING = "full_attention", "sliding_attention"


@dataclass(frozen=True, slots=True)
class Masks:
    """How a model's masks are made. Each is added to the scores of attention: 0 or the least number."""

    window: int | None
    """Tokens that a token of a sliding layer sees, itself counted; None: all."""
    kinds: tuple[str, ...] = ()
    """The kinds of layers of a model that takes a mask for each; none: it takes one."""

    def build(
        self, positions_BT: torch.Tensor, length: int, dtype: torch.dtype
    ) -> torch.Tensor | dict[str, torch.Tensor]:
        """What the model takes as its attention mask: [B, 1, T, L], or such for each kind of layer."""
        if not self.kinds:
            return _mask(positions_BT, length, self.window, dtype)
        windows = {_FULL: None, _SLIDING: self.window}
        return {kind: _mask(positions_BT, length, windows[kind], dtype) for kind in self.kinds}


def read_masks(config: Any) -> Masks:
    """How the masks of a model of this configuration are made. Raises BaseModelError for other kinds."""
    window = getattr(config, "sliding_window", None)
    kinds = tuple(sorted(set(getattr(config, "layer_types", None) or ())))
    strange = [kind for kind in kinds if kind not in (_FULL, _SLIDING)]
    if strange:
        raise BaseModelError(f"layers of the kind {strange[0]} are not served")
    if not kinds:
        return Masks(window)
    return Masks(window, kinds) if _SLIDING in kinds else Masks(None)


def _mask(positions_BT: torch.Tensor, length: int, window: int | None, dtype: torch.dtype) -> torch.Tensor:
    places_L = torch.arange(length, device=positions_BT.device)
    hidden_BTL = places_L > positions_BT[:, :, None]
    if window is not None:
        hidden_BTL |= places_L <= positions_BT[:, :, None] - window
    mask_BTL = torch.zeros(hidden_BTL.shape, dtype=dtype, device=positions_BT.device)
    return mask_BTL.masked_fill_(hidden_BTL, torch.finfo(dtype).min)[:, None]
