"""How LoRAs are trained on diffusion models: Stable Diffusion 1.5, SDXL."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from contextlib import ExitStack

import numpy as np
import torch
from torch import Tensor, nn

from lorakit.families.diffusion_base import DiffusionBase
from lorakit.families.naming import UNET
from lorakit.families.targets import Target, target_modules
from lorakit.module_shape import Component, ModuleShape
from lorakit.trainable import TrainableAdapter
from services.trainer.engine.diffusion.data import CachedData, cache_data
from services.trainer.engine.diffusion.passes import DiffusionMember, row_losses
from services.trainer.engine.diffusion.rows import Rows, draw_rows
from services.trainer.engine.diffusion.sampling import decode_pictures, sample_latents
from services.trainer.engine.generators import Generators
from services.trainer.engine.items import SampleSettings, TrainingItem, only
from services.trainer.engine.port import Family, OnProgress
from services.trainer.engine.spec import JobSpec, TrainingImage

_TARGETS = {
    "attention": Target.ATTENTION,
    "feed_forward": Target.FEED_FORWARD,
    "conv_1x1": Target.PROJECTIONS,
}


class DiffusionFamily(Family[CachedData, Rows]):
    """Pictures of `resolution` x `resolution` pixels on a diffusion base."""

    # The loss of a row depends on its timestep far more than on what has been learned.
    validation_draws = 4

    def __init__(self, base: DiffusionBase, *, resolution: int) -> None:
        self.base = base
        self.name = base.family
        self.sha256 = base.sha256
        self._resolution = resolution

    @property
    def device(self) -> torch.device:
        """Where the UNet is."""
        return self.base.device

    @property
    def components(self) -> Mapping[Component, nn.Module]:
        """The UNet, and the text encoders."""
        return self.base.components

    def prepare(self, device: str) -> None:
        """Convolutions are fastest with the channels last."""
        for model in self.components.values():
            model.to(device)
        self.base.vae.to(device)
        self.base.unet.to(memory_format=torch.channels_last)

    def modules(
        self, component: Component, targets: frozenset[str] | None = None
    ) -> Mapping[str, ModuleShape]:
        """Attention, feed-forward, and 1x1 convolutions of the UNet."""
        chosen = set(Target) if targets is None else {_TARGETS[name] for name in targets}
        return target_modules(component, self.base.component(component), chosen)

    def area(self, shape: Hashable) -> int:
        """Pixels."""
        assert isinstance(shape, tuple)
        (_, height, width), _ = shape
        return int(height * width) * self.base.vae_scale_factor**2

    def trained(self, spec: JobSpec) -> Sequence[Component]:
        """The UNet, and every text encoder if the job asks for it."""
        return tuple(self.components) if spec.train_text_encoder else (UNET,)

    def cache(
        self, spec: JobSpec, items: Sequence[TrainingItem], on_progress: OnProgress | None
    ) -> CachedData:
        """Latents' distributions, and encoded captions if text encoders are frozen."""
        return cache_data(
            self.base,
            only(TrainingImage, items),
            resolution=self._resolution,
            flip=spec.horizontal_flip,
            embed=not spec.train_text_encoder,
            shuffle_behind=spec.keep_tokens if spec.shuffle_tags else None,
            on_progress=on_progress,
        )

    def groups(self, data: CachedData) -> Sequence[Hashable]:
        """The buckets."""
        return data.shapes

    def draw(
        self, spec: JobSpec, data: CachedData, indices: Sequence[int], generators: Generators
    ) -> list[Rows]:
        """Latents, noise and timesteps."""
        return draw_rows(self.base, spec, data, indices, generators)

    def losses(self, members: Sequence[DiffusionMember], contexts: ExitStack) -> Tensor:
        """The min-SNR weighted error of each row."""
        return row_losses(self.base, members, contexts)

    def sample(
        self,
        parameters: TrainableAdapter,
        prompts: Sequence[str],
        settings: SampleSettings,
        *,
        autocast: torch.dtype | None,
    ) -> list[np.ndarray]:
        """Pictures at the training resolution; prompt i starts from the noise of `seed` + i."""
        latents = sample_latents(
            self.base, parameters, prompts, settings, resolution=self._resolution, autocast=autocast
        )
        return decode_pictures(self.base, latents)
