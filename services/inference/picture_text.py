"""The text chunks of a generated picture: A1111's parameters, Brandloom's own record, and the IPTC's word for
where it comes from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from xml.sax.saxutils import quoteattr

from lorakit.picture_metadata import (
    BRANDLOOM_KEY,
    PARAMETERS_KEY,
    XMP_KEY,
    Infotext,
    embed_png,
    format_infotext,
    format_record,
    lora_hashes,
)
from services.inference.domain import ALL_STEPS, Box, Composition, Region, StepWindow
from services.inference.domain_jobs import ImageJob, RawPicture, Started, UsedLora

MODEL_HASH_DIGITS = 10
RECORD_VERSION = 1
GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
GENERATED_IN_PART = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""Digital source types of the IPTC."""


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
    """The picture's PNG with all chunks.

    ``full_prompt`` holds a tag for every LoRA, so that tools which read only `parameters` can repeat it.
    """
    infotext = Infotext(full_prompt, job.negative_prompt, _parameters(picture, job, started))
    texts = {
        PARAMETERS_KEY: format_infotext(infotext),
        BRANDLOOM_KEY: format_record(_record(picture, brand, job, started, stack)),
        XMP_KEY: xmp(job),
    }
    return embed_png(picture.png, texts)


def _parameters(picture: RawPicture, job: ImageJob, started: Started) -> dict[str, str]:
    """What other tools read."""
    hashes = {lora.reference: lora.model_hash for lora in job.loras if lora.model_hash}
    return {
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


def _record(
    picture: RawPicture, brand: str, job: ImageJob, started: Started, stack: Sequence[UsedLora]
) -> dict[str, Any]:
    """All that the picture was made from."""
    return {
        "record_version": RECORD_VERSION,
        "brand": f"brands/{brand}",
        "prompt": job.prompt,
        "stack": [
            {
                "reference": used.reference,
                "version": used.version,
                "sha256": used.sha256,
                "text_encoder_weight": used.text_encoder_weight,
                "weight": used.weight,
                **where_and_when(used.window, used.region),
            }
            for used in stack
        ],
        **how_made(job),
        "karras": started.karras,
        "seed": picture.seed,
        "width": picture.width,
        "height": picture.height,
    }


def how_made(job: ImageJob) -> dict[str, Any]:
    """What the record says of all pictures of a job alike."""
    return {
        "negative_prompt": job.negative_prompt,
        "base_model": {"name": job.base.name, "sha256": job.base.sha256, "family": job.base.family},
        "composition": job.composition.value,
        **({"switch_every": job.switch_every} if job.composition is Composition.SWITCH else {}),
        **record_of_beginning(job),
        "steps": job.steps,
        "sampler": job.sampler.value,
        "guidance_scale": job.guidance,
        "clip_skip": job.clip_skip,
    }


def source_type(job: ImageJob) -> str:
    """The IPTC's digital source type of the pictures of a job."""
    inpainted = job.initial_image is not None and job.initial_image.mask_png
    return GENERATED_IN_PART if inpainted else GENERATED


def where_and_when(window: StepWindow, region: Region | None) -> dict[str, Any]:
    """The part of the steps and of the picture in which a LoRA works; nothing for all of both."""
    found: dict[str, Any] = {}
    if window != ALL_STEPS:
        found["window"] = [window.start, window.end]
    if isinstance(region, Box):
        found["box"] = [region.left, region.top, region.right, region.bottom]
    elif region is not None:
        found["mask_sha256"] = hashlib.sha256(region.png).hexdigest()
    return found


def record_of_beginning(job: ImageJob) -> dict[str, Any]:
    """Digests of what it began from; nothing for one that began from noise alone."""
    if job.initial_image is None:
        return {}
    found = {
        "initial_image_sha256": hashlib.sha256(job.initial_image.image).hexdigest(),
        "strength": job.initial_image.strength,
    }
    if job.initial_image.mask_png:
        found["mask_sha256"] = hashlib.sha256(job.initial_image.mask_png).hexdigest()
    return found


def xmp(job: ImageJob) -> str:
    """An XMP packet as picture editors, stock agencies and search engines read it."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about=""'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        f" Iptc4xmpExt:DigitalSourceType={quoteattr(source_type(job))}"
        f" xmp:CreatorTool={quoteattr(program_version())}/>"
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )
