"""The pass that jobs share: one forward and one backward over the rows of all of them.

B rows of all jobs, in segments, of latents [C, H, W]; N tokens, D features.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from lorakit.families.naming import TEXT_ENCODER, UNET
from lorakit.families.sd15 import BaseModel, encode_tokens
from lorakit.module_shape import Component
from lorakit.routing import Segment, SegmentRouting, routed
from services.trainer.engine.job import Job
from services.trainer.engine.rows import Rows


@dataclass(frozen=True, slots=True)
class Member:
    """One job's rows in a pass, and how many rows its whole step has."""

    job: Job
    rows: Rows
    step_rows: int


def run_pass(base: BaseModel, members: Sequence[Member], *, autocast: torch.dtype | None) -> list[float]:
    """Adds each job's gradients to its parameters; gives each member's share of its job's mean loss.

    The loss is the SUM of the jobs' mean losses, so that companions do not scale a job's learning rate. A
    member whose loss is not finite gets no gradients. All members' rows have one shape.
    """
    device = base.device
    clean_BCHW = torch.cat([member.rows.clean_NCHW for member in members]).to(device)
    noise_BCHW = torch.cat([member.rows.noise_NCHW for member in members]).to(device)
    timesteps_B = torch.cat([member.rows.timesteps_N for member in members]).to(device)
    schedule = base.noise_schedule
    noisy_BCHW = schedule.add_noise(clean_BCHW, noise_BCHW, timesteps_B)
    target_BCHW = schedule.target(clean_BCHW, noise_BCHW, timesteps_B)
    weights_B = schedule.min_snr_weights(timesteps_B, _gammas(members).to(device))
    with ExitStack() as stack:
        stack.enter_context(computing(device, autocast))
        contexts_BND = _contexts(base, members, stack)
        stack.enter_context(routed(base.unet, _routing(members, UNET)))
        predicted_BCHW = base.unet(
            noisy_BCHW.contiguous(memory_format=torch.channels_last),
            timesteps_B,
            contexts_BND,
            return_dict=False,
        )[0]
        errors_B = (predicted_BCHW.float() - target_BCHW).square().mean(dim=(1, 2, 3)) * weights_B
        sizes = [len(member.rows.captions) for member in members]
        losses = [
            part.sum() / member.step_rows for part, member in zip(errors_B.split(sizes), members, strict=True)
        ]
        values = torch.stack(losses).detach().tolist()
        finite = [loss for loss, value in zip(losses, values, strict=True) if math.isfinite(value)]
        if finite:
            # Inside the contexts: recomputation in the backward pass must see the same routing.
            torch.stack(finite).sum().backward()  # type: ignore[no-untyped-call]
    return [float(value) for value in values]


@contextmanager
def computing(device: torch.device, autocast: torch.dtype | None) -> Iterator[None]:
    """The kernels for training: autocast if asked for, and the attention whose backward is fast here."""
    with ExitStack() as stack:
        if autocast is not None:
            stack.enter_context(torch.autocast(device.type, dtype=autocast))
        if device.type == "cpu" and autocast is not None:
            # In bfloat16 the flash kernel's backward is slow for few tokens; in float32 it is the faster one.
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        yield


def _contexts(base: BaseModel, members: Sequence[Member], stack: ExitStack) -> Tensor:
    """Embeddings [B, N, D]: computed with gradients for jobs that train the text encoder, else cached."""
    training = [member for member in members if member.job.trains_text_encoder]
    computed: list[Tensor] = []
    if training:
        ids_BN = torch.stack(
            [member.job.data.tokens[caption] for member in training for caption in member.rows.captions]
        )
        stack.enter_context(routed(base.text_encoder, _routing(training, TEXT_ENCODER)))
        sizes = [len(member.rows.captions) for member in training]
        computed = list(encode_tokens(base, ids_BN).float().split(sizes))
    contexts = [
        computed.pop(0)
        if member.job.trains_text_encoder
        else torch.stack([member.job.data.embeddings[caption] for caption in member.rows.captions]).to(
            base.device
        )
        for member in members
    ]
    return torch.cat(contexts)


def _routing(members: Sequence[Member], component: Component) -> SegmentRouting:
    return SegmentRouting(
        [
            Segment(
                rows=len(member.rows.captions),
                modules=member.job.parameters.components[component],
                dropout=member.job.spec.dropout,
                generator=member.job.generators.dropout,
            )
            for member in members
        ]
    )


def _gammas(members: Sequence[Member]) -> Tensor:
    return torch.tensor(
        [member.job.spec.min_snr_gamma or math.inf for member in members for _ in member.rows.captions]
    )
