"""Use case: any stack as one file of weights."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from servicekit.errors import FailedPrecondition
from services.inference.domain import CAUSAL_LM_FAMILY, PICTURE_FAMILIES, Limits
from services.inference.domain_export import ExportedFile, ExportOrder, ExportRequest
from services.inference.ports import StackExporter
from services.inference.service_admission import Admission, Prepared
from services.inference.service_resolving import Wanted
from services.inference.service_stacks import read_stack

MAX_STACK_BYTES: Final = 2 << 30
"""Of all files of a stack: several times that is needed in memory to write one."""
CHUNK_BYTES: Final = 1 << 20


class ExportCases:
    """Writes stacks; the engine has no part in it."""

    def __init__(self, *, admission: Admission, exporter: StackExporter, limits: Limits) -> None:
        self._admission = admission
        self._exporter = exporter
        self._limits = limits

    async def export(self, request: ExportRequest) -> AsyncGenerator[ExportedFile | bytes, None]:
        """What the file is, then its bytes.

        Raises InvalidArgument, NotFound, FailedPrecondition and Unavailable.
        """
        request.check(self._limits)
        _, loras = read_stack("", request.stack, self._limits.max_stack)
        wanted = Wanted(
            brand=request.brand,
            base_model=request.base_model,
            given=request.stack,
            loras=loras,
            families=(*PICTURE_FAMILIES, CAUSAL_LM_FAMILY),
        )
        self._admission.require_open()
        async with self._admission.prepare(wanted) as prepared:
            _check_size(prepared)
            order = ExportOrder(
                base=await prepared.located_base(),
                stack=prepared.resolution.stack,
                paths=prepared.paths,
                precision=request.precision,
            )
            async with self._exporter.export(order) as file:
                yield file
                with await asyncio.to_thread(file.path.open, "rb") as stream:
                    while chunk := await asyncio.to_thread(stream.read, CHUNK_BYTES):
                        yield chunk


def _check_size(prepared: Prepared) -> None:
    size_bytes = sum(dict(prepared.resolution.sizes).values())
    if size_bytes > MAX_STACK_BYTES:
        raise FailedPrecondition(
            f"the stack's files have {size_bytes} bytes, up to {MAX_STACK_BYTES} are written into one",
            reason="STACK_TOO_LARGE",
        )
