"""The forward pass of a diffusion model over the rows of many jobs.

B rows of all jobs, in segments, of latents [C, H, W]; E text encoders, N tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from lorakit.families.diffusion_base import DiffusionBase, EncodedTexts
from lorakit.families.naming import UNET
from lorakit.module_shape import Component
from lorakit.routing import SegmentRouting, routed
from services.trainer.engine.diffusion.data import CachedData
from services.trainer.engine.diffusion.rows import Rows
from services.trainer.engine.port import Member

DiffusionMember = Member[CachedData, Rows]


def row_losses(base: DiffusionBase, members: Sequence[DiffusionMember], contexts: ExitStack) -> Tensor:
    """The min-SNR weighted error of each row, [B], float32."""
    device = base.device
    clean_BCHW = torch.cat([member.rows.clean_NCHW for member in members]).to(device)
    noise_BCHW = torch.cat([member.rows.noise_NCHW for member in members]).to(device)
    timesteps_B = torch.cat([member.rows.timesteps_N for member in members]).to(device)
    schedule = base.noise_schedule
    noisy_BCHW = schedule.add_noise(clean_BCHW, noise_BCHW, timesteps_B)
    target_BCHW = schedule.target(clean_BCHW, noise_BCHW, timesteps_B)
    weights_B = schedule.min_snr_weights(timesteps_B, _gammas(members).to(device))
    time_ids_B6 = torch.cat([member.rows.time_ids_N6 for member in members]).to(device)
    texts = _texts(base, members, contexts)
    contexts.enter_context(routed(base.unet, _routing(members, UNET)))
    predicted_BCHW = base.predict(
        noisy_BCHW.contiguous(memory_format=torch.channels_last), timesteps_B, texts, time_ids_B6
    )
    return (predicted_BCHW.float() - target_BCHW).square().mean(dim=(1, 2, 3)) * weights_B


def _texts(base: DiffusionBase, members: Sequence[DiffusionMember], contexts: ExitStack) -> EncodedTexts:
    """The captions of all rows: encoded with gradients for jobs that train text encoders, else cached."""
    training = [member for member in members if _trains_text(base, member)]
    # Before the text encoders are routed: these rows want them as they are.
    frozen = _frozen_texts(base, [member for member in members if not _trains_text(base, member)])
    computed: list[EncodedTexts] = []
    if training:
        ids_BEN = torch.cat([member.rows.tokens_NET for member in training])
        for component, encoder in base.text_encoders.items():
            contexts.enter_context(routed(encoder, _routing(training, component)))
        encoded = base.encode_texts(ids_BEN).to(base.device)
        computed = encoded.split([len(member.rows) for member in training])
    return EncodedTexts.join(
        [(computed if _trains_text(base, member) else frozen).pop(0) for member in members]
    )


@torch.no_grad()
def _frozen_texts(base: DiffusionBase, members: Sequence[DiffusionMember]) -> list[EncodedTexts]:
    """Each job's captions; those that are shuffled are encoded here.

    They are not kept: an order of tags seldom comes twice, a forward pass of the text encoders costs less
    than a hundredth of a UNet of full size, and what is computed anew is the same after a resume.
    """
    rows = [(member, row) for member in members for row in range(len(member.rows))]
    known = [member.data.encoded.get(member.rows.captions[row]) for member, row in rows]
    new = [
        member.rows.tokens_NET[row] for (member, row), found in zip(rows, known, strict=True) if found is None
    ]
    computed: list[EncodedTexts] = []
    if new:
        with torch.autocast(base.device.type, enabled=False):
            computed = base.encode_texts(torch.stack(new)).split([1] * len(new))
    every = [(computed.pop(0) if found is None else found).to(base.device) for found in known]
    return EncodedTexts.join(every).split([len(member.rows) for member in members]) if every else []


def _trains_text(base: DiffusionBase, member: DiffusionMember) -> bool:
    return any(member.parameters.components.get(component) for component in base.text_encoders)


def _routing(members: Sequence[DiffusionMember], component: Component) -> SegmentRouting:
    return SegmentRouting([member.segment(component) for member in members])


def _gammas(members: Sequence[DiffusionMember]) -> Tensor:
    return torch.tensor(
        [member.spec.min_snr_gamma or math.inf for member in members for _ in member.rows.captions]
    )
