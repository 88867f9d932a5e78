"""The forward pass of a diffusion model over the rows of many jobs.

B rows of all jobs, in segments, of latents [C, H, W]; N tokens, D features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from lorakit.families.naming import TEXT_ENCODER, UNET
from lorakit.families.sd15 import BaseModel, encode_tokens
from lorakit.module_shape import Component
from lorakit.routing import Segment, SegmentRouting, routed
from services.trainer.engine.diffusion.data import CachedData
from services.trainer.engine.diffusion.rows import Rows
from services.trainer.engine.port import Member

DiffusionMember = Member[CachedData, Rows]


def row_losses(base: BaseModel, members: Sequence[DiffusionMember], contexts: ExitStack) -> Tensor:
    """The min-SNR weighted error of each row, [B], float32."""
    device = base.device
    clean_BCHW = torch.cat([member.rows.clean_NCHW for member in members]).to(device)
    noise_BCHW = torch.cat([member.rows.noise_NCHW for member in members]).to(device)
    timesteps_B = torch.cat([member.rows.timesteps_N for member in members]).to(device)
    schedule = base.noise_schedule
    noisy_BCHW = schedule.add_noise(clean_BCHW, noise_BCHW, timesteps_B)
    target_BCHW = schedule.target(clean_BCHW, noise_BCHW, timesteps_B)
    weights_B = schedule.min_snr_weights(timesteps_B, _gammas(members).to(device))
    embeddings_BND = _embeddings(base, members, contexts)
    contexts.enter_context(routed(base.unet, _routing(members, UNET)))
    predicted_BCHW: Tensor = base.unet(
        noisy_BCHW.contiguous(memory_format=torch.channels_last),
        timesteps_B,
        embeddings_BND,
        return_dict=False,
    )[0]
    return (predicted_BCHW.float() - target_BCHW).square().mean(dim=(1, 2, 3)) * weights_B


def _embeddings(base: BaseModel, members: Sequence[DiffusionMember], contexts: ExitStack) -> Tensor:
    """Embeddings [B, N, D]: computed with gradients for jobs that train the text encoder, else cached."""
    training = [member for member in members if _trains_text(member)]
    computed: list[Tensor] = []
    if training:
        ids_BN = torch.stack(
            [member.data.tokens[text] for member in training for text in member.rows.captions]
        )
        contexts.enter_context(routed(base.text_encoder, _routing(training, TEXT_ENCODER)))
        computed = list(encode_tokens(base, ids_BN).float().split([len(member.rows) for member in training]))
    parts = [
        computed.pop(0)
        if _trains_text(member)
        else torch.stack([member.data.embeddings[text] for text in member.rows.captions]).to(base.device)
        for member in members
    ]
    return torch.cat(parts)


def _trains_text(member: DiffusionMember) -> bool:
    return bool(member.parameters.components.get(TEXT_ENCODER))


def _routing(members: Sequence[DiffusionMember], component: Component) -> SegmentRouting:
    return SegmentRouting(
        [
            Segment(
                rows=len(member.rows),
                modules=member.parameters.components[component],
                dropout=member.spec.dropout,
                generator=member.dropout,
            )
            for member in members
        ]
    )


def _gammas(members: Sequence[DiffusionMember]) -> Tensor:
    return torch.tensor(
        [member.spec.min_snr_gamma or math.inf for member in members for _ in member.rows.captions]
    )
