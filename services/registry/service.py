"""The registry's use cases, put together."""

from __future__ import annotations

from servicekit.clock import Clock
from services.registry.ports import Figures, FileStore, HeaderReader, RecordStore
from services.registry.service_catalogue import BaseModelCases, BrandCases
from services.registry.service_changes import ChangeCases
from services.registry.service_lineage import LineageCases
from services.registry.service_loras import LoraCases
from services.registry.service_stacks import StackCases
from services.registry.service_versions import VersionCases


class RegistryService:
    """A group of use cases for each kind of resource. Every method authorises the caller before it looks."""

    def __init__(
        self,
        *,
        store: RecordStore,
        files: FileStore,
        headers: HeaderReader,
        figures: Figures,
        clock: Clock,
        max_upload_bytes: int,
        change_poll_seconds: float,
    ) -> None:
        self.brands = BrandCases(store, clock)
        self.base_models = BaseModelCases(store, clock)
        self.loras = LoraCases(store, clock)
        self.versions = VersionCases(store, files, headers, figures, clock, max_upload_bytes=max_upload_bytes)
        self.stacks = StackCases(store, figures)
        self.lineage = LineageCases(store)
        self.changes = ChangeCases(store, figures, poll_seconds=change_poll_seconds)
