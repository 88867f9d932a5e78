"""The base models that the engine holds, prepared for routing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock

import torch

from lorakit.errors import BaseModelError
from lorakit.families.diffusion_base import DiffusionBase
from lorakit.families.loading import load_diffusion_base
from lorakit.families.targets import module_shapes, routable_paths
from lorakit.module_shape import Component, ModuleShape
from lorakit.routing import GatheredRouting, PaddedRouting, install
from lorakit.samplers import RowPlan, Sampler, plan_row
from services.inference.domain import Sampler as SamplerName
from services.inference.domain_capacity import LoadedBase as HeldBase
from services.inference.domain_jobs import BaseRef
from services.inference.engine.errors import JobError
from services.inference.engine.preview_colours import PreviewColours, fit_colours


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
    routings: dict[int, PaddedRouting] = field(default_factory=dict)
    """Forward rows -> the routing that the graph for so many knows; graphs hold on to its buffers."""

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

    def routing(self, forward_rows: int) -> GatheredRouting | PaddedRouting:
        """A routing for the UNet: a new one, or for a compiled UNet the one of so many forward rows."""
        if self.compiled is None:
            return GatheredRouting(self.model.device, self.dtype)
        if forward_rows not in self.routings:
            self.routings[forward_rows] = PaddedRouting(self.model.device, self.dtype, forward_rows)
        return self.routings[forward_rows]

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


@dataclass(slots=True)
class Bases:
    """Loads base models on demand and keeps the few used last."""

    device: torch.device
    dtype: torch.dtype
    max_bases: int
    configs: Path | None = None
    tokenizer: Path | None = None
    compile_backend: str = ""
    """torch.compile's backend for the UNet; empty: it is not compiled."""
    _loaded: OrderedDict[str, LoadedBase] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)
    """Guards the table."""
    _loading: Lock = field(default_factory=Lock)
    """Held while a model is loaded: there may be room for one only."""

    def loaded(self, ref: BaseRef) -> LoadedBase | None:
        """The base of that digest if it is here, now the one used last."""
        with self._lock:
            if ref.sha256 not in self._loaded:
                return None
            self._loaded.move_to_end(ref.sha256)
            return self._loaded[ref.sha256]

    def get(self, ref: BaseRef) -> LoadedBase:
        """The base of that digest, loaded if need be, by one thread at a time.

        JobError if its files are missing, broken or of another digest.
        """
        found = self.loaded(ref)
        if found is not None:
            return found
        with self._loading:
            return self.loaded(ref) or self._load_checked(ref)

    def preload(self, source: str) -> LoadedBase:
        """Load a base before anyone asks for it. Raises JobError."""
        loaded = self._load(source, Path(source).name, source)
        self._keep(loaded)
        return loaded

    def held(self) -> list[HeldBase]:
        """Each, the one used last at the end."""
        with self._lock:
            return [
                HeldBase(sha256=digest, family=loaded.model.family, source=loaded.source)
                for digest, loaded in self._loaded.items()
            ]

    def _load_checked(self, ref: BaseRef) -> LoadedBase:
        loaded = self._load(ref.source, ref.name, ref.path or ref.source)
        if loaded.model.sha256 != ref.sha256:
            raise JobError(
                f"the files of {ref.name} are not those it was registered with: they have the digest "
                f"{loaded.model.sha256}, not {ref.sha256}",
                reason="BASE_MODEL_CHANGED",
                metadata={"base_model": ref.name},
            )
        self._keep(loaded)
        return loaded

    def _keep(self, loaded: LoadedBase) -> None:
        with self._lock:
            self._loaded[loaded.model.sha256] = loaded
            while len(self._loaded) > self.max_bases:
                # Rows in flight keep what they use.
                self._loaded.popitem(last=False)

    def _load(self, source: str, name: str, path: str) -> LoadedBase:
        try:
            model = load_diffusion_base(
                Path(path),
                dtype=self.dtype,
                device=self.device,
                configs=self.configs,
                tokenizer=self.tokenizer,
            )
        except (BaseModelError, OSError) as error:
            raise JobError(
                f"the base model {name} cannot be loaded: {error}",
                reason="BASE_MODEL_UNUSABLE",
                metadata={"base_model": name},
            ) from error
        shapes = {}
        for component, part in model.components.items():
            shapes[component] = module_shapes(part)
            install(part, routable_paths(part))
        return LoadedBase(source, model, self.dtype, shapes, self._compiled(model))

    def _compiled(self, model: DiffusionBase) -> DiffusionBase | None:
        if not self.compile_backend:
            return None
        return replace(model, unet=torch.compile(model.unet, dynamic=False, backend=self.compile_backend))
