"""Which layers of a Stable Diffusion model LoRAs sit on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum

from torch import nn

from lorakit.families.naming import UNET
from lorakit.module_shape import Component, ModuleShape
from lorakit.routing.layers import can_route


class Target(StrEnum):
    """A kind of layer that a LoRA can be trained on."""

    ATTENTION = "attention"
    FEED_FORWARD = "feed_forward"
    PROJECTIONS = "projections"
    """The layers into and out of each transformer block of the UNet (1x1 convolutions or Linears)."""


_UNET_TARGETS: Mapping[Target, tuple[str, ...]] = {
    Target.ATTENTION: (".to_q", ".to_k", ".to_v", ".to_out.0"),
    Target.FEED_FORWARD: (".ff.net.0.proj", ".ff.net.2"),
    Target.PROJECTIONS: (".proj_in", ".proj_out"),
}
_TEXT_TARGETS: Mapping[Target, tuple[str, ...]] = {
    Target.ATTENTION: (".q_proj", ".k_proj", ".v_proj", ".out_proj"),
    Target.FEED_FORWARD: (".fc1", ".fc2"),
    Target.PROJECTIONS: (),
}


def target_modules(
    component: Component, model: nn.Module, targets: Collection[Target]
) -> dict[str, ModuleShape]:
    """Module path -> shape of the layers that a LoRA with these targets has, in the model's order."""
    table = _UNET_TARGETS if component == UNET else _TEXT_TARGETS
    endings = tuple(ending for target in targets for ending in table[target])
    # Attention also occurs outside transformer blocks in other families; SD 1.5's LoRAs sit inside them.
    inside = ".attentions." if component == UNET else "encoder.layers."
    return {
        path: shape
        for path, shape in module_shapes(model).items()
        if inside in f".{path}" and path.endswith(endings) and can_route(model.get_submodule(path))
    }


def module_shapes(model: nn.Module) -> dict[str, ModuleShape]:
    """Every Linear and convolution of a model, by path: what a LoRA file may name."""
    shapes: dict[str, ModuleShape] = {}
    for path, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            shapes[path] = ModuleShape(layer.in_features, layer.out_features)
        elif isinstance(layer, nn.Conv2d):
            kernel = (layer.kernel_size[0], layer.kernel_size[1])
            shapes[path] = ModuleShape(layer.in_channels, layer.out_channels, kernel)
    return shapes


def routable_paths(model: nn.Module) -> list[str]:
    """Paths of all layers through which rows can be routed, for lorakit.routing.install."""
    return [path for path in module_shapes(model) if can_route(model.get_submodule(path))]
