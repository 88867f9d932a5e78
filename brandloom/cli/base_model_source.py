"""Base models that lie on this machine: what they are, and their registration."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Final

import brandloom
from brandloom import BaseModel, Client, ModelFamily
from brandloom.errors import ConfigurationError, NotFound

_FAMILY_OF_PIPELINE: Final = {
    "StableDiffusionPipeline": ModelFamily.SD15,
    "StableDiffusionXLPipeline": ModelFamily.SDXL,
}
_SD15_RESOLUTION: Final = 512
_CAUSAL_SUFFIXES: Final = ("ForCausalLM", "LMHeadModel")


def find_or_register(client: Client, base_model: str) -> BaseModel:
    """The registered model of that name, or the folder, file or cached hub model, registered if need be.

    A model whose digest is registered already is that one, whatever its id.
    """
    path = Path(base_model).expanduser()
    if _may_be_registered(base_model):
        try:
            return client.base_models.get(base_model)
        except NotFound:
            if not path.exists():
                raise
    if not path.exists():
        path = _in_hub_cache(base_model)
    digest = brandloom.base_model_digest(path)
    known = next(client.base_models.list(filter=f'sha256 = "{digest}"'), None)
    return known or register(client, _free_id(client, _slug(base_model), digest), path)


def register(
    client: Client, base_model_id: str, path: Path, *, license_name: str = "", description: str = ""
) -> BaseModel:
    """Registers a folder or file by its absolute path; ConfigurationError when it is of no known kind."""
    source = path.expanduser().resolve()
    family, resolution = _kind_of(source)
    return client.base_models.create(
        base_model_id,
        family=family,
        source=str(source),
        sha256=brandloom.base_model_digest(source),
        resolution=resolution,
        license=license_name,
        description=description,
    )


def _may_be_registered(base_model: str) -> bool:
    return re.fullmatch(r"(baseModels/)?[a-z]([a-z0-9-]{0,61}[a-z0-9])?", base_model) is not None


def _kind_of(source: Path) -> tuple[ModelFamily, int]:
    if source.is_file():
        if source.suffix != ".safetensors":
            raise ConfigurationError(
                f"{source}: only .safetensors checkpoints are taken, nothing is unpickled"
            )
        return ModelFamily.SD15, _SD15_RESOLUTION
    if not (source / "model_index.json").is_file() and (source / "config.json").is_file():
        return _kind_of_language_model(source)
    pipeline = _read_json(source / "model_index.json").get("_class_name")
    family = _FAMILY_OF_PIPELINE.get(str(pipeline))
    if family is None:
        known = ", ".join(_FAMILY_OF_PIPELINE)
        raise ConfigurationError(f"{source} is a {pipeline}; known are {known}")
    sample_size = _read_json(source / "unet" / "config.json").get("sample_size", 64)
    levels = len(_read_json(source / "vae" / "config.json").get("block_out_channels", [0] * 4))
    return family, int(sample_size) * 2 ** (levels - 1)


def _kind_of_language_model(source: Path) -> tuple[ModelFamily, int]:
    classes = _read_json(source / "config.json").get("architectures") or []
    if not isinstance(classes, list) or not any(str(name).endswith(_CAUSAL_SUFFIXES) for name in classes):
        raise ConfigurationError(f"{source} is a {classes}; of transformers' models causal ones are taken")
    return ModelFamily.CAUSAL_LM, 0


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} holds no JSON object")
    return content


def _in_hub_cache(hub_id: str) -> Path:
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    model = cache / f"models--{hub_id.replace('/', '--')}"
    reference = model / "refs" / "main"
    snapshot = model / "snapshots" / (reference.read_text().strip() if reference.is_file() else "-")
    if not snapshot.is_dir():
        raise ConfigurationError(
            f"base_model {hub_id!r} is not registered, there is no such folder or file, and it is not in the"
            f" hub's cache ({cache}): register it with `brandloom base-models register`"
        )
    return snapshot


def _free_id(client: Client, wanted: str, digest: str) -> str:
    try:
        client.base_models.get(wanted)
    except NotFound:
        return wanted
    return f"{wanted[:50]}-{digest[:8]}"


def _slug(text: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", Path(text).name.lower()).strip("-")
    return (words if words[:1].isalpha() else f"base-{words}")[:60].strip("-")
