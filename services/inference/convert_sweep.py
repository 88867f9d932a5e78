"""Sweeps between protocol buffers and the domain; pure."""

from __future__ import annotations

import secrets

from brandloom.api.inference.v1 import inference_pb2
from servicekit.errors import FieldViolation, InvalidArgument
from services.inference import convert
from services.inference.domain import MAX_SEED
from services.inference.domain_jobs import Progress, Queued
from services.inference.domain_sweep import Cell, SweepEvent, SweepRequest


def sweep_request(message: inference_pb2.GenerateSweepRequest) -> SweepRequest:
    """The request with what it leaves out taken from its template; without any seed one is drawn.

    Raises InvalidArgument for what is said twice, and for a parent that is no brand.
    """
    template = message.template
    twice = [
        FieldViolation(f"template.{name}", f"must be left out where there are {others}")
        for name, others, given in (
            ("prompt", "prompts", bool(template.prompt)),
            ("seed", "seeds", template.HasField("seed")),
        )
        if given and getattr(message, others)
    ]
    if twice:
        raise InvalidArgument(twice)
    seed = template.seed if template.HasField("seed") else secrets.randbelow(MAX_SEED + 1)
    return SweepRequest(
        template=convert.image_request(template),
        prompts=tuple(message.prompts) or (template.prompt,),
        seeds=tuple(message.seeds) or (seed,),
        weights=tuple(message.weights) or (1.0,),
    )


def sweep_response(event: SweepEvent) -> inference_pb2.GenerateSweepResponse:
    """An event of a sweep as a message of its stream."""
    if isinstance(event, Queued):
        return inference_pb2.GenerateSweepResponse(queued=convert.queued_message(event))
    if isinstance(event, Progress):
        return inference_pb2.GenerateSweepResponse(progress=convert.progress_message(event))
    if isinstance(event, Cell):
        return inference_pb2.GenerateSweepResponse(cell=_cell_message(event))
    return inference_pb2.GenerateSweepResponse(sheet_png=event.png)


def _cell_message(cell: Cell) -> inference_pb2.SweepCell:
    return inference_pb2.SweepCell(
        prompt_index=cell.place.prompt,
        seed_index=cell.place.seed,
        weight_index=cell.place.weight,
        image=convert.picture_message(cell.picture),
    )
