"""The text chunks of a generated picture: A1111's parameters and Brandloom's own record."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from lorakit.picture_metadata import (
    BRANDLOOM_KEY,
    PARAMETERS_KEY,
    Infotext,
    embed_png,
    format_infotext,
    format_record,
    lora_hashes,
)
from services.inference.domain import ImageJob, RawPicture, Started, UsedLora

MODEL_HASH_DIGITS = 10
RECORD_VERSION = 1


def program_version() -> str:
    """`brandloom 0.1.0`, or without a number where the distribution is not installed."""
    try:
        return f"brandloom {version('brandloom')}"
    except PackageNotFoundError:
        return "brandloom"


def with_texts(
    picture: RawPicture,
    *,
    brand: str,
    full_prompt: str,
    job: ImageJob,
    started: Started,
    stack: Sequence[UsedLora],
) -> bytes:
    """The picture's PNG with both chunks.

    ``full_prompt`` holds a tag for every LoRA, so that tools which read only `parameters` can repeat it.
    """
    hashes = {used.reference: digest for used, digest in zip(stack, started.model_hashes, strict=True)}
    parameters = {
        "Steps": str(job.steps),
        "Sampler": job.sampler.value,
        "Schedule type": "Karras" if started.karras else "Automatic",
        "CFG scale": f"{job.guidance:g}",
        "Seed": str(picture.seed),
        "Size": f"{picture.width}x{picture.height}",
        "Model hash": job.base.sha256[:MODEL_HASH_DIGITS],
        "Model": job.base.name,
        **({"Clip skip": str(job.clip_skip + 1)} if job.clip_skip else {}),
        **({"Lora hashes": lora_hashes(hashes)} if hashes else {}),
        "Version": program_version(),
    }
    record = {
        "record_version": RECORD_VERSION,
        "brand": f"brands/{brand}",
        "prompt": job.prompt,
        "negative_prompt": job.negative_prompt,
        "base_model": {"name": job.base.name, "sha256": job.base.sha256, "family": job.base.family},
        "stack": [
            {
                "reference": used.reference,
                "version": used.version,
                "sha256": used.sha256,
                "text_encoder_weight": used.text_encoder_weight,
                "weight": used.weight,
            }
            for used in stack
        ],
        "steps": job.steps,
        "sampler": job.sampler.value,
        "karras": started.karras,
        "guidance_scale": job.guidance,
        "seed": picture.seed,
        "width": picture.width,
        "height": picture.height,
        "clip_skip": job.clip_skip,
    }
    infotext = format_infotext(Infotext(full_prompt, job.negative_prompt, parameters))
    return embed_png(picture.png, {PARAMETERS_KEY: infotext, BRANDLOOM_KEY: format_record(record)})
