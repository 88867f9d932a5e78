"""Sample pictures of an adapter as it stands: what its owner looks at while it trains.

P prompts, each with an unguided and a guided row next to each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
import torch
from torch import Tensor

from lorakit.families.diffusion_base import DiffusionBase, EncodedTexts, Framing, decode_latents
from lorakit.families.naming import UNET
from lorakit.module_shape import Component
from lorakit.routing import Segment, SegmentRouting, routed
from lorakit.samplers import Sampler, SamplingRow, advance, model_input, plan_row
from lorakit.trainable import TrainableAdapter
from services.trainer.engine.items import SampleSettings

SAMPLER = Sampler.DPMPP_2M


@torch.no_grad()
def decode_pictures(base: DiffusionBase, latents: Sequence[Tensor]) -> list[np.ndarray]:
    """Pictures [H, W, 3] uint8 of latents [C, H, W]."""
    # One at a time: at SDXL's size a picture in the autoencoder takes more memory than a row in the UNet.
    return [_as_bytes(decode_latents(base, z_CHW[None])[0]) for z_CHW in latents]


@torch.no_grad()
def sample_latents(
    base: DiffusionBase,
    parameters: TrainableAdapter,
    prompts: Sequence[str],
    settings: SampleSettings,
    *,
    resolution: int,
    autocast: torch.dtype | None,
) -> list[Tensor]:
    """Latents [C, H, W] for each prompt; prompt i starts from the noise of the seed + i.

    Draws nothing from the job's own generators, so training goes on as if no picture had been made.
    """
    if not prompts:
        return []
    side = resolution // base.vae_scale_factor
    plan = plan_row(base.sampler_settings(SAMPLER), settings.steps)
    shape = (base.latent_channels, side, side)
    rows = [
        SamplingRow.start(plan, settings.seed + index, shape, base.device) for index in range(len(prompts))
    ]
    with ExitStack() as stack:
        if autocast is not None:
            stack.enter_context(torch.autocast(base.device.type, dtype=autocast))
        texts = _encoded(base, parameters, prompts)
        time_ids_B6 = Framing(resolution, resolution).time_ids(resolution, resolution).expand(len(texts), -1)
        time_ids_B6 = time_ids_B6.to(base.device)
        stack.enter_context(routed(base.unet, _routing(parameters, UNET, len(texts))))
        for _ in range(plan.steps):
            latents_PCHW, timesteps_P = model_input(rows)
            predicted_BCHW = base.predict(
                latents_PCHW.repeat_interleave(2, dim=0),
                timesteps_P.repeat_interleave(2),
                texts,
                time_ids_B6,
            ).float()
            plain_PCHW, guided_PCHW = predicted_BCHW[0::2], predicted_BCHW[1::2]
            advance(rows, plain_PCHW + settings.guidance_scale * (guided_PCHW - plain_PCHW))
    return [row.latents_CHW for row in rows]


def _encoded(base: DiffusionBase, parameters: TrainableAdapter, prompts: Sequence[str]) -> EncodedTexts:
    """The unguided and the guided row of each prompt."""
    zeros = base.zeros_for_no_prompt
    texts = list(prompts) if zeros else [text for prompt in prompts for text in ("", prompt)]
    with ExitStack() as stack:
        for component, encoder in base.text_encoders.items():
            if parameters.parameters(component):
                stack.enter_context(routed(encoder, _routing(parameters, component, len(texts))))
        encoded = base.encode_texts(base.text_ids(texts)).to(base.device)
    if not zeros:
        return encoded
    rows = encoded.split([1] * len(texts))
    return EncodedTexts.join([each for row in rows for each in (row.zeros(), row)])


def _routing(parameters: TrainableAdapter, component: Component, rows: int) -> SegmentRouting:
    return SegmentRouting([Segment(rows=rows, modules=parameters.components[component])])


def _as_bytes(x_CHW: Tensor) -> np.ndarray:
    scaled_HWC = (x_CHW.permute(1, 2, 0) + 1.0) * 127.5
    picture: np.ndarray = scaled_HWC.round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    return picture
