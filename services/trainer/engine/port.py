"""What differs between kinds of base models when LoRAs are trained on them; a pack knows nothing else of its
base."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from lorakit.module_shape import Component, ModuleShape
from lorakit.routing import Segment
from lorakit.trainable import TrainableAdapter
from services.trainer.engine.generators import Generators, derived_generator
from services.trainer.engine.items import SampleSettings, TrainingItem
from services.trainer.engine.recomputation import recompute
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

    def part(self, first: int, stop: int) -> Self:
        """The rows from `first` to before `stop`, each as it is here."""
        ...


D = TypeVar("D", bound=Data)
R = TypeVar("R", bound=Rows)


@dataclass(frozen=True, slots=True)
class Member(Generic[D, R]):
    """One job's rows in a pass."""

    spec: JobSpec
    data: D
    parameters: TrainableAdapter
    dropout_seed: int
    """Drawn for these rows by the job's own generator: a pass that is made again drops the same."""
    rows: R
    weight: float = 1.0
    """Factor on the rows' shares."""
    first_row: int = 0
    drawn_rows: int = 0
    """Of how many rows these are a part, from `first_row` on; 0: of none."""

    def part(self, first: int, stop: int) -> Member[D, R]:
        """The rows from `first` to before `stop`: what they learn does not change by it."""
        return replace(
            self,
            rows=self.rows.part(first, stop),
            first_row=self.first_row + first,
            drawn_rows=self.drawn_rows or len(self.rows),
        )

    def segment(self, component: Component) -> Segment:
        """The rows as the routing of a component wants them; a new one for each pass."""
        return Segment(
            rows=len(self.rows),
            modules=self.parameters.components[component],
            dropout=self.spec.dropout,
            generator=derived_generator(self.dropout_seed, component),
            first_row=self.first_row,
            drawn_rows=self.drawn_rows,
        )


class Family(ABC, Generic[D, R]):
    """One resident frozen base, and how jobs learn on it."""

    name: str
    """The family's name in LoRA records."""
    sha256: str
    """The base's digest."""
    validation_draws: int = 1
    """How often an evaluation draws each item: more than once where much of a row's loss is chance."""

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

    def recompute(self, on: bool) -> None:
        """Switches gradient checkpointing: less memory, for one more forward pass."""
        for model in self.components.values():
            recompute(model, on)

    @abstractmethod
    def modules(
        self, component: Component, targets: frozenset[str] | None = None
    ) -> Mapping[str, ModuleShape]:
        """The layers that a LoRA with these targets (None: with all) sits on."""

    @abstractmethod
    def area(self, shape: Hashable) -> int:
        """Pixels of a row's picture, or tokens of its text."""

    @abstractmethod
    def trained(self, spec: JobSpec) -> Sequence[Component]:
        """The components that a job trains."""

    @abstractmethod
    def cache(self, spec: JobSpec, items: Sequence[TrainingItem], on_progress: OnProgress | None) -> D:
        """Reads and encodes a job's items. Raises EngineFault naming the item that cannot be used."""

    def groups(self, data: D) -> Sequence[Hashable]:
        """The group of each item: a step's batch is of one group, so that it takes few passes."""
        return [None] * len(data)

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
