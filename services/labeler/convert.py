"""Messages to domain objects and back. Pure; faults of a request are InvalidArgument with their fields."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from brandloom.api.labeler.v1 import labeler_pb2, resources_pb2
from servicekit import names
from servicekit.errors import FieldViolation, InvalidArgument
from servicekit.message_digest import message_digest
from servicekit.pagination import MAXIMUM_PAGE_SIZE
from services.labeler import texts
from services.labeler.captions import CaptionEdit, FindReplace, Prefix, Suffix, TriggerWord
from services.labeler.domain import (
    ImageChanges,
    ListQuery,
    RequestId,
    Split,
)
from services.labeler.domain_texts import TextChanges
from services.labeler.keys import DatasetKey, ImageKey, JobKey, RevisionKey, TextKey
from services.labeler.rows import CaptionFormat
from services.labeler.service_labeling import LabelSettings

BRAND: Final = "brands/{brand}"
DATASET: Final = "brands/{brand}/datasets/{dataset}"
IMAGE: Final = DATASET + "/images/{image}"
TEXT: Final = DATASET + "/texts/{text}"
LABEL_JOB: Final = DATASET + "/labelJobs/{label_job}"
REVISION: Final = DATASET + "/revisions/{revision}"
LATEST: Final = "latest"
MAX_REVISION: Final = 2**31 - 1

FORMATS: Final = {getattr(labeler_pb2, f"CAPTION_FORMAT_{form.name}"): form for form in CaptionFormat}
"""Unspecified is none of them."""


def brand_id(name: str, field: str = "parent") -> str:
    """The id in `brands/{brand}`."""
    return names.parse(BRAND, name, field=field)["brand"]


def dataset_key(name: str, field: str = "name") -> DatasetKey:
    """`brands/{brand}/datasets/{dataset}`"""
    return DatasetKey(**names.parse(DATASET, name, field=field))


def image_key(name: str, field: str = "name") -> ImageKey:
    """`brands/{brand}/datasets/{dataset}/images/{image}`"""
    parts = names.parse(IMAGE, name, field=field)
    return ImageKey(DatasetKey(parts["brand"], parts["dataset"]), parts["image"])


def text_key(name: str, field: str = "name") -> TextKey:
    """`brands/{brand}/datasets/{dataset}/texts/{text}`"""
    parts = names.parse(TEXT, name, field=field)
    return TextKey(DatasetKey(parts["brand"], parts["dataset"]), parts["text"])


def job_key(name: str, field: str = "name") -> JobKey:
    """`brands/{brand}/datasets/{dataset}/labelJobs/{label_job}`"""
    parts = names.parse(LABEL_JOB, name, field=field)
    return JobKey(DatasetKey(parts["brand"], parts["dataset"]), parts["label_job"])


def revision_key(name: str, field: str = "name") -> RevisionKey:
    """`brands/{brand}/datasets/{dataset}/revisions/{number or latest}`"""
    parts = names.parse(REVISION, name, field=field)
    word = parts["revision"]
    is_number = word.isdecimal() and word.isascii() and len(word) <= 10 and 1 <= int(word) <= MAX_REVISION
    if not is_number and word != LATEST:
        raise InvalidArgument.of(field, f"must end in a revision's number or {LATEST!r}, not {word!r}")
    return RevisionKey(DatasetKey(parts["brand"], parts["dataset"]), int(word) if is_number else 0)


def export_key(name: str) -> DatasetKey | RevisionKey:
    """A dataset, or one of its revisions."""
    return revision_key(name) if "/revisions/" in name else dataset_key(name)


def list_query(request: Any, *, max_page_size: int = MAXIMUM_PAGE_SIZE) -> ListQuery:
    """The page that a list request asks for."""
    order_by = getattr(request, "order_by", "")
    texts.require(order_by=order_by)
    return ListQuery(
        page_size=min(request.page_size, max_page_size),
        page_token=request.page_token,
        filter=filter_of(request),
        order_by=order_by,
    )


def filter_of(request: Any) -> str:
    """The filter of a request; empty for requests that take none."""
    text: str = getattr(request, "filter", "")
    texts.require(filter=text)
    return text


def request_id(request: Message, value: str) -> RequestId:
    """The request's id with the digest of its body."""
    return RequestId(value, message_digest(request) if value else "")


def mask_paths(resource: Message, mask: FieldMask, known: Collection[str], field: str) -> set[str]:
    """The fields to set: those of the mask, all for `*`, those that are filled in when there is no mask."""
    paths = set(mask.paths)
    if not paths:
        return {path for path in known if getattr(resource, path)}
    if paths == {"*"}:
        return set(known)
    unknown = sorted(paths - set(known))
    if unknown:
        allowed = ", ".join(sorted(known))
        raise InvalidArgument(
            [
                FieldViolation("update_mask", f"{field}.{path} cannot be set; there are {allowed}")
                for path in unknown
            ]
        )
    return paths


def image_changes(image: resources_pb2.Image, mask: FieldMask) -> ImageChanges:
    """What an UpdateImage sets."""
    paths = mask_paths(image, mask, ("tags", "split", "excluded"), "image")
    return ImageChanges(
        tags=tuple(image.tags) if "tags" in paths else None,
        split=_split(image.split, "image.split") if "split" in paths else None,
        excluded=image.excluded if "excluded" in paths else None,
    )


def text_changes(text: resources_pb2.Text, mask: FieldMask) -> TextChanges:
    """What an UpdateText sets."""
    paths = mask_paths(text, mask, ("split", "excluded"), "text")
    return TextChanges(
        split=_split(text.split, "text.split") if "split" in paths else None,
        excluded=text.excluded if "excluded" in paths else None,
    )


def _split(word: str, field: str) -> Split:
    try:
        return Split(word or Split.TRAIN.value)
    except ValueError:
        words = " or ".join(split.value for split in Split)
        raise InvalidArgument.of(field, f"must be {words}, not {word[:50]!r}") from None


def caption_edit(request: labeler_pb2.BatchUpdateCaptionsRequest) -> CaptionEdit:
    """The edit of a bulk request."""
    match request.WhichOneof("edit"):
        case "prefix":
            return Prefix(request.prefix)
        case "suffix":
            return Suffix(request.suffix)
        case "find_replace":
            asked = request.find_replace
            return FindReplace(asked.find, asked.replace, asked.ignore_case, asked.whole_words)
        case _:
            word = request.trigger_word.strip()
            if not word:
                raise InvalidArgument.of("trigger_word", "must not be blank")
            return TriggerWord(word)


def label_settings(job: resources_pb2.LabelJob) -> LabelSettings:
    """What a new label job is to do."""
    return LabelSettings(
        overwrite=job.overwrite,
        trigger_word=job.trigger_word,
        batch_size=job.batch_size,
        max_tokens=job.max_tokens,
    )
