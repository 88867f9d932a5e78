"""Makes the demo's own base models known to the registry."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import brandloom
from brandloom import ModelFamily

MODELS: Final = Path(__file__).parent / "models"
_RESOLUTION: Final = 128


def register_base_model(client: brandloom.Client) -> brandloom.BaseModel:
    """The demo's base model as `baseModels/sd-tiny`, registered if it is not yet."""
    description = "Small Stable Diffusion of the demo, trained on its own drawings"
    return _registered(client, MODELS / "sd-tiny", ModelFamily.SD15, _RESOLUTION, description)


def register_language_model(client: brandloom.Client) -> brandloom.BaseModel:
    """The demo's language model as `baseModels/llama-tiny`, likewise."""
    description = "Small Llama of the demo, trained on its own talk"
    return _registered(client, MODELS / "llama-tiny", ModelFamily.CAUSAL_LM, 0, description)


def _registered(
    client: brandloom.Client, source: Path, family: ModelFamily, resolution: int, description: str
) -> brandloom.BaseModel:
    """One of the same name with other weights stays as it is, and the new one gets its digest into its
    name.
    """
    digest = brandloom.base_model_digest(source)
    known = next(client.base_models.list(filter=f'sha256 = "{digest}"'), None)
    if known is not None:
        return known
    taken = {_id_of(model.name) for model in client.base_models.list()}
    name = source.name if source.name not in taken else f"{source.name}-{digest[:8]}"
    return client.base_models.create(
        name,
        family=family,
        source=str(source),
        sha256=digest,
        resolution=resolution,
        description=description,
    )


def _id_of(name: str) -> str:
    return name.rpartition("/")[2]
