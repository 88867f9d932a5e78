"""Use case: pictures with a stack."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing

from servicekit.errors import InvalidArgument
from services.inference.domain import MAX_SEED, PICTURE_FAMILIES, ImageRequest, Limits
from services.inference.domain_jobs import ImageEvent
from services.inference.service_admission import Admission
from services.inference.service_pictures import PictureMaker, image_job
from services.inference.service_resolving import Wanted
from services.inference.service_stacks import placed, read_stack


class ImageCases:
    """Resolves what a request names, has the engine make its pictures, and says what they were made from."""

    def __init__(self, *, admission: Admission, maker: PictureMaker, limits: Limits) -> None:
        self._admission = admission
        self._maker = maker
        self._limits = limits

    async def generate(self, request: ImageRequest) -> AsyncGenerator[ImageEvent, None]:
        """Queued, then progress and pictures in the order in which they get done.

        Raises InvalidArgument, NotFound, FailedPrecondition and Unavailable.
        """
        request.check(self._limits)
        text, loras = read_stack(request.prompt, request.stack, self._limits.max_stack)
        wanted = Wanted(
            brand=request.brand,
            base_model=request.base_model,
            given=request.stack,
            loras=loras,
            families=PICTURE_FAMILIES,
        )
        async with self._admission.admit(wanted) as admitted:
            seed = secrets.randbelow(MAX_SEED + 1) if request.seed is None else request.seed
            yield admitted.queued(seed)
            prepared = admitted.prepared
            job = image_job(request, text, seed, await prepared.located_base(), prepared.lora_files)
            made = self._maker.make(request, job, prepared.resolution.stack, admitted.started)
            try:
                async with aclosing(made):
                    async for event in made:
                        yield event
            except InvalidArgument as error:
                raise placed(error, request.stack, loras) from error
