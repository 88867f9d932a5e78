"""LoCon: rows with adapters on convolutions of any kernel against models that have them merged in."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lorakit.adapter import LoraWeights
from lorakit.families.targets import module_shapes
from lorakit.routing import GatheredRouting, RowAdapter, routed
from tests.fixtures.routed_unet import merged, random_adapter, rows_of, run, unet_inputs

TOLERANCE = 1e-5


def locon(model: nn.Module, seed: int, rank: int, *, every: int = 1) -> dict[str, LoraWeights]:
    """Weights for every n-th convolution, and the usual ones beside them."""
    generator = torch.Generator().manual_seed(seed)
    modules = dict(random_adapter(model, seed, rank))
    convolutions = {path: shape for path, shape in module_shapes(model).items() if shape.kernel_size}
    for path, shape in list(convolutions.items())[::every]:
        down = torch.randn(rank, shape.in_features, *shape.kernel_size, generator=generator) * 0.05
        up = torch.randn(shape.out_features, rank, 1, 1, generator=generator) * 0.05
        modules[path] = LoraWeights(down, up, 2.0)
    return modules


@pytest.mark.parametrize("copies", [[1, 1, 1, 1], [2, 2, 2, 2], [2, 1, 2, 1]])
def test_each_row_equals_its_own_merged_model(
    unet: nn.Module, routed_unet: nn.Module, copies: list[int]
) -> None:
    adapters = [
        RowAdapter("a", locon(unet, 1, rank=3)),
        None,
        RowAdapter("b", locon(unet, 2, rank=9, every=2)),
        RowAdapter("c", random_adapter(unet, 3, rank=4)),
    ]
    kernels = {layer.kernel_size for layer in unet.modules() if isinstance(layer, nn.Conv2d)}
    strides = {layer.stride for layer in unet.modules() if isinstance(layer, nn.Conv2d)}
    assert {(3, 3), (1, 1)} <= kernels
    assert {(1, 1), (2, 2)} <= strides
    routing = GatheredRouting(torch.device("cpu"), torch.float32)
    routing.set_rows(adapters, copies)
    inputs = unet_inputs(sum(copies))
    start = 0
    with torch.inference_mode():
        with routed(routed_unet, routing):
            together = run(routed_unet, inputs)
        for adapter, count in zip(adapters, copies, strict=True):
            alone = merged(unet, adapter.modules) if adapter else unet
            rows = slice(start, start + count)
            assert (together[rows] - run(alone, rows_of(inputs, rows))).abs().max() < TOLERANCE
            start += count


def test_rows_of_one_stack_share_their_products(unet: nn.Module, routed_unet: nn.Module) -> None:
    adapter = RowAdapter("a", locon(unet, 1, rank=4))
    routing = GatheredRouting(torch.device("cpu"), torch.float32)
    routing.set_rows([adapter, adapter, adapter], [2, 2, 2])
    inputs = unet_inputs(6)
    with torch.inference_mode():
        with routed(routed_unet, routing):
            together = run(routed_unet, inputs)
        expected = run(merged(unet, adapter.modules), inputs)
    assert (together - expected).abs().max() < TOLERANCE
