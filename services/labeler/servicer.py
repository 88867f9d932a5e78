# ruff: noqa: N802 -- names and descriptions are those of the .proto.
"""The RPC methods: convert, call, convert. Who may call what is settled before (servicekit.interceptors)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.empty_pb2 import Empty

from brandloom.api.common.v1 import artifact_pb2
from brandloom.api.labeler.v1 import labeler_pb2, labeler_pb2_grpc, resources_pb2
from servicekit.drain import Drain
from servicekit.identity import current_principal
from services.labeler import convert, convert_answers, streams
from services.labeler.domain import Split, UploadOutcome
from services.labeler.keys import DatasetKey
from services.labeler.service import DatasetService, ImageService
from services.labeler.service_captions import CaptionService
from services.labeler.service_exports import ExportService
from services.labeler.service_labeling import LabelJobService
from services.labeler.service_revisions import RevisionService, SealRequest
from services.labeler.service_texts import TextService
from services.labeler.service_uploads import UploadService

# A page of pictures with the longest captions has to fit into one message; so has one of the longest texts.
MAX_IMAGE_PAGE_SIZE: Final = 200
MAX_TEXT_PAGE_SIZE: Final = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """The use cases behind the RPCs."""

    datasets: DatasetService
    images: ImageService
    uploads: UploadService
    texts: TextService
    captions: CaptionService
    jobs: LabelJobService
    revisions: RevisionService
    exports: ExportService


class LabelerServicer(labeler_pb2_grpc.LabelerServiceServicer):
    """brandloom.api.labeler.v1.LabelerService over the use cases."""

    def __init__(self, services: Services, drain: Drain, *, max_file_bytes: int) -> None:
        self._services = services
        self._drain = drain
        self._max_file_bytes = max_file_bytes

    async def CreateDataset(
        self, request: labeler_pb2.CreateDatasetRequest, context: Any
    ) -> resources_pb2.Dataset:
        brand = convert.brand_id(request.parent)
        dataset = await self._services.datasets.create(
            DatasetKey(brand, request.dataset_id),
            request.dataset.display_name,
            request.dataset.description,
            convert.request_id(request, request.request_id),
        )
        return convert_answers.dataset_to_proto(dataset)

    async def GetDataset(self, request: labeler_pb2.GetDatasetRequest, context: Any) -> resources_pb2.Dataset:
        key = convert.dataset_key(request.name)
        return convert_answers.dataset_to_proto(await self._services.datasets.get(key))

    async def ListDatasets(
        self, request: labeler_pb2.ListDatasetsRequest, context: Any
    ) -> labeler_pb2.ListDatasetsResponse:
        brand = convert.brand_id(request.parent)
        page = await self._services.datasets.page(brand, convert.list_query(request))
        datasets = [convert_answers.dataset_to_proto(dataset) for dataset in page.items]
        return labeler_pb2.ListDatasetsResponse(datasets=datasets, next_page_token=page.next_page_token)

    async def UpdateDataset(
        self, request: labeler_pb2.UpdateDatasetRequest, context: Any
    ) -> resources_pb2.Dataset:
        sent = request.dataset
        key = convert.dataset_key(sent.name, "dataset.name")
        paths = convert.mask_paths(sent, request.update_mask, ("display_name", "description"), "dataset")
        dataset = await self._services.datasets.update(
            key,
            display_name=sent.display_name if "display_name" in paths else None,
            description=sent.description if "description" in paths else None,
            etag=sent.etag,
        )
        return convert_answers.dataset_to_proto(dataset)

    async def DeleteDataset(self, request: labeler_pb2.DeleteDatasetRequest, context: Any) -> Empty:
        key = convert.dataset_key(request.name)
        await self._services.datasets.delete(key, etag=request.etag, force=request.force)
        return Empty()

    async def UploadImages(
        self, request_iterator: AsyncIterator[labeler_pb2.UploadImagesRequest], context: Any
    ) -> labeler_pb2.UploadImagesResponse:
        header = await streams.header_of(request_iterator)
        parent = convert.dataset_key(header.parent, "header.parent")
        results = await self._services.uploads.upload(
            parent, header.min_side, streams.upload_parts(request_iterator)
        )
        outcomes = [result.outcome for result in results]
        return labeler_pb2.UploadImagesResponse(
            results=[convert_answers.upload_result_to_proto(result) for result in results],
            added_count=outcomes.count(UploadOutcome.ADDED) + outcomes.count(UploadOutcome.DUPLICATE),
            rejected_count=outcomes.count(UploadOutcome.REJECTED),
        )

    async def ListImages(
        self, request: labeler_pb2.ListImagesRequest, context: Any
    ) -> labeler_pb2.ListImagesResponse:
        parent = convert.dataset_key(request.parent, "parent")
        query = convert.list_query(request, max_page_size=MAX_IMAGE_PAGE_SIZE)
        page = await self._services.images.page(parent, query)
        images = [convert_answers.image_to_proto(image) for image in page.items]
        return labeler_pb2.ListImagesResponse(images=images, next_page_token=page.next_page_token)

    async def GetImage(self, request: labeler_pb2.GetImageRequest, context: Any) -> resources_pb2.Image:
        key = convert.image_key(request.name)
        return convert_answers.image_to_proto(await self._services.images.get(key))

    async def DownloadImage(
        self, request: labeler_pb2.DownloadImageRequest, context: Any
    ) -> AsyncIterator[artifact_pb2.FileChunk]:
        key = convert.image_key(request.name)
        image, chunks = await self._services.images.download(key)
        async for message in streams.image_chunks(image, chunks):
            yield message

    async def UpdateImage(self, request: labeler_pb2.UpdateImageRequest, context: Any) -> resources_pb2.Image:
        key = convert.image_key(request.image.name, "image.name")
        changes = convert.image_changes(request.image, request.update_mask)
        image = await self._services.images.update(key, changes, etag=request.image.etag)
        return convert_answers.image_to_proto(image)

    async def DeleteImage(self, request: labeler_pb2.DeleteImageRequest, context: Any) -> Empty:
        key = convert.image_key(request.name)
        await self._services.images.delete(key, etag=request.etag)
        return Empty()

    async def UpdateCaption(
        self, request: labeler_pb2.UpdateCaptionRequest, context: Any
    ) -> resources_pb2.Image:
        key = convert.image_key(request.name)
        image = await self._services.captions.update(key, request.caption, etag=request.etag)
        return convert_answers.image_to_proto(image)

    async def BatchUpdateCaptions(
        self, request: labeler_pb2.BatchUpdateCaptionsRequest, context: Any
    ) -> labeler_pb2.BatchUpdateCaptionsResponse:
        parent = convert.dataset_key(request.parent, "parent")
        condition = convert.filter_of(request)
        edit = convert.caption_edit(request)
        changed, matched = await self._services.captions.update_many(parent, condition, edit)
        return labeler_pb2.BatchUpdateCaptionsResponse(changed_count=changed, matched_count=matched)

    async def UploadTexts(
        self, request_iterator: AsyncIterator[labeler_pb2.UploadTextsRequest], context: Any
    ) -> labeler_pb2.UploadTextsResponse:
        header = await streams.header_of(request_iterator)
        parent = convert.dataset_key(header.parent, "header.parent")
        data = await streams.whole_file(request_iterator, max_bytes=self._max_file_bytes)
        split = Split(header.split) if header.split else None
        done = await self._services.texts.upload(parent, header.file_name, data, split=split)
        return labeler_pb2.UploadTextsResponse(added_count=done.added, unchanged_count=done.unchanged)

    async def ListTexts(
        self, request: labeler_pb2.ListTextsRequest, context: Any
    ) -> labeler_pb2.ListTextsResponse:
        parent = convert.dataset_key(request.parent, "parent")
        query = convert.list_query(request, max_page_size=MAX_TEXT_PAGE_SIZE)
        page = await self._services.texts.page(parent, query)
        texts = [convert_answers.text_to_proto(text) for text in page.items]
        return labeler_pb2.ListTextsResponse(texts=texts, next_page_token=page.next_page_token)

    async def GetText(self, request: labeler_pb2.GetTextRequest, context: Any) -> resources_pb2.Text:
        key = convert.text_key(request.name)
        return convert_answers.text_to_proto(await self._services.texts.get(key))

    async def UpdateText(self, request: labeler_pb2.UpdateTextRequest, context: Any) -> resources_pb2.Text:
        key = convert.text_key(request.text.name, "text.name")
        changes = convert.text_changes(request.text, request.update_mask)
        text = await self._services.texts.update(key, changes, etag=request.text.etag)
        return convert_answers.text_to_proto(text)

    async def DeleteText(self, request: labeler_pb2.DeleteTextRequest, context: Any) -> Empty:
        key = convert.text_key(request.name)
        await self._services.texts.delete(key, etag=request.etag)
        return Empty()

    async def CreateLabelJob(
        self, request: labeler_pb2.CreateLabelJobRequest, context: Any
    ) -> resources_pb2.LabelJob:
        job = await self._services.jobs.create(
            convert.dataset_key(request.parent, "parent"),
            convert.label_settings(request.label_job),
            convert.request_id(request, request.request_id),
        )
        return convert_answers.job_to_proto(job)

    async def GetLabelJob(
        self, request: labeler_pb2.GetLabelJobRequest, context: Any
    ) -> resources_pb2.LabelJob:
        key = convert.job_key(request.name)
        return convert_answers.job_to_proto(await self._services.jobs.get(key))

    async def ListLabelJobs(
        self, request: labeler_pb2.ListLabelJobsRequest, context: Any
    ) -> labeler_pb2.ListLabelJobsResponse:
        parent = convert.dataset_key(request.parent, "parent")
        page = await self._services.jobs.page(parent, convert.list_query(request))
        jobs = [convert_answers.job_to_proto(job) for job in page.items]
        return labeler_pb2.ListLabelJobsResponse(label_jobs=jobs, next_page_token=page.next_page_token)

    async def CancelLabelJob(
        self, request: labeler_pb2.CancelLabelJobRequest, context: Any
    ) -> resources_pb2.LabelJob:
        key = convert.job_key(request.name)
        return convert_answers.job_to_proto(await self._services.jobs.cancel(key))

    async def WatchLabelJob(
        self, request: labeler_pb2.WatchLabelJobRequest, context: Any
    ) -> AsyncIterator[resources_pb2.LabelEvent]:
        key = convert.job_key(request.name)
        events = self._services.jobs.watch(key, request.after_sequence)
        async for event in self._drain.until_begun(events):
            yield convert_answers.event_to_proto(event)

    async def SealRevision(
        self, request: labeler_pb2.SealRevisionRequest, context: Any
    ) -> resources_pb2.DatasetRevision:
        parent = convert.dataset_key(request.parent, "parent")
        asked = SealRequest(
            trigger_words=tuple(request.trigger_words),
            note=request.note,
            creator=current_principal().subject,
            allow_empty_captions=request.allow_empty_captions,
            request=convert.request_id(request, request.request_id),
        )
        return convert_answers.revision_to_proto(await self._services.revisions.seal(parent, asked))

    async def GetDatasetRevision(
        self, request: labeler_pb2.GetDatasetRevisionRequest, context: Any
    ) -> resources_pb2.DatasetRevision:
        key = convert.revision_key(request.name)
        return convert_answers.revision_to_proto(await self._services.revisions.get(key))

    async def ListDatasetRevisions(
        self, request: labeler_pb2.ListDatasetRevisionsRequest, context: Any
    ) -> labeler_pb2.ListDatasetRevisionsResponse:
        parent = convert.dataset_key(request.parent, "parent")
        page = await self._services.revisions.page(parent, convert.list_query(request))
        revisions = [convert_answers.revision_to_proto(revision) for revision in page.items]
        return labeler_pb2.ListDatasetRevisionsResponse(
            revisions=revisions, next_page_token=page.next_page_token
        )

    async def ImportCaptions(
        self, request_iterator: AsyncIterator[labeler_pb2.ImportCaptionsRequest], context: Any
    ) -> labeler_pb2.ImportCaptionsResponse:
        header = await streams.header_of(request_iterator)
        parent = convert.dataset_key(header.parent, "header.parent")
        data = await streams.whole_file(request_iterator, max_bytes=self._max_file_bytes)
        changed, unknown = await self._services.captions.import_file(
            parent, data, convert.FORMATS[header.format], ignore_unknown=header.ignore_unknown
        )
        return labeler_pb2.ImportCaptionsResponse(changed_count=changed, unknown_count=unknown)

    async def ExportDataset(
        self, request: labeler_pb2.ExportDatasetRequest, context: Any
    ) -> AsyncIterator[artifact_pb2.FileChunk]:
        key = convert.export_key(request.name)
        form = convert.FORMATS.get(request.format)
        export = await self._services.exports.export(key, form, include_images=request.include_images)
        async for message in streams.export_chunks(key, export):
            yield message
