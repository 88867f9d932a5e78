"""Routing against merged weights: each row of a batch is what it would be alone with its own merged model."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import pytest
import torch
from torch import nn

from lorakit.adapter import LoraWeights
from lorakit.families import sd15
from lorakit.families.naming import TEXT_ENCODER, UNET
from lorakit.routing import GatheredRouting, RowAdapter, Segment, SegmentRouting, install, routed, uninstall
from lorakit.trainable import TrainableAdapter, TrainableLora
from tests.fixtures.tiny_sd import tiny_pipeline

TOLERANCE = 2e-6
ALL = list(sd15.Target)


@pytest.fixture(scope="module")
def unet() -> nn.Module:
    return tiny_pipeline().unet.eval().requires_grad_(False)


@pytest.fixture
def routed_unet(unet: nn.Module) -> nn.Module:
    model = copy.deepcopy(unet)
    install(model, sd15.routable_paths(model))
    return model


def random_adapter(
    model: nn.Module, seed: int, rank: int, *, every: int = 1, alpha: float = 3.0
) -> dict[str, LoraWeights]:
    """Weights for every n-th target of a model, with a delta that matters."""
    generator = torch.Generator().manual_seed(seed)
    modules: dict[str, LoraWeights] = {}
    for path, shape in list(sd15.target_modules(UNET, model, ALL).items())[::every]:
        down = torch.randn(rank, shape.in_features, generator=generator) * 0.05
        up = torch.randn(shape.out_features, rank, generator=generator) * 0.05
        if shape.kernel_size is not None:
            down, up = down[:, :, None, None], up[:, :, None, None]
        modules[path] = LoraWeights(down, up, alpha)
    return modules


def merged(model: nn.Module, adapter: Mapping[str, LoraWeights]) -> nn.Module:
    result = copy.deepcopy(model)
    with torch.no_grad():
        for path, weights in adapter.items():
            result.get_submodule(path).weight += weights.delta()
    return result


def unet_inputs(rows: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(rows, 4, 8, 8, generator=generator)
    return (
        latents,
        torch.randint(0, 1000, (rows,), generator=generator),
        torch.randn(rows, 7, 32, generator=generator),
    )


def run(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    latents, timesteps, text = inputs
    return model(latents, timesteps, text, return_dict=False)[0]


def rows_of(inputs: tuple[torch.Tensor, ...], rows: slice) -> tuple[torch.Tensor, ...]:
    return tuple(part[rows] for part in inputs)


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


def trainable(
    model: nn.Module, seed: int, rank: int, targets: list[sd15.Target] = ALL
) -> Mapping[str, TrainableLora]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {UNET: sd15.target_modules(UNET, model, targets)}
    adapter = TrainableAdapter.create(shapes, rank=rank, alpha=2.0, generator=generator)
    with torch.no_grad():
        for lora in adapter.components[UNET].values():
            lora.up.normal_(0, 0.05, generator=generator)
    return adapter.components[UNET]


def gradients(
    model: nn.Module,
    segments: list[Segment],
    inputs: tuple[torch.Tensor, ...],
    *,
    checkpointing: bool = False,
) -> list[list[torch.Tensor]]:
    """Gradients of the sum of the jobs' mean losses, for each job."""
    parameters = [
        [p for lora in segment.modules.values() for p in (lora.down, lora.up)] for segment in segments
    ]
    for job in parameters:
        for parameter in job:
            parameter.grad = None
    if checkpointing:
        model.train()
        model.enable_gradient_checkpointing()
    with routed(model, SegmentRouting(segments)):
        output = run(model, inputs)
        parts = output.split([segment.rows for segment in segments])
        sum(((part - 0.3) ** 2).mean() for part in parts).backward()
    return [[parameter.grad.clone() for parameter in job] for job in parameters]


@pytest.mark.parametrize("rows", [(2, 1, 3), (2, 2, 2)])
@pytest.mark.parametrize("ranks", [(4, 8, 2), (4, 4, 4)])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_each_job_of_a_pack_gets_the_gradients_it_gets_alone(
    routed_unet: nn.Module, rows: tuple[int, ...], ranks: tuple[int, ...], checkpointing: bool
) -> None:
    jobs = [trainable(routed_unet, seed, rank) for seed, rank in enumerate(ranks)]

    def segment(index: int) -> Segment:
        generator = torch.Generator().manual_seed(50 + index)
        return Segment(rows=rows[index], modules=jobs[index], dropout=0.2 * (index % 2), generator=generator)

    inputs = unet_inputs(sum(rows))
    packed = gradients(
        routed_unet, [segment(index) for index in range(3)], inputs, checkpointing=checkpointing
    )
    start = 0
    for index, count in enumerate(rows):
        part = rows_of(inputs, slice(start, start + count))
        (alone,) = gradients(routed_unet, [segment(index)], part, checkpointing=checkpointing)
        for mine, solo in zip(packed[index], alone, strict=True):
            assert (mine - solo).abs().max() <= 1e-5 * solo.abs().max() + 1e-9
        start += count


def test_jobs_may_have_different_targets(routed_unet: nn.Module) -> None:
    jobs = [
        trainable(routed_unet, 1, 4, [sd15.Target.ATTENTION]),
        trainable(routed_unet, 2, 4, [sd15.Target.FEED_FORWARD]),
    ]
    inputs = unet_inputs(4)
    segments = [Segment(rows=2, modules=job) for job in jobs]
    packed = gradients(routed_unet, segments, inputs)
    for index in range(2):
        part = rows_of(inputs, slice(2 * index, 2 * index + 2))
        (alone,) = gradients(routed_unet, [segments[index]], part)
        assert all(
            torch.allclose(a, b, rtol=1e-4, atol=1e-9) for a, b in zip(packed[index], alone, strict=True)
        )


def test_a_job_that_breaks_leaves_the_others_gradients_finite(routed_unet: nn.Module) -> None:
    jobs = [trainable(routed_unet, seed, 4) for seed in (1, 2)]
    with torch.no_grad():
        next(iter(jobs[0].values())).up.fill_(float("inf"))
    packed = gradients(routed_unet, [Segment(rows=1, modules=job) for job in jobs], unet_inputs(2))
    assert not all(gradient.isfinite().all() for gradient in packed[0])
    assert all(gradient.isfinite().all() for gradient in packed[1])


def test_a_fresh_adapter_changes_nothing_and_survives_a_checkpoint(
    unet: nn.Module, routed_unet: nn.Module
) -> None:
    shapes = {UNET: sd15.target_modules(UNET, unet, ALL)}
    make = lambda seed: TrainableAdapter.create(  # noqa: E731
        shapes, rank=4, alpha=4.0, generator=torch.Generator().manual_seed(seed)
    )
    adapter = make(1)
    inputs = unet_inputs(1)
    routing = SegmentRouting([Segment(rows=1, modules=adapter.components[UNET])])
    with torch.no_grad(), routed(routed_unet, routing):
        assert torch.equal(run(routed_unet, inputs), run(unet, inputs))
    other = make(2)
    other.load_state_dict(adapter.state_dict())
    assert all(
        torch.equal(a, b)
        for (_, a), (_, b) in zip(adapter.named_parameters(), other.named_parameters(), strict=True)
    )


def test_segments_must_cover_the_batch(routed_unet: nn.Module) -> None:
    segment = Segment(rows=1, modules=trainable(routed_unet, 1, 2))
    with (
        routed(routed_unet, SegmentRouting([segment])),
        pytest.raises(ValueError, match="cover 1 rows of a batch of 2"),
    ):
        run(routed_unet, unet_inputs(2))


def test_routing_needs_installed_layers_and_does_not_nest(unet: nn.Module, routed_unet: nn.Module) -> None:
    with pytest.raises(ValueError, match="call install first"), routed(unet, SegmentRouting([])):
        pass
    outer, inner = routed(routed_unet, SegmentRouting([])), routed(routed_unet, SegmentRouting([]))
    with pytest.raises(ValueError, match="already"), outer, inner:
        pass
    with pytest.raises(ValueError, match="already"):
        install(routed_unet, [])


def test_other_layers_are_refused(unet: nn.Module) -> None:
    with pytest.raises(ValueError, match="conv_in is neither"):
        install(copy.deepcopy(unet), ["conv_in"])
