"""The routed layers, and how they are put into a model.

B rows, T tokens, D input and O output features, H x W pixels. A picture of a 1x1 convolution is a row of
H * W tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn
from torch.nn import functional


class Routing(Protocol):
    """Says, for one forward pass, what each layer adds to each row."""

    def add(self, module_path: str, x_BTD: torch.Tensor, y_BTO: torch.Tensor) -> torch.Tensor:
        """``y_BTO`` with the rows' adapters of this module added; may change ``y_BTO`` in place."""
        ...

    def add_convolved(
        self, module_path: str, convolution: nn.Conv2d, x_BDHW: torch.Tensor, y_BOHW: torch.Tensor
    ) -> torch.Tensor:
        """The same for a convolution whose kernel is larger than 1x1, or that has strides."""
        ...


@dataclass(slots=True, eq=False)
class Router:
    """Where the layers of one model look for the routing in force.

    A plain attribute and no context variable: gradient checkpointing runs a layer again during the backward
    pass, on another thread for some devices, and must see the routing of the forward pass.
    """

    active: Routing | None = None


class RoutedLinear(nn.Linear):
    """Stands in for a Linear whose parameters it shares, so names in the state dict stay."""

    def __init__(self, base: nn.Linear, router: Router, path: str) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = base.in_features, base.out_features
        self.weight, self.bias = base.weight, base.bias
        self.training = base.training
        self.router, self.path = router, path

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 (the base class's name)
        """``input`` [B, ..., D] -> [B, ..., O], each row with its own adapter."""
        y = functional.linear(input, self.weight, self.bias)
        routing = self.router.active
        if routing is None:
            return y
        if input.dim() == 3:
            return routing.add(self.path, input, y)
        rows = input.shape[0]
        x_BTD, y_BTO = input.reshape(rows, -1, self.in_features), y.reshape(rows, -1, self.out_features)
        return routing.add(self.path, x_BTD, y_BTO).reshape(y.shape)


class RoutedConv(nn.Conv2d):
    """Stands in for a convolution whose parameters it shares."""

    def __init__(self, base: nn.Conv2d, router: Router, path: str) -> None:
        nn.Module.__init__(self)
        # What a convolution computes with, as its constructor leaves it; nothing is allocated twice.
        self.__dict__.update({key: value for key, value in base.__dict__.items() if not key.startswith("_")})
        self._reversed_padding_repeated_twice = base._reversed_padding_repeated_twice
        self.weight, self.bias = base.weight, base.bias
        self.router, self.path = router, path
        self.by_tokens = _is_by_tokens(base)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 (the base class's name)
        """``input`` [B, D, H, W] -> [B, O, H, W], each row with its own adapter."""
        y_BOHW = super().forward(input)
        routing = self.router.active
        if routing is None:
            return y_BOHW
        if not self.by_tokens:
            return routing.add_convolved(self.path, self, input, y_BOHW)
        x_BTD, y_BTO = input.flatten(2).transpose(1, 2), y_BOHW.flatten(2).transpose(1, 2)
        return routing.add(self.path, x_BTD, y_BTO).transpose(1, 2).reshape(y_BOHW.shape)


_ROUTER = "lora_router"


def install(model: nn.Module, paths: Iterable[str]) -> None:
    """Put routed layers at ``paths`` (Linears and convolutions), once for each model.

    Raises:
        ValueError: a path names another kind of layer, or the model has routed layers already.
    """
    if getattr(model, _ROUTER, None) is not None:
        raise ValueError("the model has routed layers already")
    router = Router()
    replaced = {path: _routed_layer(model.get_submodule(path), router, path) for path in paths}
    for path, layer in replaced.items():
        _replace(model, path, layer)
    setattr(model, _ROUTER, router)


def uninstall(model: nn.Module) -> None:
    """Put plain layers back; a model without routed layers is left as it is."""
    routed_layers = [(path, layer) for path, layer in model.named_modules() if _is_routed(layer)]
    for path, layer in routed_layers:
        _replace(model, path, _plain_layer(layer))
    setattr(model, _ROUTER, None)


@contextmanager
def routed(model: nn.Module, routing: Routing) -> Iterator[None]:
    """Route the model's forward passes while the context lasts; a backward pass that recomputes belongs
    inside too.

    Raises:
        ValueError: the model has no routed layers, or is being routed already.
    """
    router = getattr(model, _ROUTER, None)
    if not isinstance(router, Router):
        raise ValueError("the model has no routed layers; call install first")
    if router.active is not None:
        raise ValueError("the model is being routed already")
    router.active = routing
    try:
        yield
    finally:
        router.active = None


def can_route(layer: nn.Module) -> bool:
    """Whether a layer is of a kind that rows can be routed through."""
    if isinstance(layer, nn.Conv2d):
        return layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return isinstance(layer, nn.Linear)


def _is_by_tokens(layer: nn.Conv2d) -> bool:
    """Whether each pixel goes through by itself."""
    return layer.kernel_size == (1, 1) and layer.stride == (1, 1) and layer.padding == (0, 0)


def _is_routed(layer: nn.Module) -> bool:
    return isinstance(layer, RoutedLinear | RoutedConv)


def _routed_layer(layer: nn.Module, router: Router, path: str) -> nn.Module:
    if not can_route(layer):
        raise ValueError(f"{path} is neither a Linear nor a plain convolution")
    if isinstance(layer, nn.Conv2d):
        return RoutedConv(layer, router, path)
    assert isinstance(layer, nn.Linear)
    return RoutedLinear(layer, router, path)


def _plain_layer(layer: nn.Module) -> nn.Module:
    with torch.device("meta"):
        if isinstance(layer, RoutedConv):
            plain: nn.Conv2d | nn.Linear = nn.Conv2d(
                layer.in_channels,
                layer.out_channels,
                _pair(layer.kernel_size),
                stride=_pair(layer.stride),
                padding=_pair(layer.padding),
                dilation=_pair(layer.dilation),
            )
        else:
            assert isinstance(layer, RoutedLinear)
            plain = nn.Linear(layer.in_features, layer.out_features)
    plain.weight, plain.bias = layer.weight, layer.bias
    return plain.train(layer.training)


def _replace(model: nn.Module, path: str, layer: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, layer)


def _pair(sides: str | tuple[int, ...]) -> tuple[int, int]:
    assert not isinstance(sides, str)
    return sides[0], sides[1]
