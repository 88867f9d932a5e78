"""The one way from a base model's source to files on this host, for every service that loads any."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from servicekit.artifacts.open import s3_client
from servicekit.base_models.cache import BaseModelCache, Content
from servicekit.base_models.faults import changed, unavailable, unusable
from servicekit.base_models.hub import HubId, fetch_tokenizer, is_offline
from servicekit.base_models.s3 import S3Source
from servicekit.base_models.settings import BaseModelSettings
from servicekit.daemon_threads import in_daemon_thread

_S3: Final = "s3://"
_FILE: Final = "file://"
_log = structlog.get_logger(__name__)


class BaseModelFiles:
    """Finds or fetches the files of base models, each once however many ask for it."""

    def __init__(
        self,
        settings: BaseModelSettings,
        *,
        digest: Callable[[Path], str],
        counts: Callable[[str], bool],
        tokenizer_repository: str,
    ) -> None:
        """``digest`` is that of a checkpoint or pipeline directory; ``counts`` tells which names in such a
        directory it covers.
        """
        self._settings = settings
        self._digest = digest
        self._counts = counts
        self._tokenizer_repository = tokenizer_repository
        self._cache = BaseModelCache(settings.cache, settings.budget_bytes, digest)
        self._known: dict[tuple[str, str], Path] = {}
        self._running: dict[tuple[str, str], asyncio.Future[Path]] = {}

    async def locate(self, source: str, sha256: str) -> Path:
        """The pipeline directory or checkpoint: a path, `file://` path, hub id (`owner/name[@revision]`) or
        `s3://bucket/key` on this host.

        What is fetched has the digest; whoever loads a path must compare it. FailedPrecondition says what is
        wrong with the source, Unavailable that it cannot be read just now. A caller that is cancelled leaves
        the fetching to go on.
        """
        key = (source, sha256)
        known = self._known.get(key)
        if known is not None and known.exists():
            with suppress(OSError):
                self._cache.touch(known)
            return known
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = in_daemon_thread(
                partial(self._locate, source, sha256), "base-model-files"
            )
            running.add_done_callback(partial(self._ended, key))
        return await asyncio.shield(running)

    def _ended(self, key: tuple[str, str], future: asyncio.Future[Path]) -> None:
        del self._running[key]
        # Asked for also when every caller has left, or asyncio would complain of an error that nobody saw.
        if not future.cancelled() and future.exception() is None:
            self._known[key] = future.result()

    def _locate(self, source: str, sha256: str) -> Path:
        try:
            if source.startswith(_S3):
                return self._with_tokenizer(self._from_s3(S3Source.parse(source), sha256))
            path = Path(source.removeprefix(_FILE)).expanduser()
            if path.exists():
                return self._with_tokenizer(path)
            hub = HubId.parse(source)
            if hub is None:
                raise unusable(
                    f"{source} is no file or folder on this host, and neither a hub id nor s3://bucket/key"
                )
            return self._from_hub(hub, sha256)
        except OSError as error:
            raise unavailable(f"{source} cannot be read or kept: {error}") from error

    def _from_hub(self, hub: HubId, sha256: str) -> Path:
        cached = hub.cached()
        digest = self._digest(cached) if cached is not None else ""
        if cached is not None and digest == sha256:
            return cached
        if cached is not None and is_offline():
            # It has some of the files, or another revision: that is what there is to tell.
            raise changed(f"{hub} in the hub's cache", digest, sha256)
        path = hub.fetch(self._settings.budget_bytes)
        found = self._digest(path)
        if found != sha256:
            raise changed(str(hub), found, sha256)
        return path

    def _from_s3(self, source: S3Source, sha256: str) -> Path:
        store = self._settings.store
        if not store.endpoint:
            raise unusable(f"{source} needs an S3 store: BRANDLOOM_S3_ENDPOINT is not set for this service")
        client = s3_client(store)

        # Asked only when it is to be fetched: what is in the cache needs no store.
        def look() -> Content:
            objects = source.objects(client, self._counts)
            _log.info("fetching a base model from S3", source=str(source), sha256=sha256)
            size_bytes = sum(found.size_bytes for found in objects)
            return Content(size_bytes, partial(source.download, client, objects))

        return self._cache.get(sha256, str(source), look)

    def _with_tokenizer(self, path: Path) -> Path:
        """A checkpoint in one file holds no tokenizer."""
        if path.is_file() and not self._settings.configs and not self._settings.tokenizer:
            fetch_tokenizer(self._tokenizer_repository)
        return path
