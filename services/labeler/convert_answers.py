"""Domain objects as messages. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from brandloom.api.common.v1 import artifact_pb2, job_pb2
from brandloom.api.labeler.v1 import labeler_pb2, resources_pb2
from servicekit.artifacts.port import artifact_key
from services.labeler.domain import (
    CaptionSource,
    Dataset,
    Failure,
    Image,
    ImageFlag,
    JobState,
    LabeledImage,
    LabelEvent,
    LabelJob,
    LabelProgress,
    Revision,
    UploadOutcome,
    UploadResult,
)
from services.labeler.domain_texts import Text
from services.labeler.keys import ImageKey

PNG: Final = "image/png"
JSON_LINES: Final = "application/jsonl"
FLAGS: Final = {flag: getattr(resources_pb2, f"IMAGE_FLAG_{flag.name}") for flag in ImageFlag}
SOURCES: Final = {
    source: getattr(
        resources_pb2,
        f"CAPTION_SOURCE_{'UNSPECIFIED' if source is CaptionSource.NONE else source.name}",
    )
    for source in CaptionSource
}
STATES: Final = {state: getattr(job_pb2, f"JOB_STATE_{state.name}") for state in JobState}
OUTCOMES: Final = {
    outcome: getattr(labeler_pb2.UploadResult, f"OUTCOME_{outcome.name}") for outcome in UploadOutcome
}


def timestamp(moment: datetime | None) -> Timestamp | None:
    """The moment as a message; None stays None."""
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def failure_to_proto(failure: Failure | None) -> job_pb2.Failure | None:
    """A failure; None stays None."""
    return job_pb2.Failure(reason=failure.reason, message=failure.message) if failure else None


def dataset_to_proto(dataset: Dataset) -> resources_pb2.Dataset:
    """A dataset with its counts."""
    return resources_pb2.Dataset(
        name=dataset.key.name,
        display_name=dataset.display_name,
        description=dataset.description,
        image_count=dataset.counts.images,
        captioned_count=dataset.counts.captioned,
        flagged_count=dataset.counts.flagged,
        text_count=dataset.counts.texts,
        latest_revision=dataset.latest_revision,
        create_time=timestamp(dataset.create_time),
        update_time=timestamp(dataset.update_time),
        etag=dataset.etag,
    )


def artifact_to_proto(sha256: str, size_bytes: int, media_type: str) -> artifact_pb2.Artifact | None:
    """A stored file; None where there is none."""
    if not sha256:
        return None
    return artifact_pb2.Artifact(
        uri=artifact_key(sha256), sha256=sha256, size_bytes=size_bytes, media_type=media_type
    )


def image_to_proto(image: Image) -> resources_pb2.Image:
    """A picture."""
    first = ImageKey(image.key.parent, image.duplicate_of).name if image.duplicate_of else ""
    return resources_pb2.Image(
        name=image.key.name,
        source_name=image.source_name,
        artifact=artifact_to_proto(image.sha256, image.size_bytes, PNG),
        width=image.width,
        height=image.height,
        source_format=image.source_format,
        caption=image.caption,
        caption_source=SOURCES[image.caption_source],
        tags=image.tags,
        flags=[FLAGS[flag] for flag in image.flags],
        duplicate_of=first,
        split=image.split.value,
        excluded=image.excluded,
        create_time=timestamp(image.create_time),
        update_time=timestamp(image.update_time),
        etag=image.etag,
        failure=failure_to_proto(image.failure),
    )


def text_to_proto(text: Text) -> resources_pb2.Text:
    """A text."""
    messages = [
        resources_pb2.TextMessage(role=message.role, content=message.content)
        for message in text.words.messages
    ]
    return resources_pb2.Text(
        name=text.key.name,
        prompt=text.words.prompt,
        response=text.words.response,
        messages=messages,
        split=text.split.value,
        excluded=text.excluded,
        source_name=text.source_name,
        line_number=text.line_number,
        sha256=text.sha256,
        create_time=timestamp(text.create_time),
        update_time=timestamp(text.update_time),
        etag=text.etag,
    )


def upload_result_to_proto(result: UploadResult) -> labeler_pb2.UploadResult:
    """What became of one file."""
    image = result.image
    return labeler_pb2.UploadResult(
        source_name=result.source_name,
        outcome=OUTCOMES[result.outcome],
        image=image.key.name if image else "",
        flags=[FLAGS[flag] for flag in image.flags] if image else [],
        failure=failure_to_proto(result.failure),
    )


def revision_to_proto(revision: Revision) -> resources_pb2.DatasetRevision:
    """A sealed revision."""
    return resources_pb2.DatasetRevision(
        name=revision.key.name,
        revision=revision.key.revision,
        manifest=artifact_to_proto(revision.sha256, revision.size_bytes, JSON_LINES),
        image_count=revision.image_count,
        text_count=revision.text_count,
        trigger_words=revision.trigger_words,
        note=revision.note,
        creator=revision.creator,
        create_time=timestamp(revision.create_time),
    )


def progress_to_proto(progress: LabelProgress) -> resources_pb2.LabelProgress:
    """How far a job is."""
    left = None
    if progress.seconds_left is not None:
        left = Duration()
        left.FromMilliseconds(round(progress.seconds_left * 1000))
    return resources_pb2.LabelProgress(
        done=progress.done,
        total=progress.total,
        failed=progress.failed,
        images_per_second=progress.images_per_second,
        time_left=left,
    )


def job_to_proto(job: LabelJob) -> resources_pb2.LabelJob:
    """A label job."""
    return resources_pb2.LabelJob(
        name=job.key.name,
        overwrite=job.overwrite,
        trigger_word=job.trigger_word,
        batch_size=job.batch_size,
        max_tokens=job.max_tokens,
        state=STATES[job.state],
        progress=progress_to_proto(job.progress),
        error=failure_to_proto(job.error),
        create_time=timestamp(job.create_time),
        start_time=timestamp(job.start_time),
        end_time=timestamp(job.end_time),
        etag=job.etag,
        captioner=job.captioner,
    )


def event_to_proto(event: LabelEvent) -> resources_pb2.LabelEvent:
    """One event of a label job."""
    message = resources_pb2.LabelEvent(sequence=event.sequence, time=timestamp(event.time))
    match event.event:
        case JobState():
            message.state = STATES[event.event]
        case LabelProgress():
            message.progress.CopyFrom(progress_to_proto(event.event))
        case LabeledImage():
            message.labeled.CopyFrom(
                resources_pb2.LabeledImage(
                    image=event.event.image,
                    caption=event.event.caption,
                    failure=failure_to_proto(event.event.failure),
                )
            )
        case Failure():
            message.error.CopyFrom(job_pb2.Failure(reason=event.event.reason, message=event.event.message))
    return message
