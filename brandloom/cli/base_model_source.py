"""Where base models are, what they are, and their registration."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import brandloom
from brandloom import BaseModel, Client, ModelFamily
from brandloom.cli.base_model_kind import kind_of
from brandloom.errors import ConfigurationError, NotFound

_HUB_ID: Final = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@((?!.*\.\.)[\w./-]+))?")
_S3: Final = "s3://"


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """What the user says of a base model; the rest is found out from its files."""

    copy: Path | None = None
    """A folder or file on this machine with the same content as the source"""
    family: ModelFamily | None = None
    resolution: int | None = None
    sha256: str = ""
    license: str = ""
    description: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A base model that can be registered."""

    source: str
    family: ModelFamily
    resolution: int
    sha256: str
    told_by: str

    def __str__(self) -> str:
        # A language model has no resolution.
        pixels = f", {self.resolution} px" if self.resolution else ""
        return f"{self.source}: {self.family}{pixels}, SHA-256 {self.sha256} ({self.told_by})"


def find_or_register(client: Client, base_model: str) -> BaseModel:
    """The registered model of that name, or the folder, file or cached hub model, registered if need be.

    A model whose digest is registered already is that one, whatever its id.
    """
    if _may_be_registered(base_model):
        try:
            return client.base_models.get(base_model)
        except NotFound:
            if not Path(base_model).expanduser().exists():
                raise
    found = examine(base_model, Given())
    known = next(client.base_models.list(filter=f'sha256 = "{found.sha256}"'), None)
    return known or register(client, _free_id(client, _slug(base_model), found.sha256), found, Given())


def examine(source: str, given: Given) -> Found:
    """What is to be registered; ConfigurationError when it cannot be found out and was not given."""
    local = given.copy or _local(source)
    if local is None:
        known = source.startswith(_S3) or _HUB_ID.fullmatch(source)
        if not (known and given.sha256 and given.family and given.resolution):
            raise ConfigurationError(_unseen(source))
        return Found(
            source=source,
            family=given.family,
            resolution=given.resolution,
            sha256=given.sha256,
            told_by="as given",
        )
    if local.is_file() and local.suffix != ".safetensors":
        raise ConfigurationError(f"{local}: only .safetensors checkpoints are taken, nothing is unpickled")
    sha256 = brandloom.base_model_digest(local)
    if given.sha256 and given.sha256 != sha256:
        raise ConfigurationError(f"{local} has the digest {sha256}, not {given.sha256}")
    if given.family and given.resolution:
        family, resolution, told_by = given.family, given.resolution, "as given"
    else:
        kind = kind_of(local)
        family, resolution = given.family or kind.family, given.resolution or kind.resolution
        told_by = f"told by {kind.told_by}"
    absolute = str(local.resolve()) if _path(source).exists() else source
    return Found(source=absolute, family=family, resolution=resolution, sha256=sha256, told_by=told_by)


def register(client: Client, base_model_id: str, found: Found, given: Given) -> BaseModel:
    """Registers it."""
    return client.base_models.create(
        base_model_id,
        family=found.family,
        source=found.source,
        sha256=found.sha256,
        resolution=found.resolution,
        license=given.license,
        description=given.description,
    )


def _may_be_registered(base_model: str) -> bool:
    return re.fullmatch(r"(baseModels/)?[a-z]([a-z0-9-]{0,61}[a-z0-9])?", base_model) is not None


def _path(source: str) -> Path:
    return Path(source.removeprefix("file://")).expanduser()


def _local(source: str) -> Path | None:
    """The source's files on this machine; None where there are none."""
    if source.startswith(_S3):
        return None
    path = _path(source)
    if path.exists():
        return path
    match = _HUB_ID.fullmatch(source)
    return _in_hub_cache(match[1], match[2] or "main") if match else None


def _in_hub_cache(repository: str, revision: str) -> Path | None:
    model = _hub_cache() / f"models--{repository.replace('/', '--')}"
    reference = model / "refs" / revision
    commit = reference.read_text().strip() if reference.is_file() else revision
    snapshot = model / "snapshots" / commit
    return snapshot if snapshot.is_dir() else None


def _hub_cache() -> Path:
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub")


def _unseen(source: str) -> str:
    if source.startswith(_S3):
        where = f"{source} is not read from here"
    elif _HUB_ID.fullmatch(source):
        where = f"{source} is no folder or file here, and not in the hub's cache ({_hub_cache()})"
    else:
        return f"{source} is no folder or file here, and neither a hub id nor s3://bucket/key"
    return (
        f"{where}: register it with `brandloom base-models register` and --copy, which names a local copy, "
        "or with --sha256, --family and --resolution"
    )


def _free_id(client: Client, wanted: str, digest: str) -> str:
    try:
        client.base_models.get(wanted)
    except NotFound:
        return wanted
    return f"{wanted[:50]}-{digest[:8]}"


def _slug(text: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", Path(text).name.lower()).strip("-")
    return (words if words[:1].isalpha() else f"base-{words}")[:60].strip("-")
