"""A job's hundreds of small matrices in one piece of memory, for optimizers that look at each number alone.

A step over one long vector is several times faster than one over its pieces.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class FlatParameters:
    """Parameters of one device and dtype, which become views of `whole`."""

    def __init__(self, members: Sequence[nn.Parameter]) -> None:
        """Moves the members' numbers; the parameters stay the same objects."""
        self._members = members
        self.whole = nn.Parameter(torch.cat([member.detach().reshape(-1) for member in members]))
        """What an optimizer steps."""
        first = 0
        for member in members:
            member.data = self.whole.data[first : first + member.numel()].view(member.shape)
            first += member.numel()

    def gather_gradients(self) -> None:
        """Gives `whole` the members' gradients; 0 where a member has none."""
        gradients = [
            torch.zeros_like(member) if member.grad is None else member.grad for member in self._members
        ]
        self.whole.grad = torch.cat([gradient.reshape(-1) for gradient in gradients])
