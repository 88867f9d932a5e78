"""Jobs that train in one pack get the gradients that each gets alone."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import nn

from lorakit.families import sd15
from lorakit.families.naming import UNET
from lorakit.routing import Segment, SegmentRouting, routed
from lorakit.trainable import TrainableAdapter, TrainableLora
from tests.fixtures.routed_unet import ALL, rows_of, run, unet_inputs


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
