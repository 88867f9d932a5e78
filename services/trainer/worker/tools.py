"""What a worker's parts work with."""

from __future__ import annotations

from dataclasses import dataclass

from servicekit.artifacts.port import ArtifactStore
from services.trainer.worker.engine_thread import EngineThread
from services.trainer.worker.patience import Patience
from services.trainer.worker.publisher import Publisher
from services.trainer.worker.results import Shelf


@dataclass(frozen=True, slots=True)
class Tools:
    """What a pack loop works with."""

    engine: EngineThread
    store: ArtifactStore
    shelf: Shelf
    publisher: Publisher
    patience: Patience
