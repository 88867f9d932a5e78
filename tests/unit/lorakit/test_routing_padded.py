"""Routing with buffers of fixed shapes, and the graphs that are compiled with it."""

from __future__ import annotations

import copy

import torch
from torch import nn

from lorakit.routing import PaddedRouting, RowAdapter, padded_count, routed
from tests.fixtures.routed_unet import TOLERANCE, merged, random_adapter, rows_of, run, unet_inputs
from tests.unit.lorakit.test_routing_convolutions import locon


def test_counts_are_padded_to_few_sizes() -> None:
    assert [padded_count(count) for count in (1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 17, 24, 25)] == [
        *(1, 2, 3, 4, 6, 6, 8, 12, 12, 16, 24, 24, 32)
    ]


def adapters(unet: nn.Module) -> list[RowAdapter | None]:
    return [
        RowAdapter("a", locon(unet, 1, rank=3)),
        None,
        RowAdapter("b", random_adapter(unet, 2, rank=9, every=3)),
    ]


def test_each_row_equals_its_own_merged_model(unet: nn.Module, routed_unet: nn.Module) -> None:
    routing = PaddedRouting(torch.device("cpu"), torch.float32)
    inputs = unet_inputs(6)
    rows = adapters(unet)
    for order in ([0, 1, 2], [2, 1, 0], [1, 1, 1], [0, 0, 2]):
        given = [rows[index] for index in order]
        routing.set_rows(given, [2, 1, 2])
        with torch.inference_mode():
            with routed(routed_unet, routing):
                together = run(routed_unet, inputs)
            for adapter, part in zip(
                (*given, None), (slice(0, 2), slice(2, 3), slice(3, 5), slice(5, 6)), strict=True
            ):
                alone = merged(unet, adapter.modules) if adapter else unet
                assert (together[part] - run(alone, rows_of(inputs, part))).abs().max() < 5 * TOLERANCE


def test_places_stay_as_the_batch_gets_smaller_and_larger(unet: nn.Module, routed_unet: nn.Module) -> None:
    routing = PaddedRouting(torch.device("cpu"), torch.float32)
    a, _, b = adapters(unet)
    assert a is not None and b is not None
    for line in ([a], [a, b, a, b, a], [b], [b, None, a, a], [a, a, a, b, b, b, a]):
        routing.set_rows(line, [1] * len(line))
        inputs = unet_inputs(padded_count(len(line)))
        with torch.inference_mode():
            with routed(routed_unet, routing):
                together = run(routed_unet, inputs)
            for index, adapter in enumerate(line):
                alone = merged(unet, adapter.modules) if adapter else unet
                rows = slice(index, index + 1)
                assert (together[rows] - run(alone, rows_of(inputs, rows))).abs().max() < 5 * TOLERANCE


def test_a_compiled_graph_serves_other_stacks_as_well(unet: nn.Module, routed_unet: nn.Module) -> None:
    graphs = 0

    def count(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> object:
        nonlocal graphs
        graphs += 1
        return graph.forward

    torch._dynamo.reset()
    compiled = torch.compile(copy.deepcopy(routed_unet), dynamic=False, backend=count)
    original = compiled._orig_mod
    routing = PaddedRouting(torch.device("cpu"), torch.float32)
    stacks = [
        [RowAdapter(name, random_adapter(unet, seed, rank=rank)) for name, seed, rank in line]
        for line in ((("a", 1, 3), ("b", 2, 4)), (("c", 3, 4), ("a", 1, 3)), (("d", 4, 3), ("d", 4, 3)))
    ]
    inputs = unet_inputs(3)
    for index, stack in enumerate(stacks):
        routing.set_rows(stack, [2, 1])
        with torch.inference_mode():
            with routed(original, routing):
                together = run(compiled, inputs)
            expected = run(merged(unet, stack[0].modules), rows_of(inputs, slice(0, 2)))
        assert (together[:2] - expected).abs().max() < 5 * TOLERANCE
        if index == 0:
            first = graphs
        else:
            routing = PaddedRouting(torch.device("cpu"), torch.float32)  # as another batch has it
    assert graphs == first
