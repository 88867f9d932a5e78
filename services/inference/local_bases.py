"""The LocalBases port over this host's file system."""

from __future__ import annotations

import asyncio
from pathlib import Path

from lorakit.base_digest import base_digest
from lorakit.errors import BaseModelError
from servicekit.errors import FailedPrecondition
from services.inference.domain import BaseRef


class FileSystemBases:
    """Digests each base once; a base model's files do not change under a running service."""

    def __init__(self) -> None:
        self._known: dict[str, BaseRef] = {}
        self._lock = asyncio.Lock()

    async def describe(self, source: str) -> BaseRef:
        """See the port."""
        async with self._lock:
            if source not in self._known:
                path = Path(source)
                try:
                    digest = await asyncio.to_thread(base_digest, path)
                except (BaseModelError, OSError) as error:
                    raise FailedPrecondition(
                        f"the default base model cannot be used: {error}", reason="BASE_MODEL_UNUSABLE"
                    ) from error
                self._known[source] = BaseRef(name=path.stem, source=source, sha256=digest)
            return self._known[source]
