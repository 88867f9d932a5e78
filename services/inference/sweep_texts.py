"""The text chunks of a sweep's sheet: what its rows and columns are, and what it was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lorakit.picture_metadata import BRANDLOOM_KEY, XMP_KEY, embed_png, format_record
from services.inference.domain import Limits
from services.inference.domain_jobs import ImageJob, UsedLora
from services.inference.domain_sweep import Cell, Place, SweepRequest
from services.inference.picture_text import RECORD_VERSION, how_made, where_and_when, xmp
from services.inference.service_stacks import read_stack


def with_sheet_texts(
    png: bytes,
    *,
    request: SweepRequest,
    limits: Limits,
    job: ImageJob,
    stack: Sequence[UsedLora],
    cells: Mapping[Place, Cell],
) -> bytes:
    """The sheet's PNG with all chunks but `parameters`, which tells of one picture.

    ``job`` is what all cells share, ``stack`` every LoRA of the sweep.
    """
    record = {
        "record_version": RECORD_VERSION,
        "brand": f"brands/{job.brand}",
        "stack": [
            {"reference": used.reference, "version": used.version, "sha256": used.sha256} for used in stack
        ],
        **how_made(job),
        "sweep": {
            "prompts": _prompts(request, limits),
            "seeds": list(request.seeds),
            "weights": list(request.weights),
            "cells": [_cell(cells[place]) for place in request.places()],
        },
    }
    return embed_png(png, {BRANDLOOM_KEY: format_record(record), XMP_KEY: xmp(job)})


def _prompts(request: SweepRequest, limits: Limits) -> list[dict[str, Any]]:
    """Each prompt, and the weights of its stack before a cell's factor."""
    entries = request.template.stack
    # Once for all prompts: a mask may be large.
    parts = {(entry.window, entry.region): where_and_when(entry.window, entry.region) for entry in entries}
    read = [read_stack(prompt, entries, limits.max_stack) for prompt in request.prompts]
    return [
        {
            "prompt": text,
            "stack": [
                {
                    "reference": str(lora.reference),
                    "text_encoder_weight": lora.text_encoder_weight,
                    "weight": lora.weight,
                    **parts.get((lora.window, lora.region), {}),
                }
                for lora in loras
            ],
        }
        for text, loras in read
    ]


def _cell(cell: Cell) -> dict[str, Any]:
    place, picture = cell.place, cell.picture
    return {
        "prompt": place.prompt,
        "seed": place.seed,
        "weight": place.weight,
        "width": picture.width,
        "height": picture.height,
        # Empty: it was withheld.
        "sha256": picture.sha256,
    }
