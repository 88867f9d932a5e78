"""The stock side: a diffusers pipeline with its text embeddings cached and both guidance rows in one pass.

B rows, F forward rows (two for each).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, EulerDiscreteScheduler
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.bases import Size
from benchmarks.serve.loras import LoraOnDisk
from benchmarks.serve.requests import GUIDANCE, NEGATIVE, StackRequest

Predict = Callable[..., Tensor]
"""(latents_FCHW, timestep, context_FND, added conditions) -> noise_FCHW"""


class StockPipeline:
    """Loads and denoises as a server made of diffusers would; no overhead that its pipeline call adds."""

    def __init__(self, directory: Path, size: Size, *, device: str, precision: str) -> None:
        pipeline: Any = DiffusionPipeline.from_pretrained(
            directory, torch_dtype=getattr(torch, precision), safety_checker=None, local_files_only=True
        )
        self.pipe = pipeline.to(device)
        self.pipe.scheduler = EulerDiscreteScheduler.from_config(self.pipe.scheduler.config)
        self.pipe.set_progress_bar_config(disable=True)
        self._size = size
        self._device = device
        self._texts: dict[str, tuple[Tensor, dict[str, Tensor] | None]] = {}

    def load(self, lora: LoraOnDisk) -> None:
        """One more adapter from disk."""
        self.pipe.load_lora_weights(load_file(lora.diffusers), adapter_name=lora.name)

    def choose(self, request: StackRequest) -> None:
        """The request's adapters with its weights, and no others."""
        self.pipe.set_adapters([lora.name for lora in request.loras], request.weights)

    def predict(self, latents_FCHW: Tensor, timestep: Tensor, context_FND: Tensor, added: Any) -> Tensor:
        """The UNet as it is now."""
        predicted: Tensor = self.pipe.unet(
            latents_FCHW, timestep, context_FND, added_cond_kwargs=added, return_dict=False
        )[0]
        return predicted

    @torch.inference_mode()
    def pictures(self, requests: Sequence[StackRequest], predict: Predict | None = None) -> list[bytes]:
        """PNGs of requests with as many steps, made together; the negative half of the batch goes first."""
        predict = predict or self.predict
        scheduler, unet = self.pipe.scheduler, self.pipe.unet
        context_FND, added = self._conditions([request.prompt for request in requests])
        scheduler.set_timesteps(requests[0].steps, device=self._device)
        z_BCHW = torch.stack([self._noise(request.seed) for request in requests]) * scheduler.init_noise_sigma
        for timestep in scheduler.timesteps:
            z_FCHW = scheduler.scale_model_input(torch.cat([z_BCHW, z_BCHW]), timestep).to(unet.dtype)
            unwanted_BCHW, wanted_BCHW = predict(z_FCHW, timestep, context_FND, added).float().chunk(2)
            guided_BCHW = unwanted_BCHW + GUIDANCE * (wanted_BCHW - unwanted_BCHW)
            z_BCHW = scheduler.step(guided_BCHW, timestep, z_BCHW, return_dict=False)[0]
        vae = self.pipe.vae
        x_BCHW = vae.decode(z_BCHW.to(vae.dtype) / vae.config.scaling_factor, return_dict=False)[0]
        return [_png(picture) for picture in self.pipe.image_processor.postprocess(x_BCHW.float())]

    def _noise(self, seed: int) -> Tensor:
        side = self._size.latent_side
        return torch.randn(4, side, side, generator=torch.Generator().manual_seed(seed)).to(self._device)

    def _conditions(self, prompts: Sequence[str]) -> tuple[Tensor, dict[str, Tensor] | None]:
        rows = [self._text(NEGATIVE)] * len(prompts) + [self._text(prompt) for prompt in prompts]
        context_FND = torch.cat([context for context, _ in rows])
        added = [conditions for _, conditions in rows if conditions is not None]
        if not added:
            return context_FND, None
        return context_FND, {name: torch.cat([row[name] for row in added]) for name in added[0]}

    def _text(self, prompt: str) -> tuple[Tensor, dict[str, Tensor] | None]:
        if prompt not in self._texts:
            self._texts[prompt] = self._encode(prompt)
        return self._texts[prompt]

    def _encode(self, prompt: str) -> tuple[Tensor, dict[str, Tensor] | None]:
        encoded = self.pipe.encode_prompt(
            prompt, device=self._device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        if len(encoded) == 2:
            return encoded[0], None
        side = self._size.resolution
        time_ids = torch.tensor([[side, side, 0, 0, side, side]], dtype=encoded[0].dtype, device=self._device)
        return encoded[0], {"text_embeds": encoded[2], "time_ids": time_ids}


def _png(picture: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue()
