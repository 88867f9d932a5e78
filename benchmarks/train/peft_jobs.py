"""The peer: PEFT's adapters on one base, trained one job after the other in one process."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig
from torch import Tensor
from torch.nn import functional

from benchmarks.train.load import PICTURES, Load
from lorakit.families.sd15 import BaseModel, encode_prompt

_TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"]


@dataclass(slots=True)
class _Job:
    name: str
    parameters: list[torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    latents_PCHW: Tensor
    embeddings_PND: Tensor
    generator: torch.Generator


class PeftJobs:
    """`load.jobs` adapters on `base`; close() takes them off again."""

    def __init__(self, base: BaseModel, load: Load, side: int, device: str, precision: str) -> None:
        self._base = base
        self._load = load
        self._device = torch.device(device)
        bf16 = precision == "bfloat16"
        self._autocast = torch.autocast(device, dtype=torch.bfloat16) if bf16 else nullcontext()
        for model in (base.unet, base.text_encoder):
            model.to(device)
        base.unet.to(memory_format=torch.channels_last)
        with torch.no_grad():
            texts = [f"picture {index}" for index in range(PICTURES)]
            self._embeddings = encode_prompt(base, texts).float()
        self._jobs = [self._new_job(index, side) for index in range(load.jobs)]
        kept_T = base.noise_schedule.alphas_cumprod_T.to(device)
        self._signal, self._noise = kept_T.sqrt(), (1 - kept_T).sqrt()

    def _new_job(self, index: int, side: int) -> _Job:
        name, generator = f"job{index}", torch.Generator().manual_seed(index)
        rank = self._load.rank
        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=_TARGETS, init_lora_weights="gaussian")
        self._base.unet.add_adapter(config, adapter_name=name)
        parameters = [p for key, p in self._base.unet.named_parameters() if f".{name}." in key]
        latents = torch.randn(PICTURES, self._base.latent_channels, side, side, generator=generator)
        optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.01, fused=True)
        return _Job(name, parameters, optimizer, latents.to(self._device), self._embeddings, generator)

    def round(self) -> None:
        """One step of every job."""
        for job in self._jobs:
            if len(self._jobs) > 1:
                self._base.unet.set_adapter(job.name)
            self._step(job)

    def _step(self, job: _Job) -> None:
        batch, generator = self._load.batch, job.generator
        rows = torch.randint(0, PICTURES, (batch,), generator=generator).to(self._device)
        clean_BCHW = job.latents_PCHW[rows]
        noise_BCHW = torch.randn(clean_BCHW.shape, generator=generator).to(self._device)
        times_B = torch.randint(0, len(self._signal), (batch,), generator=generator).to(self._device)
        a_B, s_B = self._signal[times_B], self._noise[times_B]
        noisy_BCHW = a_B[:, None, None, None] * clean_BCHW + s_B[:, None, None, None] * noise_BCHW
        with self._autocast:
            predicted_BCHW = self._base.unet(
                noisy_BCHW.contiguous(memory_format=torch.channels_last),
                times_B,
                job.embeddings_PND[rows],
                return_dict=False,
            )[0]
        snr_B = (a_B / s_B) ** 2
        weights_B = snr_B.clamp(max=5.0) / snr_B
        errors_B = functional.mse_loss(predicted_BCHW.float(), noise_BCHW, reduction="none").mean((1, 2, 3))
        loss = (errors_B * weights_B).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(job.parameters, 1.0)
        job.optimizer.step()
        job.optimizer.zero_grad(set_to_none=True)
        if not math.isfinite(float(loss)):  # a training loop looks at its loss; so does ours
            raise RuntimeError(f"the loss of {job.name} is not finite")

    def close(self) -> None:
        """Takes PEFT's layers out of the base again."""
        unet: Any = self._base.unet
        unet.unload_lora()


def their_round(jobs: PeftJobs) -> Callable[[], None]:
    """One step of every job."""
    return jobs.round
