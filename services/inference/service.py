"""Use cases of the inference service, each kind in a file of its own, over one queue and one engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from services.inference.domain import Limits
from services.inference.domain_capacity import Capacity
from services.inference.domain_pins import ConfiguredPin
from services.inference.ports import (
    Engine,
    LocalBases,
    LoraFiles,
    Meter,
    PictureSigner,
    Registry,
    StackExporter,
)
from services.inference.service_admission import Admission
from services.inference.service_export import ExportCases
from services.inference.service_images import ImageCases
from services.inference.service_pictures import PictureMaker
from services.inference.service_pins import PinCases
from services.inference.service_queue import RequestQueue
from services.inference.service_resolving import Resolver
from services.inference.service_sweep import SweepCases
from services.inference.service_texts import TextCases


class InferenceService:
    """What the service offers."""

    def __init__(
        self,
        *,
        registry: Registry,
        local_bases: LocalBases,
        files: LoraFiles,
        engine: Engine,
        signer: PictureSigner,
        exporter: StackExporter,
        meter: Meter,
        default_base: str,
        default_text_base: str,
        max_rows: int,
        max_text_rows: int,
        limits: Limits,
        stopping: Callable[[], bool],
        configured_pins: Sequence[ConfiguredPin] = (),
    ) -> None:
        """Default bases: see Resolver; ``stopping``: see Admission."""
        self._registry = registry
        self._files = files
        self._engine = engine
        self._max_rows = max_rows
        self._max_text_rows = max_text_rows
        self._limits = limits
        self._stopping = stopping
        self._queue = RequestQueue(limits, meter)
        self._resolver = Resolver(registry, local_bases, default_base, default_text_base)
        self.admission = Admission(
            resolver=self._resolver,
            local_bases=local_bases,
            files=files,
            queue=self._queue,
            engine=engine,
            meter=meter,
            stopping=stopping,
        )
        maker = PictureMaker(engine=engine, signer=signer, meter=meter)
        self.images = ImageCases(admission=self.admission, maker=maker, limits=limits)
        self.sweeps = SweepCases(admission=self.admission, maker=maker, limits=limits, max_rows=max_rows)
        self.exports = ExportCases(admission=self.admission, exporter=exporter, limits=limits)
        self.texts = TextCases(admission=self.admission, engine=engine, limits=limits)
        self.pins = PinCases(
            admission=self.admission, files=files, engine=engine, limits=limits, configured=configured_pins
        )

    def capacity(self) -> Capacity:
        """What the service holds and can take at this moment."""
        state = self._engine.state()
        defaults = self._resolver.default_digests
        return Capacity(
            engine_ready=state.ready,
            active_rows=state.active_rows,
            max_rows=self._max_rows,
            queued_requests=self._queue.waiting,
            limits=self._limits,
            bases=tuple(
                replace(base, default=base.sha256 in defaults) for base in (*state.bases, *state.texts.bases)
            ),
            caches=(self._files.usage(), *state.caches, *state.texts.caches),
            pins=self.pins.list(),
            resolutions=self._registry.usage(),
            active_text_rows=state.texts.active_rows,
            max_text_rows=self._max_text_rows,
            draining=self._stopping(),
        )
