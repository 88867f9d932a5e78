"""Base models from the hub, through its own client and cache. Only safetensors and texts are fetched."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import structlog

from servicekit.base_models.faults import unavailable, unusable
from servicekit.errors import ServiceError

_HUB_ID: Final = re.compile(
    r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>(?!.*\.\.)[\w./-]+))?"
)
_INDEX: Final = "model_index.json"
_WANTED: Final = (
    _INDEX,
    "*/*.json",
    "*/*.txt",
    *(
        f"*/{stem}{part}.safetensors"
        for stem in ("model", "diffusion_pytorch_model")
        for part in ("", "-?????-of-?????")
    ),
)
_UNREAD: Final = ("*/*/*", "safety_checker/*", "feature_extractor/*", "image_encoder/*")
_TOKENIZER_FILES: Final = ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HubId:
    """`owner/name` or `owner/name@revision`."""

    repository: str
    revision: str | None

    @classmethod
    def parse(cls, source: str) -> Self | None:
        """None for what is no hub id."""
        match = _HUB_ID.fullmatch(source)
        return cls(match["repository"], match["revision"]) if match else None

    def __str__(self) -> str:
        return f"{self.repository}@{self.revision}" if self.revision else self.repository

    def cached(self) -> Path | None:
        """The pipeline directory in the hub's cache, whole or not; None where there is none."""
        # Imported in methods: sources on disks and in S3 need no hub.
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.repository, _INDEX, revision=self.revision)
        return Path(found).parent if isinstance(found, str) else None

    def fetch(self, max_bytes: int) -> Path:
        """The pipeline directory in the hub's cache, brought up to date.

        FailedPrecondition for a repository that is not there, is no pipeline or is too large; Unavailable
        when the hub cannot be asked.
        """
        from huggingface_hub import snapshot_download

        if is_offline():
            raise unusable(
                f"{self} is not in the hub's cache on this host, and HF_HUB_OFFLINE keeps the hub from being "
                "asked"
            )
        options: dict[str, Any] = {
            "revision": self.revision,
            "allow_patterns": list(_WANTED),
            "ignore_patterns": list(_UNREAD),
        }
        try:
            files = snapshot_download(self.repository, dry_run=True, **options)
            self._check(
                [file.filename for file in files],
                sum(file.file_size or 0 for file in files if file.will_download),
                max_bytes,
            )
            _log.info("fetching a base model from the hub", source=str(self))
            return Path(snapshot_download(self.repository, **options))
        except ServiceError:
            raise
        except Exception as error:  # the client lets errors of several libraries through
            raise self._fault(error) from error

    def _check(self, names: list[str], size_bytes: int, max_bytes: int) -> None:
        if _INDEX not in names or not any(name.endswith(".safetensors") for name in names):
            raise unusable(
                f"{self} on the hub is no pipeline of safetensors files: it needs a {_INDEX} and weights "
                "such as unet/diffusion_pytorch_model.safetensors; pickles are not loaded"
            )
        if size_bytes > max_bytes:
            raise unusable(f"{self} on the hub takes {size_bytes} bytes, {max_bytes} are allowed")

    def _fault(self, error: Exception) -> ServiceError:
        from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

        # A dry run wraps what went wrong.
        for cause in (error, error.__cause__):
            if isinstance(cause, RepositoryNotFoundError | RevisionNotFoundError | HFValidationError):
                return unusable(
                    f"{self} cannot be had from the hub: there is no such repository or revision, or it is "
                    f"closed to this service ({_first_line(cause)})"
                )
        return unavailable(
            f"{self} cannot be had from the hub just now: {_first_line(error.__cause__ or error)}"
        )


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE keeps the hub from being asked."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def fetch_tokenizer(repository: str) -> None:
    """Brings CLIP's tokenizer into the hub's cache if it can be had; whoever loads it says when it is
    missing.
    """
    from huggingface_hub import snapshot_download, try_to_load_from_cache

    cached = [isinstance(try_to_load_from_cache(repository, name), str) for name in _TOKENIZER_FILES]
    if all(cached[:2]) or cached[2] or is_offline():
        return
    try:
        snapshot_download(repository, allow_patterns=list(_TOKENIZER_FILES))
    except Exception as error:  # the client lets errors of several libraries through
        _log.warning("the tokenizer cannot be had from the hub", source=repository, error=_first_line(error))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
