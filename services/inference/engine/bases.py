"""The base models that the engine holds, prepared for routing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from lorakit.errors import BaseModelError
from lorakit.families import sd15
from lorakit.families.sd15 import BaseModel
from lorakit.module_shape import Component, ModuleShape
from lorakit.routing import install
from lorakit.samplers import RowPlan, Sampler, plan_row
from services.inference.domain import Sampler as SamplerName
from services.inference.domain_capacity import LoadedBase as HeldBase
from services.inference.domain_jobs import BaseRef
from services.inference.engine.errors import JobError


@dataclass(slots=True)
class LoadedBase:
    """A base model with routed layers, and what follows from it once."""

    source: str
    model: BaseModel
    shapes: Mapping[Component, Mapping[str, ModuleShape]]
    plans: dict[tuple[SamplerName, int, bool], RowPlan] = field(default_factory=dict)

    def karras(self, asked: bool | None, sampler: SamplerName) -> bool:
        """Whether rows get Karras noise levels: as asked, else as the base model's scheduler says."""
        if asked is not None or sampler is SamplerName.DDIM:
            return bool(asked)
        return bool(self.model.scheduler_config.get("use_karras_sigmas", False))

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
    on_change: Callable[[], None] = lambda: None
    _loaded: OrderedDict[str, LoadedBase] = field(default_factory=OrderedDict)

    def get(self, ref: BaseRef) -> LoadedBase:
        """The base of that digest; JobError if its files are missing, broken or of another digest."""
        if ref.sha256 not in self._loaded:
            loaded = self._load(ref.source, ref.name, ref.path or ref.source)
            if loaded.model.sha256 != ref.sha256:
                raise JobError(
                    f"the files of {ref.name} are not those it was registered with: they have the digest "
                    f"{loaded.model.sha256}, not {ref.sha256}",
                    reason="BASE_MODEL_CHANGED",
                    metadata={"base_model": ref.name},
                )
            self._keep(loaded)
        self._loaded.move_to_end(ref.sha256)
        return self._loaded[ref.sha256]

    def preload(self, source: str) -> LoadedBase:
        """Load a base before anyone asks for it. Raises JobError."""
        loaded = self._load(source, Path(source).name, source)
        self._keep(loaded)
        return loaded

    def held(self) -> list[HeldBase]:
        """Each, the one used last at the end."""
        return [
            HeldBase(sha256=digest, family=loaded.model.family, source=loaded.source)
            for digest, loaded in self._loaded.items()
        ]

    def _keep(self, loaded: LoadedBase) -> None:
        self._loaded[loaded.model.sha256] = loaded
        while len(self._loaded) > self.max_bases:
            # Rows in flight keep what they use.
            self._loaded.popitem(last=False)
        self.on_change()

    def _load(self, source: str, name: str, path: str) -> LoadedBase:
        try:
            model = sd15.load_base(
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
        for component in sd15.COMPONENTS:
            part = model.component(component)
            shapes[component] = sd15.module_shapes(part)
            install(part, sd15.routable_paths(part))
        return LoadedBase(source, model, shapes)
