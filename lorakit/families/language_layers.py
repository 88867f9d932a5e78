"""Which layers of a language model LoRAs sit on, told from their paths. Free of torch.

Architectures name their layers differently (`model.layers.0.self_attn.q_proj`, `transformer.h.0.attn.c_attn`,
`gpt_neox.layers.0.attention.query_key_value`), but a decoder block has a number, and within it one part is
the attention and another the feed-forward network, whose names say so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

ATTENTION = "attention"
FEED_FORWARD = "feed_forward"

_BLOCK = re.compile(r"(?:^|\.)(?:layers|h)\.\d+\.(?P<inside>.+)")
_PARTS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        ATTENTION: re.compile(r"(^|[._])(attn|attention)([._]|$)"),
        FEED_FORWARD: re.compile(r"(^|[._])(mlp|ffn|feed_forward|fc[12])([._]|$)"),
    }
)


def target_of(path: str) -> str | None:
    """`attention` or `feed_forward`, or None for a layer that belongs to neither."""
    block = _BLOCK.search(path)
    if block is None:
        return None
    return next((target for target, part in _PARTS.items() if part.search(block["inside"])), None)
