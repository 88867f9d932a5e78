"""How LoRAs are trained on causal language models."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from lorakit.families.causal_lm import LanguageModel, target_modules
from lorakit.families.naming import LANGUAGE_MODEL
from lorakit.module_shape import Component, ModuleShape
from lorakit.trainable import TrainableAdapter
from services.trainer.engine.causal_lm.data import CachedTexts, cache_texts
from services.trainer.engine.causal_lm.passes import TextMember, row_losses
from services.trainer.engine.causal_lm.rows import TextRows, draw_texts
from services.trainer.engine.causal_lm.sampling import sample_texts
from services.trainer.engine.generators import Generators
from services.trainer.engine.items import SampleSettings, TrainingItem, TrainingText, only
from services.trainer.engine.port import Family, OnProgress
from services.trainer.engine.spec import JobSpec


class LanguageFamily(Family[CachedTexts, TextRows]):
    """Texts on a language model; a job learns the answers in them."""

    def __init__(self, base: LanguageModel) -> None:
        self.base = base
        self.name = base.family
        self.sha256 = base.sha256

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.base.device

    @property
    def components(self) -> Mapping[Component, nn.Module]:
        """The model."""
        return {LANGUAGE_MODEL: self.base.model}

    def prepare(self, device: str) -> None:
        """Moves the model to the device."""
        self.base.model.to(device)

    def modules(
        self, component: Component, targets: frozenset[str] | None = None
    ) -> Mapping[str, ModuleShape]:
        """Attention and feed-forward layers of every block."""
        return target_modules(self.base, targets)

    def area(self, shape: Hashable) -> int:
        """Tokens."""
        assert isinstance(shape, int)
        return shape

    def trained(self, spec: JobSpec) -> Sequence[Component]:
        """The model."""
        return (LANGUAGE_MODEL,)

    def cache(
        self, spec: JobSpec, items: Sequence[TrainingItem], on_progress: OnProgress | None
    ) -> CachedTexts:
        """Tokens, and which of them are learned."""
        return cache_texts(self.base, only(TrainingText, items), on_progress=on_progress)

    def draw(
        self, spec: JobSpec, data: CachedTexts, indices: Sequence[int], generators: Generators
    ) -> list[TextRows]:
        """The texts, padded; nothing is left to chance."""
        return draw_texts(data, indices, self.base.max_tokens)

    def losses(self, members: Sequence[TextMember], contexts: ExitStack) -> Tensor:
        """The mean cross-entropy of each row's learned tokens."""
        return row_losses(self.base, members, contexts)

    def sample(
        self,
        parameters: TrainableAdapter,
        prompts: Sequence[str],
        settings: SampleSettings,
        *,
        autocast: torch.dtype | None,
    ) -> list[str]:
        """The answers to the prompts."""
        return sample_texts(self.base, parameters, prompts, settings, autocast=autocast)
