"""Jobs that caption pictures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from brandloom import _names
from brandloom._calls import new_request_id
from brandloom._convert.events import label_event
from brandloom._convert.fields import from_proto
from brandloom._jobs import job_events, succeeded
from brandloom._transport import Link
from brandloom.api.labeler.v1 import labeler_pb2, resources_pb2
from brandloom.types.events import LabelEvent
from brandloom.types.labeler import Dataset, LabelJob


class AsyncLabeling:
    """Jobs that caption the pictures of a dataset."""

    def __init__(self, labeler: Link) -> None:
        self._labeler = labeler

    async def create(
        self,
        dataset: str | Dataset,
        *,
        trigger_word: str = "",
        overwrite: bool = False,
        batch_size: int = 0,
        max_tokens: int = 0,
        request_id: str | None = None,
    ) -> LabelJob:
        """Starts captioning the pictures that have no caption; with `overwrite` all but a reviewer's."""
        job = resources_pb2.LabelJob(
            trigger_word=trigger_word, overwrite=overwrite, batch_size=batch_size, max_tokens=max_tokens
        )
        request = labeler_pb2.CreateLabelJobRequest(
            parent=_names.dataset(dataset), label_job=job, request_id=request_id or new_request_id()
        )
        return from_proto(LabelJob, await self._labeler.call("CreateLabelJob", request))

    async def get(self, job: str | LabelJob) -> LabelJob:
        """The job as it is now."""
        request = labeler_pb2.GetLabelJobRequest(name=_names.label_job(job))
        return from_proto(LabelJob, await self._labeler.call("GetLabelJob", request))

    async def list(
        self,
        dataset: str | Dataset,
        *,
        filter: str = "",  # noqa: A002
        order_by: str = "",
    ) -> AsyncIterator[LabelJob]:
        """Label jobs of a dataset."""
        request = labeler_pb2.ListLabelJobsRequest(
            parent=_names.dataset(dataset), filter=filter, order_by=order_by
        )
        async for message in self._labeler.items("ListLabelJobs", request, "label_jobs"):
            yield from_proto(LabelJob, message)

    async def cancel(self, job: str | LabelJob) -> LabelJob:
        """Stops the job; captions that it has written stay."""
        request = labeler_pb2.CancelLabelJobRequest(name=_names.label_job(job))
        return from_proto(LabelJob, await self._labeler.call("CancelLabelJob", request))

    async def watch(self, job: str | LabelJob, *, after_sequence: int = 0) -> AsyncIterator[LabelEvent]:
        """The job's events after a number, then live until it ends; over broken connections without a gap."""
        name = _names.label_job(job)

        def connect(after: int) -> AsyncIterator[Any]:
            return self._labeler.stream(
                "WatchLabelJob", labeler_pb2.WatchLabelJobRequest(name=name, after_sequence=after)
            )

        events: AsyncIterator[LabelEvent] = job_events(
            connect, label_event, partial(self.get, name), after_sequence=after_sequence
        )
        async for event in events:
            yield event

    async def wait(self, job: str | LabelJob) -> LabelJob:
        """The job, once it has succeeded; JobFailed when it fails or is cancelled."""
        return await succeeded(self.watch(job), partial(self.get, job))
