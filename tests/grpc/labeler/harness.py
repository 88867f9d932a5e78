"""A real labeler on a free port, and short ways to call it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from brandloom.api.labeler.v1 import labeler_pb2, labeler_pb2_grpc, resources_pb2
from servicekit.artifacts.open import open_store
from servicekit.artifacts.port import ArtifactStore
from servicekit.channels import open_channel
from servicekit.identity import Authenticator
from servicekit.metrics import ServiceMetrics
from services.labeler.__main__ import opened_server
from services.labeler.config import read_config

TOKEN = "a-token-for-tests"
CHUNK = 50_000
Outcome = labeler_pb2.UploadResult


@dataclass(frozen=True, slots=True)
class Labeler:
    """A running labeler, a stub for it and its store."""

    stub: Any
    store: ArtifactStore
    metrics: ServiceMetrics
    address: str

    async def dataset(self, brand: str = "acme") -> str:
        """The name of a new dataset."""
        request = labeler_pb2.CreateDatasetRequest(
            parent=f"brands/{brand}", dataset_id=f"d{uuid.uuid4().hex[:12]}"
        )
        return (await self.stub.CreateDataset(request)).name

    async def upload(self, parent: str, files: dict[str, bytes], **header: Any) -> list[Any]:
        """The results of an upload."""
        header.setdefault("min_side", 16)
        return list((await self.stub.UploadImages(upload_messages(parent, files, **header))).results)

    async def images(self, parent: str, condition: str = "", **request: Any) -> list[Any]:
        """The pictures of one page."""
        return list(
            (
                await self.stub.ListImages(
                    labeler_pb2.ListImagesRequest(parent=parent, filter=condition, **request)
                )
            ).images
        )

    async def caption(self, name: str, caption: str, etag: str = "") -> Any:
        """The picture with its new caption."""
        return await self.stub.UpdateCaption(
            labeler_pb2.UpdateCaptionRequest(name=name, caption=caption, etag=etag)
        )

    async def import_captions(self, parent: str, data: bytes, form: int = 1, **header: Any) -> Any:
        """Sends a caption file."""

        def messages() -> Iterator[Any]:
            sent = labeler_pb2.ImportCaptionsHeader(parent=parent, format=form, **header)
            yield labeler_pb2.ImportCaptionsRequest(header=sent)
            for start in range(0, len(data), CHUNK):
                yield labeler_pb2.ImportCaptionsRequest(chunk=data[start : start + CHUNK])

        return await self.stub.ImportCaptions(messages())

    async def upload_texts(
        self, parent: str, data: bytes, file_name: str = "t.jsonl", split: str = ""
    ) -> Any:
        """Sends a file of texts."""

        def messages() -> Iterator[Any]:
            sent = labeler_pb2.UploadTextsHeader(parent=parent, file_name=file_name, split=split)
            yield labeler_pb2.UploadTextsRequest(header=sent)
            for start in range(0, len(data), CHUNK):
                yield labeler_pb2.UploadTextsRequest(chunk=data[start : start + CHUNK])

        return await self.stub.UploadTexts(messages())

    async def texts(self, parent: str, condition: str = "", **request: Any) -> list[Any]:
        """The texts of one page."""
        asked = labeler_pb2.ListTextsRequest(parent=parent, filter=condition, **request)
        return list((await self.stub.ListTexts(asked)).texts)

    async def export(self, name: str, form: int = 1, **request: Any) -> tuple[str, bytes]:
        """File name and bytes of an export."""
        asked = labeler_pb2.ExportDatasetRequest(name=name, format=form, **request)
        chunks = [chunk async for chunk in self.stub.ExportDataset(asked)]
        return chunks[0].file_name, b"".join(chunk.data for chunk in chunks)

    async def seal(self, parent: str, **request: Any) -> Any:
        """A sealed revision."""
        return await self.stub.SealRevision(labeler_pb2.SealRevisionRequest(parent=parent, **request))

    async def create_job(self, parent: str, **settings: Any) -> Any:
        """A new label job."""
        job = resources_pb2.LabelJob(**settings)
        return await self.stub.CreateLabelJob(labeler_pb2.CreateLabelJobRequest(parent=parent, label_job=job))

    async def watch(self, job: str, after: int = 0) -> list[Any]:
        """All events of a job until its end."""
        request = labeler_pb2.WatchLabelJobRequest(name=job, after_sequence=after)
        return [event async for event in self.stub.WatchLabelJob(request)]


def upload_messages(parent: str, files: dict[str, bytes], **header: Any) -> Iterator[Any]:
    """The messages of an upload."""
    sent = labeler_pb2.UploadImagesHeader(parent=parent, **header)
    yield labeler_pb2.UploadImagesRequest(header=sent)
    for name, data in files.items():
        file = labeler_pb2.UploadFile(file_name=name, size_bytes=len(data))
        yield labeler_pb2.UploadImagesRequest(file=file)
        for start in range(0, len(data), CHUNK):
            yield labeler_pb2.UploadImagesRequest(chunk=data[start : start + CHUNK])


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a failed call said."""

    code: grpc.StatusCode
    message: str
    reason: str
    fields: dict[str, str]


async def refused(call: Any) -> Refusal:
    """The refusal of a call that must fail."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return _read(error)
    raise AssertionError(f"the call was answered: {answer}")


def _read(error: grpc.aio.AioRpcError) -> Refusal:
    status = rpc_status.from_call(error)
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details if status else ():
        detail.Unpack(info)
        detail.Unpack(bad)
    fields = {violation.field: violation.description for violation in bad.field_violations}
    return Refusal(error.code(), error.details() or "", info.reason, fields)


def environment(home: Path, database_url: str, **more: str) -> dict[str, str]:
    """The settings of a labeler for tests."""
    return {
        "BRANDLOOM_HOME": str(home),
        "BRANDLOOM_TOKEN": TOKEN,
        "BRANDLOOM_LABELER_LISTEN": "127.0.0.1:0",
        "BRANDLOOM_LABELER_METRICS_LISTEN": "",
        "BRANDLOOM_LABELER_DATABASE_URL": database_url,
        "BRANDLOOM_LABELER_DECODERS": "1",
        "BRANDLOOM_LABELER_CAPTIONER_THREADS": "1",
        "BRANDLOOM_LABELER_DRAIN_SECONDS": "1",
        "BRANDLOOM_LABELER_MAX_FILE_MIB": "4",
        "BRANDLOOM_LABELER_MAX_PIXELS": "4000000",
        **more,
    }


@asynccontextmanager
async def running_labeler(
    home: Path, database_url: str = "", *, authenticator: Authenticator | None = None, **more: str
) -> AsyncIterator[Labeler]:
    """A labeler that serves until the end of the block."""
    database_url = database_url or f"sqlite+aiosqlite:///{home}/labeler.db"
    config = read_config(environment(home, database_url, **more))
    metrics = ServiceMetrics("labeler")
    async with opened_server(config, metrics, authenticator) as server:
        port = await server.start()
        address = f"127.0.0.1:{port}"
        channel = open_channel(address, token=TOKEN)
        store = open_store(config.common.store.url, config.common.store)
        try:
            yield Labeler(labeler_pb2_grpc.LabelerServiceStub(channel), store, metrics, address)
        finally:
            await channel.close()
            await server.stop(0)
