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
from lorakit.routing import SegmentRouting, routed
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
    # Before the text encoder is routed: these rows want it as it is.
    frozen = _frozen_embeddings(base, [member for member in members if not _trains_text(member)])
    computed: list[Tensor] = []
    if training:
        ids_BN = torch.cat([member.rows.tokens_NT for member in training])
        contexts.enter_context(routed(base.text_encoder, _routing(training, TEXT_ENCODER)))
        computed = list(encode_tokens(base, ids_BN).float().split([len(member.rows) for member in training]))
    return torch.cat([(computed if _trains_text(member) else frozen).pop(0) for member in members])


@torch.no_grad()
def _frozen_embeddings(base: BaseModel, members: Sequence[DiffusionMember]) -> list[Tensor]:
    """Embeddings [N, T, D] of each job's rows; those of shuffled captions are computed here.

    They are not kept: an order of tags seldom comes twice, a forward pass of the text encoder costs less than
    a hundredth of the UNet's step, and what is computed anew is the same after a resume.
    """
    rows = [(member, row) for member in members for row in range(len(member.rows))]
    known = [member.data.embeddings.get(member.rows.captions[row]) for member, row in rows]
    new = [
        member.rows.tokens_NT[row] for (member, row), found in zip(rows, known, strict=True) if found is None
    ]
    computed: list[Tensor] = []
    if new:
        with torch.autocast(base.device.type, enabled=False):
            computed = list(encode_tokens(base, torch.stack(new)).float())
    every = [computed.pop(0) if found is None else found.to(base.device) for found in known]
    return list(torch.stack(every).split([len(member.rows) for member in members])) if every else []


def _trains_text(member: DiffusionMember) -> bool:
    return bool(member.parameters.components.get(TEXT_ENCODER))


def _routing(members: Sequence[DiffusionMember], component: Component) -> SegmentRouting:
    return SegmentRouting([member.segment(component) for member in members])


def _gammas(members: Sequence[DiffusionMember]) -> Tensor:
    return torch.tensor(
        [member.spec.min_snr_gamma or math.inf for member in members for _ in member.rows.captions]
    )
