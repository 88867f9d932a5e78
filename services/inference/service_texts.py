"""Use case: texts with a stack."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from servicekit.errors import FieldViolation, InvalidArgument
from services.inference.domain import CAUSAL_LM_FAMILY, MAX_SEED, Limits
from services.inference.domain_jobs import BaseRef
from services.inference.domain_texts import TextEvent, TextJob, TextRequest, TextStarted
from services.inference.ports import Engine
from services.inference.service_admission import Admission, Prepared
from services.inference.service_resolving import Wanted
from services.inference.service_stacks import WantedLora, read_stack


class TextCases:
    """Resolves what a request names, and has the engine write its text."""

    def __init__(self, *, admission: Admission, engine: Engine, limits: Limits) -> None:
        self._admission = admission
        self._engine = engine
        self._limits = limits

    async def generate(self, request: TextRequest) -> AsyncGenerator[TextEvent, None]:
        """Queued, then the text in pieces, then TextFinished.

        Raises InvalidArgument, NotFound, FailedPrecondition and Unavailable.
        """
        request.check()
        text, loras = read_stack(request.prompt, request.stack, self._limits.max_stack)
        _check_tags(loras)
        wanted = Wanted(
            brand=request.brand,
            base_model=request.base_model,
            given=request.stack,
            loras=loras,
            families=(CAUSAL_LM_FAMILY,),
        )
        async with self._admission.admit(wanted) as admitted:
            seed = secrets.randbelow(MAX_SEED + 1) if request.seed is None else request.seed
            yield admitted.queued(seed)
            base = await admitted.prepared.located_base()
            job = text_job(request, text, seed, base, admitted.prepared)
            async with aclosing(self._engine.generate_text(job)) as events:
                async for event in events:
                    if isinstance(event, TextStarted):
                        await admitted.started()
                    else:
                        yield event


def text_job(request: TextRequest, text: str, seed: int, base: BaseRef, prepared: Prepared) -> TextJob:
    """The request as the engine takes it; ``text`` is its prompt without tags."""
    return TextJob(
        job_id=uuid.uuid4().hex,
        brand=request.brand,
        base=base,
        prompt=text,
        messages=request.messages,
        loras=prepared.lora_files,
        sampling=replace(request.sampling, seed=seed),
        priority=request.priority,
    )


def _check_tags(loras: tuple[WantedLora, ...]) -> None:
    """Explicit entries have been looked at; what differs now was said by a tag."""
    faults = [
        FieldViolation("prompt", f"{lora.reference} has two weights; a language model has one")
        for lora in loras
        if lora.text_encoder_weight != lora.weight
    ]
    if faults:
        raise InvalidArgument(faults)
