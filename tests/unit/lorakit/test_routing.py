"""Routing against merged weights: each row of a batch is what it would be alone with its own merged model."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lorakit.adapter import LoraWeights
from lorakit.families import sd15
from lorakit.families.naming import TEXT_ENCODER
from lorakit.routing import (
    GatheredRouting,
    PaddedRouting,
    RowAdapter,
    SegmentRouting,
    install,
    routed,
    uninstall,
)
from tests.fixtures.routed_unet import ALL, TOLERANCE, merged, random_adapter, rows_of, run, unet_inputs
from tests.fixtures.tiny_sd import tiny_pipeline


def test_installed_layers_alone_change_nothing(unet: nn.Module, routed_unet: nn.Module) -> None:
    inputs = unet_inputs(2)
    with torch.no_grad():
        assert torch.equal(run(unet, inputs), run(routed_unet, inputs))
    assert routed_unet.state_dict().keys() == unet.state_dict().keys()
    uninstall(routed_unet)
    assert {type(layer) for layer in routed_unet.modules()} == {type(layer) for layer in unet.modules()}
    with torch.no_grad():
        assert torch.equal(run(unet, inputs), run(routed_unet, inputs))


@pytest.mark.parametrize("copies", [[1, 1, 1, 1, 1], [2, 2, 2, 2, 2], [2, 1, 2, 1, 1]])
def test_each_row_equals_its_own_merged_model(
    unet: nn.Module, routed_unet: nn.Module, copies: list[int]
) -> None:
    adapters = [
        RowAdapter("a", random_adapter(unet, 1, rank=3)),
        None,
        RowAdapter("b", random_adapter(unet, 2, rank=9, every=3)),
        RowAdapter("a", random_adapter(unet, 1, rank=3)),
        RowAdapter("c", random_adapter(unet, 3, rank=16, every=2)),
    ]
    routing = GatheredRouting(torch.device("cpu"), torch.float32)
    routing.set_rows(adapters, copies)
    inputs = unet_inputs(sum(copies))
    with torch.inference_mode():
        with routed(routed_unet, routing):
            together = run(routed_unet, inputs)
        start = 0
        for adapter, count in zip(adapters, copies, strict=True):
            alone = merged(unet, adapter.modules) if adapter else unet
            rows = slice(start, start + count)
            assert (together[rows] - run(alone, rows_of(inputs, rows))).abs().max() < TOLERANCE
            start += count


def test_membership_changes_reuse_the_buffers(unet: nn.Module, routed_unet: nn.Module) -> None:
    known = {
        key: RowAdapter(key, random_adapter(unet, seed, rank=rank))
        for key, seed, rank in [("a", 1, 4), ("b", 2, 3), ("c", 3, 12), ("d", 4, 1)]
    }
    routing = GatheredRouting(torch.device("cpu"), torch.float32)
    for members in (
        ["a", "b"],
        ["b", "a", "c"],
        ["a", None, "b"],
        ["d"],
        [None, None],
        ["c", "c"],
        ["d", "b"],
    ):
        adapters = [known[key] if key else None for key in members]
        routing.set_rows(adapters, [1] * len(members))
        inputs = unet_inputs(len(members), seed=len(members))
        with torch.inference_mode(), routed(routed_unet, routing):
            together = run(routed_unet, inputs)
        for index, adapter in enumerate(adapters):
            alone = merged(unet, adapter.modules) if adapter else unet
            rows = slice(index, index + 1)
            with torch.inference_mode():
                assert (together[rows] - run(alone, rows_of(inputs, rows))).abs().max() < TOLERANCE


def test_time_embedding_layers_can_be_adapted(unet: nn.Module, routed_unet: nn.Module) -> None:
    path = "time_embedding.linear_1"
    layer = unet.get_submodule(path)
    weights = LoraWeights(
        torch.randn(2, layer.in_features) * 0.1, torch.randn(layer.out_features, 2) * 0.1, 2.0
    )
    routing = GatheredRouting(torch.device("cpu"), torch.float32)
    routing.set_rows([None, RowAdapter("t", {path: weights})], [1, 1])
    inputs = unet_inputs(2)
    with torch.inference_mode(), routed(routed_unet, routing):
        together = run(routed_unet, inputs)
    with torch.inference_mode():
        assert (together[:1] - run(unet, rows_of(inputs, slice(0, 1)))).abs().max() < TOLERANCE
        alone = run(merged(unet, {path: weights}), rows_of(inputs, slice(1, 2)))
        assert (together[1:] - alone).abs().max() < TOLERANCE


def test_a_broken_adapter_stays_in_its_row(unet: nn.Module, routed_unet: nn.Module) -> None:
    broken = {
        path: LoraWeights(w.down_RD * float("nan"), w.up_OR, w.alpha)
        for path, w in random_adapter(unet, 1, rank=4).items()
    }
    sound = RowAdapter("sound", random_adapter(unet, 2, rank=8))
    routing = GatheredRouting(torch.device("cpu"), torch.float32)
    routing.set_rows([RowAdapter("broken", broken), sound, None], [2, 2, 2])
    inputs = unet_inputs(6)
    with torch.inference_mode():
        with routed(routed_unet, routing):
            together = run(routed_unet, inputs)
        assert together[:2].isnan().any()
        alone = run(merged(unet, sound.modules), rows_of(inputs, slice(2, 4)))
        assert (together[2:4] - alone).abs().max() < TOLERANCE
        assert (together[4:] - run(unet, rows_of(inputs, slice(4, 6)))).abs().max() < TOLERANCE


@pytest.mark.parametrize("kind", [GatheredRouting, PaddedRouting])
def test_a_write_that_breaks_off_leaves_nothing_half_written(
    unet: nn.Module, routed_unet: nn.Module, kind: type[GatheredRouting | PaddedRouting]
) -> None:
    before = RowAdapter("before", random_adapter(unet, 1, rank=4))
    sound = RowAdapter("next", random_adapter(unet, 2, rank=4))
    modules = dict(sound.modules)
    path, weights = list(modules.items())[-1]
    modules[path] = LoraWeights(weights.down_RD, weights.up_OR[:-1], weights.alpha)  # has no place
    routing = kind(torch.device("cpu"), torch.float32)
    routing.set_rows([before, before], [1, 1])
    with pytest.raises(RuntimeError):
        routing.set_rows([before, RowAdapter("next", modules)], [1, 1])
    inputs = unet_inputs(2)
    for line in ([before, before], [before, sound]):
        routing.set_rows(line, [1, 1])
        with torch.inference_mode():
            with routed(routed_unet, routing):
                together = run(routed_unet, inputs)
            for index, adapter in enumerate(line):
                rows = slice(index, index + 1)
                alone = run(merged(unet, adapter.modules), rows_of(inputs, rows))
                assert (together[rows] - alone).abs().max() < 5 * TOLERANCE


def test_a_small_adapter_is_not_kept_as_a_large_one(unet: nn.Module) -> None:
    small = [RowAdapter(key, random_adapter(unet, seed, rank=4)) for seed, key in enumerate("abcdefg")]
    large = RowAdapter("large", random_adapter(unet, 9, rank=200))
    routing = GatheredRouting(torch.device("cpu"), torch.float32)
    routing.set_rows([*small, large], [2] * 8)
    wanted = sum(weights.nbytes for adapter in (*small, large) for weights in adapter.modules.values())
    assert wanted <= kept_bytes(routing) < 1.1 * wanted
    routing.set_rows(small, [2] * 7)
    assert kept_bytes(routing) < wanted / 5


def kept_bytes(routing: GatheredRouting) -> int:
    return sum(slots.down_NRD.nbytes + slots.up_NOR.nbytes for slots in routing._slots.values())


def test_text_encoder_rows_equal_merged_models() -> None:
    text_encoder = tiny_pipeline().text_encoder.eval().requires_grad_(False)
    shapes = sd15.target_modules(TEXT_ENCODER, text_encoder, ALL)
    generator = torch.Generator().manual_seed(4)
    adapter = {
        path: LoraWeights(
            torch.randn(4, shape.in_features, generator=generator) * 0.1,
            torch.randn(shape.out_features, 4, generator=generator) * 0.1,
            4.0,
        )
        for path, shape in shapes.items()
    }
    model = copy.deepcopy(text_encoder)
    install(model, sd15.routable_paths(model))
    routing = GatheredRouting(torch.device("cpu"), torch.float32)
    routing.set_rows([None, RowAdapter("x", adapter)], [1, 1])
    ids = torch.randint(0, 90, (2, 12), generator=generator)
    with torch.inference_mode():
        with routed(model, routing):
            together = model(ids).last_hidden_state
        assert torch.allclose(together[:1], text_encoder(ids[:1]).last_hidden_state, atol=TOLERANCE)
        alone = merged(text_encoder, adapter)(ids[1:]).last_hidden_state
        assert torch.allclose(together[1:], alone, atol=TOLERANCE)


def test_routing_needs_installed_layers_and_does_not_nest(unet: nn.Module, routed_unet: nn.Module) -> None:
    with pytest.raises(ValueError, match="call install first"), routed(unet, SegmentRouting([])):
        pass
    outer, inner = routed(routed_unet, SegmentRouting([])), routed(routed_unet, SegmentRouting([]))
    with pytest.raises(ValueError, match="already"), outer, inner:
        pass
    with pytest.raises(ValueError, match="already"):
        install(routed_unet, [])


def test_other_layers_are_refused(unet: nn.Module) -> None:
    with pytest.raises(ValueError, match="conv_norm_out is neither"):
        install(copy.deepcopy(unet), ["conv_norm_out"])
