"""The parameters of one training job's LoRA.

R rank, D input and O output features. 1x1 convolutions are trained as the Linears they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from lorakit.adapter import Adapter, LoraWeights
from lorakit.errors import LoraMismatchError
from lorakit.module_shape import Component, ModuleShape


@dataclass(frozen=True, slots=True, eq=False)
class TrainableLora:
    """One module's pair of float32 parameters; the delta is ``scale * up @ down``."""

    down: nn.Parameter
    """[R, D]"""
    up: nn.Parameter
    """[O, R]"""
    alpha: float

    @property
    def rank(self) -> int:
        """Rows of the down projection."""
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return self.alpha / self.rank


class TrainableAdapter:
    """All parameters of one job: component -> module path -> pair."""

    def __init__(self, components: Mapping[Component, Mapping[str, TrainableLora]]) -> None:
        self.components = components

    @classmethod
    def create(
        cls,
        shapes: Mapping[Component, Mapping[str, ModuleShape]],
        *,
        rank: int,
        alpha: float,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
    ) -> TrainableAdapter:
        """A new adapter whose delta is zero: down drawn from the job's CPU generator, up zero.

        Modules are drawn in the order of ``shapes``. Raises ValueError for a rank below 1 or a kernel above
        1x1.
        """
        if rank < 1:
            raise ValueError(f"rank must be at least 1, not {rank}")
        components = {
            component: {
                path: _fresh(path, shape, rank, alpha, generator, device) for path, shape in modules.items()
            }
            for component, modules in shapes.items()
        }
        return cls(components)

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """``unet/<module path>/down`` and so on, in a fixed order."""
        for component, modules in self.components.items():
            for path, lora in modules.items():
                yield f"{component}/{path}/down", lora.down
                yield f"{component}/{path}/up", lora.up

    def parameters(self, component: Component | None = None) -> list[nn.Parameter]:
        """The parameters of one component, or all."""
        chosen = self.components.values() if component is None else [self.components.get(component, {})]
        return [
            parameter for modules in chosen for lora in modules.values() for parameter in (lora.down, lora.up)
        ]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Copies of all parameters, for a checkpoint."""
        return {name: parameter.detach().clone() for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take the values of :meth:`state_dict` back. Raises LoraMismatchError unless names and shapes
        agree.
        """
        own = dict(self.named_parameters())
        wrong = sorted(own.keys() ^ state.keys())
        wrong += [name for name in own.keys() & state.keys() if own[name].shape != state[name].shape]
        if wrong:
            raise LoraMismatchError("the checkpoint is of another adapter", keys=wrong)
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(state[name])

    def frozen_copy(self) -> TrainableAdapter:
        """The parameters as they are now, in memory of their own, without gradients."""
        return TrainableAdapter(
            {
                component: {
                    path: TrainableLora(_frozen(lora.down), _frozen(lora.up), lora.alpha)
                    for path, lora in modules.items()
                }
                for component, modules in self.components.items()
            }
        )

    def start_from(self, adapter: Adapter) -> None:
        """Continue from a finished LoRA, whose rank may be smaller: its delta is kept exactly.

        Modules that the LoRA lacks stay as they are. Raises LoraMismatchError if the LoRA has modules that
        are not trained here, or a larger rank.
        """
        unknown: list[str] = []
        for component, modules in adapter.components.items():
            own = self.components.get(component, {})
            for path, weights in modules.items():
                lora = own.get(path)
                if lora is None or weights.rank > lora.rank:
                    unknown.append(f"{component}.{path}")
                else:
                    _continue_from(lora, weights)
        if unknown:
            raise LoraMismatchError(
                "the LoRA to continue from has modules or ranks that this job lacks", keys=unknown
            )

    def to_components(
        self, shapes: Mapping[Component, Mapping[str, ModuleShape]]
    ) -> dict[Component, dict[str, LoraWeights]]:
        """Detached float32 copies on the CPU, 1x1 convolutions in four dimensions: the content of an
        Adapter.
        """
        return {
            component: {path: _weights(lora, shapes[component][path]) for path, lora in modules.items()}
            for component, modules in self.components.items()
        }


def _fresh(
    path: str,
    shape: ModuleShape,
    rank: int,
    alpha: float,
    generator: torch.Generator,
    device: torch.device | str,
) -> TrainableLora:
    if shape.kernel_size not in (None, (1, 1)):
        raise ValueError(f"{path}: only Linears and 1x1 convolutions are trained")
    bound = 1 / math.sqrt(shape.in_features)
    down_RD = torch.empty(rank, shape.in_features).uniform_(-bound, bound, generator=generator)
    up_OR = torch.zeros(shape.out_features, rank)
    return TrainableLora(nn.Parameter(down_RD.to(device)), nn.Parameter(up_OR.to(device)), alpha)


def _frozen(parameter: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(parameter.detach().clone(), requires_grad=False)


def _continue_from(lora: TrainableLora, weights: LoraWeights) -> None:
    """Copy the weights in; a rank that is left over keeps its drawn down and a zero up."""
    rank = weights.rank
    # The file's scale is folded in relative to ours, evenly on both sides.
    root = math.sqrt(abs(weights.alpha / rank) / lora.scale)
    sign = -1.0 if weights.alpha < 0 else 1.0
    with torch.no_grad():
        lora.down[:rank].copy_(weights.down_RD.flatten(1).float() * root)
        lora.up[:, :rank].copy_(weights.up_OR.flatten(1).float() * (root * sign))
        lora.up[:, rank:].zero_()


def _weights(lora: TrainableLora, shape: ModuleShape) -> LoraWeights:
    # Always copies: training goes on while the result is written.
    down_RD, up_OR = lora.down.detach().cpu().clone(), lora.up.detach().cpu().clone()
    if shape.kernel_size is not None:
        down_RD, up_OR = down_RD[:, :, None, None], up_OR[:, :, None, None]
    return LoraWeights(down_RD, up_OR, lora.alpha)
