"""A job's own sources of chance."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Generators:
    """A job's own sources of chance, all on the CPU, so that its result depends on its seed alone."""

    order: torch.Generator
    """Data order, flips and caption dropout."""
    noise: torch.Generator
    """Latent samples, noise and timesteps."""
    dropout: torch.Generator
    """Dropout behind the down projections."""

    @classmethod
    def seeded(cls, seed: int) -> Generators:
        """Three streams that do not follow from one another."""
        return cls(*(derived_generator(seed, name) for name in ("order", "noise", "dropout")))

    def state(self) -> dict[str, Tensor]:
        """Every generator's state, uint8."""
        return {name: getattr(self, name).get_state() for name in self.__slots__}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Takes `state()` back."""
        for name in self.__slots__:
            getattr(self, name).set_state(state[name])


def derived_generator(seed: int, name: str) -> torch.Generator:
    """A CPU generator for one purpose of one seed."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
