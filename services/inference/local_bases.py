"""The LocalBases port over this host's file system and what fetches into it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from lorakit.base_digest import base_digest, is_language_model
from lorakit.errors import BaseModelError
from lorakit.families.pipeline_index import directory_family
from servicekit.base_models.faults import UNUSABLE
from servicekit.base_models.files import BaseModelFiles
from servicekit.errors import FailedPrecondition, ServiceError
from services.inference.domain import CAUSAL_LM_FAMILY, SD15_FAMILY
from services.inference.domain_jobs import BaseRef


class FileSystemBases:
    """Digests each base once; a base model's files do not change under a running service."""

    def __init__(self, files: BaseModelFiles) -> None:
        self._files = files
        self._known: dict[str, BaseRef] = {}
        self._lock = asyncio.Lock()

    async def describe(self, source: str) -> BaseRef:
        """See the port."""
        async with self._lock:
            if source not in self._known:
                path = Path(source)
                try:
                    digest = await asyncio.to_thread(base_digest, path)
                    family = _family(path)
                except (BaseModelError, OSError) as error:
                    raise FailedPrecondition(
                        f"the default base model cannot be used: {error}", reason=UNUSABLE
                    ) from error
                self._known[source] = BaseRef(name=path.stem, source=source, sha256=digest, family=family)
            return self._known[source]

    async def locate(self, base: BaseRef) -> BaseRef:
        """See the port."""
        try:
            path = await self._files.locate(base.source, base.sha256)
        except ServiceError as error:
            error.metadata["base_model"] = base.name
            raise
        return replace(base, path=str(path))


def _family(path: Path) -> str:
    if is_language_model(path):
        return CAUSAL_LM_FAMILY
    return directory_family(path) if path.is_dir() else SD15_FAMILY
