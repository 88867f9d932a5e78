"""Many pictures over as few streams as is prudent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Final

from brandloom._convert.fields import from_proto
from brandloom._files import FileSource, OnProgress
from brandloom._transport import Link
from brandloom.api.labeler.v1 import labeler_pb2
from brandloom.types.common import TransferProgress
from brandloom.types.labeler import UploadReport, UploadResult

# A stream that breaks is sent again as a whole, so it is kept short.
_BATCH_FILES: Final = 200
_BATCH_BYTES: Final = 128 * 1024 * 1024


async def send_pictures(
    labeler: Link,
    header: labeler_pb2.UploadImagesHeader,
    sources: Sequence[FileSource],
    on_progress: OnProgress | None,
) -> UploadReport:
    """Sends the files batch by batch; a batch whose connection breaks is sent again, which does no harm."""
    total_bytes = sum(source.size_bytes for source in sources)
    done_files = done_bytes = 0
    results: list[UploadResult] = []
    added = rejected = 0
    for batch in _batches(sources):

        def report(files: int, size: int, base: tuple[int, int] = (done_files, done_bytes)) -> None:
            if on_progress:
                on_progress(
                    TransferProgress(
                        done_files=base[0] + files,
                        done_bytes=base[1] + size,
                        total_files=len(sources),
                        total_bytes=total_bytes,
                    )
                )

        response = await labeler.send("UploadImages", partial(_messages, header, batch, report))
        answer = from_proto(UploadReport, response)
        results.extend(answer.results)
        added, rejected = added + answer.added_count, rejected + answer.rejected_count
        done_files += len(batch)
        done_bytes += sum(source.size_bytes for source in batch)
    return UploadReport(results=tuple(results), added_count=added, rejected_count=rejected)


async def _messages(
    header: labeler_pb2.UploadImagesHeader, batch: Sequence[FileSource], report: Callable[[int, int], None]
) -> AsyncIterator[labeler_pb2.UploadImagesRequest]:
    yield labeler_pb2.UploadImagesRequest(header=header)
    size = 0
    for number, source in enumerate(batch):
        file = labeler_pb2.UploadFile(
            file_name=source.name, size_bytes=source.size_bytes, caption=source.caption
        )
        yield labeler_pb2.UploadImagesRequest(file=file)
        async for chunk in source.chunks():
            yield labeler_pb2.UploadImagesRequest(chunk=chunk)
            size += len(chunk)
            report(number, size)
        report(number + 1, size)


def _batches(sources: Sequence[FileSource]) -> list[list[FileSource]]:
    batches: list[list[FileSource]] = []
    size = 0
    for source in sources:
        if not batches or len(batches[-1]) == _BATCH_FILES or size + source.size_bytes > _BATCH_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(source)
        size += source.size_bytes
    return batches
