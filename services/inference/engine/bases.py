"""The base models that the engine holds, prepared for routing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from lorakit.families.diffusion_base import DiffusionBase
from lorakit.families.loading import load_diffusion_base
from lorakit.families.targets import module_shapes, routable_paths
from lorakit.module_shape import Component, ModuleShape
from lorakit.routing import GatheredRouting, PaddedRouting, install
from lorakit.samplers import RowPlan, Sampler, plan_row
from services.inference.domain import Sampler as SamplerName
from services.inference.engine.errors import JobError
from services.inference.engine.held_bases import HeldBases
from services.inference.engine.preview_colours import PreviewColours, fit_colours

GRAPHS = 128
"""So often may a UNet be compiled: for each picture size, number of forward rows, rank and set of adapted
modules. Beyond, torch says so in the log and goes on without graphs for new ones.
"""


@dataclass(slots=True)
class LoadedBase:
    """A base model with routed layers, and what follows from it once."""

    source: str
    model: DiffusionBase
    dtype: torch.dtype
    shapes: Mapping[Component, Mapping[str, ModuleShape]]
    compiled: DiffusionBase | None = None
    """The same with a compiled UNet, where the engine compiles."""
    plans: dict[tuple[SamplerName, int, bool], RowPlan] = field(default_factory=dict)
    _colours: PreviewColours | None = None

    @property
    def sha256(self) -> str:
        """Digest of its files."""
        return self.model.sha256

    @property
    def family(self) -> str:
        """Its family's name."""
        return self.model.family

    def colours(self) -> PreviewColours:
        """How its latents are made previews, fitted when first asked for."""
        if self._colours is None:
            self._colours = fit_colours(self.model)
        return self._colours

    def karras(self, asked: bool | None, sampler: SamplerName) -> bool:
        """Whether rows get Karras noise levels: as asked, else as the base model's scheduler says."""
        if asked is not None or sampler is SamplerName.DDIM:
            return bool(asked)
        return bool(self.model.scheduler_config.get("use_karras_sigmas", False))

    def routing(self) -> GatheredRouting | PaddedRouting:
        """A new routing for the UNet, compiled or not."""
        kind = GatheredRouting if self.compiled is None else PaddedRouting
        return kind(self.model.device, self.dtype)

    def plan(self, sampler: SamplerName, steps: int, karras: bool) -> RowPlan:
        """The schedule of a row; JobError for one that this base model cannot follow."""
        key = (sampler, steps, karras)
        if key not in self.plans:
            try:
                settings = self.model.sampler_settings(Sampler(sampler.value))
                self.plans[key] = plan_row(settings, steps, karras=karras)
            except ValueError as error:
                raise JobError(
                    str(error), kind="InvalidArgument", reason="SAMPLER_UNSUPPORTED", field="sampler"
                ) from error
        return self.plans[key]


def picture_bases(
    device: torch.device,
    dtype: torch.dtype,
    max_bases: int,
    *,
    configs: Path | None = None,
    tokenizer: Path | None = None,
    compile_backend: str = "",
) -> HeldBases[LoadedBase]:
    """Base models for pictures; ``configs`` and ``tokenizer``: see load_diffusion_base.

    ``compile_backend`` is torch.compile's for the UNets; empty: they are not compiled.
    """

    def load(source: str, path: Path) -> LoadedBase:
        model = load_diffusion_base(path, dtype=dtype, device=device, configs=configs, tokenizer=tokenizer)
        shapes = {}
        for component, part in model.components.items():
            shapes[component] = module_shapes(part)
            install(part, routable_paths(part))
        compiled = None
        if compile_backend:
            torch._dynamo.config.recompile_limit = GRAPHS
            compiled = replace(model, unet=torch.compile(model.unet, dynamic=False, backend=compile_backend))
        return LoadedBase(source, model, dtype, shapes, compiled)

    return HeldBases(load, max_bases, device)
