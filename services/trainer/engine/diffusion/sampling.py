"""Sample pictures of an adapter as it stands: what its owner looks at while it trains.

P prompts, each with a guided and an unguided row next to each other; N tokens, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
import torch
from torch import Tensor

from lorakit.families.naming import TEXT_ENCODER, UNET
from lorakit.families.sd15 import BaseModel, decode_latents, encode_prompt
from lorakit.module_shape import Component
from lorakit.routing import Segment, SegmentRouting, routed
from lorakit.samplers import Sampler, SamplingRow, advance, model_input, plan_row
from lorakit.trainable import TrainableAdapter

SAMPLER = Sampler.DPMPP_2M


@torch.no_grad()
def sample_pictures(
    base: BaseModel,
    parameters: TrainableAdapter,
    prompts: Sequence[str],
    *,
    resolution: int,
    steps: int,
    guidance_scale: float,
    seed: int,
    autocast: torch.dtype | None,
) -> list[np.ndarray]:
    """A picture [H, W, 3] uint8 for each prompt; prompt i starts from the noise of `seed` + i.

    Draws nothing from the job's own generators, so training goes on as if no picture had been made.
    """
    if not prompts:
        return []
    side = resolution // base.vae_scale_factor
    plan = plan_row(base.sampler_settings(SAMPLER), steps)
    shape = (base.latent_channels, side, side)
    rows = [SamplingRow.start(plan, seed + index, shape, base.device) for index in range(len(prompts))]
    with ExitStack() as stack:
        if autocast is not None:
            stack.enter_context(torch.autocast(base.device.type, dtype=autocast))
        contexts_BND = _contexts(base, parameters, prompts)
        stack.enter_context(routed(base.unet, _routing(parameters, UNET, 2 * len(prompts))))
        for _ in range(plan.steps):
            latents_PCHW, timesteps_P = model_input(rows)
            predicted_BCHW = base.unet(
                latents_PCHW.repeat_interleave(2, dim=0),
                timesteps_P.repeat_interleave(2),
                contexts_BND,
                return_dict=False,
            )[0].float()
            plain_PCHW, guided_PCHW = predicted_BCHW[0::2], predicted_BCHW[1::2]
            advance(rows, plain_PCHW + guidance_scale * (guided_PCHW - plain_PCHW))
    pictures_PCHW = decode_latents(base, torch.stack([row.latents_CHW for row in rows]))
    return [_as_bytes(x_CHW) for x_CHW in pictures_PCHW]


def _contexts(base: BaseModel, parameters: TrainableAdapter, prompts: Sequence[str]) -> Tensor:
    texts = [text for prompt in prompts for text in ("", prompt)]
    if not parameters.parameters(TEXT_ENCODER):
        return encode_prompt(base, texts).float()
    with routed(base.text_encoder, _routing(parameters, TEXT_ENCODER, len(texts))):
        return encode_prompt(base, texts).float()


def _routing(parameters: TrainableAdapter, component: Component, rows: int) -> SegmentRouting:
    return SegmentRouting([Segment(rows=rows, modules=parameters.components[component])])


def _as_bytes(x_CHW: Tensor) -> np.ndarray:
    scaled_HWC = (x_CHW.permute(1, 2, 0) + 1.0) * 127.5
    picture: np.ndarray = scaled_HWC.round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    return picture
