"""What the batch's rows may take of the device while they pass the model."""

from __future__ import annotations

import torch

from lorakit.device_memory import free_bytes


class RowMemory:
    """As many bytes as the operator says, or what base models and caches leave free."""

    def __init__(self, device: torch.device, fixed_bytes: int = 0) -> None:
        """``fixed_bytes`` 0: what is free. It changes most when a base model comes or goes."""
        self._device = device
        self._fixed_bytes = fixed_bytes
        self._free_bytes = 0
        self._bases: frozenset[str] | None = None

    def bytes(self, bases: frozenset[str], *, idle: bool) -> int:
        """Asked between steps, when no pass is under way. ``bases``: digests of those that are loaded."""
        if self._fixed_bytes:
            return self._fixed_bytes
        if idle or bases != self._bases:
            self._free_bytes = free_bytes(self._device)
            self._bases = bases
        return self._free_bytes
