"""Datasets, their pictures and their sealed revisions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from brandloom import _names
from brandloom._calls import given, mask, new_request_id
from brandloom._convert.fields import enum_to_number, from_proto
from brandloom._download import save_stream
from brandloom._files import OnProgress, picture_sources
from brandloom._groups.upload import send_pictures
from brandloom._transport import Link
from brandloom.api.labeler.v1 import labeler_pb2, resources_pb2
from brandloom.types.labeler import (
    CaptionFormat,
    Dataset,
    DatasetRevision,
    Image,
    UploadReport,
)
from brandloom.types.registry import Brand

_FORMATS = labeler_pb2.CaptionFormat.DESCRIPTOR
_SEALING_SECONDS: Final = 600.0


class AsyncDatasets:
    """Pictures with captions, or texts, open to changes until a revision is sealed."""

    def __init__(self, labeler: Link) -> None:
        self._labeler = labeler

    async def create(
        self,
        brand: str | Brand,
        dataset_id: str,
        *,
        display_name: str = "",
        description: str = "",
        request_id: str | None = None,
    ) -> Dataset:
        """Makes an empty dataset; AlreadyExists when the id is taken."""
        message = resources_pb2.Dataset(display_name=display_name, description=description)
        request = labeler_pb2.CreateDatasetRequest(
            parent=_names.brand(brand),
            dataset_id=dataset_id,
            dataset=message,
            request_id=request_id or new_request_id(),
        )
        return from_proto(Dataset, await self._labeler.call("CreateDataset", request))

    async def get(self, dataset: str | Dataset) -> Dataset:
        """The dataset and its counts as they are now."""
        request = labeler_pb2.GetDatasetRequest(name=_names.dataset(dataset))
        return from_proto(Dataset, await self._labeler.call("GetDataset", request))

    async def list(
        self,
        brand: str | Brand,
        *,
        filter: str = "",  # noqa: A002
        order_by: str = "",
    ) -> AsyncIterator[Dataset]:
        """Datasets of a brand."""
        request = labeler_pb2.ListDatasetsRequest(
            parent=_names.brand(brand), filter=filter, order_by=order_by
        )
        async for message in self._labeler.items("ListDatasets", request, "datasets"):
            yield from_proto(Dataset, message)

    async def update(
        self,
        dataset: str | Dataset,
        *,
        display_name: str | None = None,
        description: str | None = None,
        etag: str = "",
    ) -> Dataset:
        """Changes what is given; with an etag only when nobody else has changed it."""
        changes = given(display_name=display_name, description=description)
        message = resources_pb2.Dataset(name=_names.dataset(dataset), etag=etag, **changes)
        request = labeler_pb2.UpdateDatasetRequest(dataset=message, update_mask=mask(changes))
        return from_proto(Dataset, await self._labeler.call("UpdateDataset", request))

    async def delete(self, dataset: str | Dataset, *, force: bool = False, etag: str = "") -> None:
        """Deletes it; with `force` what it holds too. Sealed revisions stay."""
        request = labeler_pb2.DeleteDatasetRequest(name=_names.dataset(dataset), etag=etag, force=force)
        await self._labeler.call("DeleteDataset", request)

    async def upload(
        self,
        dataset: str | Dataset,
        *paths: str | Path,
        sidecars: bool = False,
        min_side: int = 0,
        on_progress: OnProgress | None = None,
    ) -> UploadReport:
        """Sends pictures, folders of pictures and .zip archives; one result for each picture.

        A bad picture is a REJECTED result and does not stop the others. Sending it all again changes nothing.
        With `sidecars` the text of `<picture>.txt` becomes the caption. Pictures whose shorter side is below
        `min_side` pixels (0: 512) are flagged.
        """
        sources = picture_sources(paths, sidecars=sidecars)
        header = labeler_pb2.UploadImagesHeader(parent=_names.dataset(dataset), min_side=min_side)
        return await send_pictures(self._labeler, header, sources, on_progress)

    async def images(
        self,
        dataset: str | Dataset,
        *,
        filter: str = "",  # noqa: A002
        order_by: str = "",
    ) -> AsyncIterator[Image]:
        """Pictures of a dataset with their captions and flags, such as `filter='flags:"TOO_SMALL"'`."""
        request = labeler_pb2.ListImagesRequest(
            parent=_names.dataset(dataset), filter=filter, order_by=order_by
        )
        async for message in self._labeler.items("ListImages", request, "images"):
            yield from_proto(Image, message)

    async def image(self, image: str | Image) -> Image:
        """One picture as it is now."""
        request = labeler_pb2.GetImageRequest(name=_names.image(image))
        return from_proto(Image, await self._labeler.call("GetImage", request))

    async def download_image(self, image: str | Image, destination: str | Path) -> Path:
        """Writes the picture, as captioner and trainer see it, to a file or into a folder."""
        request = labeler_pb2.DownloadImageRequest(name=_names.image(image))
        return await save_stream(self._labeler.stream("DownloadImage", request), destination)

    async def update_image(
        self,
        image: str | Image,
        *,
        tags: Sequence[str] | None = None,
        split: str | None = None,
        excluded: bool | None = None,
        etag: str = "",
    ) -> Image:
        """Changes tags, split (`train` or `validation`) or whether revisions leave it out."""
        changes = given(tags=tags, split=split, excluded=excluded)
        message = resources_pb2.Image(name=_names.image(image), etag=etag, **changes)
        request = labeler_pb2.UpdateImageRequest(image=message, update_mask=mask(changes))
        return from_proto(Image, await self._labeler.call("UpdateImage", request))

    async def delete_image(self, image: str | Image, *, etag: str = "") -> None:
        """Takes a picture out of the dataset; sealed revisions keep it."""
        request = labeler_pb2.DeleteImageRequest(name=_names.image(image), etag=etag)
        await self._labeler.call("DeleteImage", request)

    async def export(
        self,
        dataset: str | Dataset | DatasetRevision,
        destination: str | Path,
        *,
        format: CaptionFormat | None = None,  # noqa: A002
        include_images: bool = False,
        on_progress: OnProgress | None = None,
    ) -> Path:
        """Writes a dataset or revision to a file or into a folder.

        Captions come as CSV unless another format is given, with pictures in a .zip; texts as JSON Lines,
        which `texts.upload` takes.
        """
        name = _names.full(dataset)
        request = labeler_pb2.ExportDatasetRequest(
            name=_names.revision(name) if "@" in name else _names.dataset(name),
            format=enum_to_number(_FORMATS, format) if format else None,
            include_images=include_images,
        )
        return await save_stream(self._labeler.stream("ExportDataset", request), destination, on_progress)

    async def seal(
        self,
        dataset: str | Dataset,
        *,
        trigger_words: Sequence[str] = (),
        note: str = "",
        allow_empty_captions: bool = False,
        request_id: str | None = None,
    ) -> DatasetRevision:
        """Fixes the dataset's state as a new immutable revision, which training can name."""
        request = labeler_pb2.SealRevisionRequest(
            parent=_names.dataset(dataset),
            trigger_words=trigger_words,
            note=note,
            allow_empty_captions=allow_empty_captions,
            request_id=request_id or new_request_id(),
        )
        answer = await self._labeler.call("SealRevision", request, timeout_seconds=_SEALING_SECONDS)
        return from_proto(DatasetRevision, answer)

    async def revision(self, revision: str | Dataset | DatasetRevision) -> DatasetRevision:
        """One revision (`acme/heroes@3`), or a dataset's latest."""
        request = labeler_pb2.GetDatasetRevisionRequest(name=_names.revision(revision))
        return from_proto(DatasetRevision, await self._labeler.call("GetDatasetRevision", request))

    async def revisions(self, dataset: str | Dataset) -> AsyncIterator[DatasetRevision]:
        """Sealed revisions of a dataset."""
        request = labeler_pb2.ListDatasetRevisionsRequest(parent=_names.dataset(dataset))
        async for message in self._labeler.items("ListDatasetRevisions", request, "revisions"):
            yield from_proto(DatasetRevision, message)
