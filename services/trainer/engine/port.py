"""What differs between kinds of base models when LoRAs are trained on them; a pack knows nothing else of its
base."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from lorakit.module_shape import Component, ModuleShape
from lorakit.trainable import TrainableAdapter
from services.trainer.engine.generators import Generators
from services.trainer.engine.items import SampleSettings, TrainingItem
from services.trainer.engine.spec import JobSpec

OnProgress = Callable[[int, int], None]
"""Called with items cached and items in all."""
Sample = np.ndarray | str
"""A picture [H, W, 3] uint8, or a text."""


class Data(Protocol):
    """All that a job trains on, read and encoded once."""

    @property
    def digest(self) -> str:
        """Of the items in order: a checkpoint belongs to one set of items."""
        ...

    def __len__(self) -> int:
        """Items."""
        ...


class Rows(Protocol):
    """Rows of one job and one shape, drawn for one step, on the CPU."""

    @property
    def shape(self) -> Hashable:
        """Rows of one shape can share a pass."""
        ...

    @property
    def shares_N(self) -> Tensor:  # noqa: N802
        """What each row's loss counts in the loss of the job's step."""
        ...

    def __len__(self) -> int:
        """N."""
        ...


D = TypeVar("D", bound=Data)
R = TypeVar("R", bound=Rows)


@dataclass(frozen=True, slots=True)
class Member(Generic[D, R]):
    """One job's rows in a pass."""

    spec: JobSpec
    data: D
    parameters: TrainableAdapter
    dropout: torch.Generator
    rows: R


class Family(ABC, Generic[D, R]):
    """One resident frozen base, and how jobs learn on it."""

    name: str
    """The family's name in LoRA records."""
    sha256: str
    """The base's digest."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the passes run."""

    @property
    @abstractmethod
    def components(self) -> Mapping[Component, nn.Module]:
        """The models that LoRAs may sit on; the first is the one that every job trains."""

    @abstractmethod
    def prepare(self, device: str) -> None:
        """Moves the base to the device, in the layout that trains fastest."""

    @abstractmethod
    def modules(
        self, component: Component, targets: frozenset[str] | None = None
    ) -> Mapping[str, ModuleShape]:
        """The layers that a LoRA with these targets (None: with all) sits on."""

    @abstractmethod
    def trained(self, spec: JobSpec) -> Sequence[Component]:
        """The components that a job trains."""

    @abstractmethod
    def cache(self, spec: JobSpec, items: Sequence[TrainingItem], on_progress: OnProgress | None) -> D:
        """Reads and encodes a job's items. Raises EngineFault naming the item that cannot be used."""

    @abstractmethod
    def draw(self, spec: JobSpec, data: D, indices: Sequence[int], generators: Generators) -> list[R]:
        """The rows of a job's next step, those of one shape together; their shares add up to 1."""

    @abstractmethod
    def losses(self, members: Sequence[Member[D, R]], contexts: ExitStack) -> Tensor:
        """The loss of each row, [B], of members whose rows have one shape; before their shares count.

        Enters the routing into `contexts`, which the caller keeps up until the backward pass is over:
        recomputation must see the same routing.
        """

    @abstractmethod
    def sample(
        self,
        parameters: TrainableAdapter,
        prompts: Sequence[str],
        settings: SampleSettings,
        *,
        autocast: torch.dtype | None,
    ) -> Sequence[Sample]:
        """One sample of an adapter for each prompt; the same seed gives the same samples."""
