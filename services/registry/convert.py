"""Messages to domain objects and back. Pure; faults of a request are InvalidArgument with their fields."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from brandloom.api.common.v1 import family_pb2
from brandloom.api.registry.v1 import registry_pb2, resources_pb2
from servicekit import names
from servicekit.errors import FieldViolation, InvalidArgument
from servicekit.message_digest import message_digest
from services.registry.convert_origin import VERSION, origin_faults, origin_from_proto, origin_to_proto
from services.registry.convert_parts import file_from_proto, file_to_proto, timestamp
from services.registry.domain import (
    BaseModel,
    Brand,
    ListQuery,
    Lora,
    LoraFormat,
    LoraKey,
    LoraVersion,
    ModelFamily,
    RequestId,
    VersionDraft,
    VersionKey,
    base_model_name,
)
from services.registry.domain_files import VersionFile
from services.registry.domain_references import parse_version_name

BRAND: Final = "brands/{brand}"
BASE_MODEL: Final = "baseModels/{base_model}"
LORA: Final = "brands/{brand}/loras/{lora}"
FAMILIES: Final = {family: getattr(family_pb2, f"MODEL_FAMILY_{family.name}") for family in ModelFamily}
_FAMILY_OF: Final = {number: family for family, number in FAMILIES.items()}
_FILE_OF: Final = {getattr(registry_pb2, f"VERSION_FILE_{file.name}"): file for file in VersionFile}
FORMATS: Final = {known: getattr(resources_pb2, f"LORA_FORMAT_{known.name}") for known in LoraFormat}

Reader = Callable[[Any], Any]
BRAND_FIELDS: Final[Mapping[str, Reader]] = {"display_name": str, "description": str, "labels": dict}
BASE_MODEL_FIELDS: Final[Mapping[str, Reader]] = {
    **dict.fromkeys(("display_name", "source", "sha256", "license", "description"), str),
    "family": _FAMILY_OF.__getitem__,
    "resolution": int,
}
LORA_FIELDS: Final[Mapping[str, Reader]] = {"display_name": str, "description": str, "tags": tuple}
VERSION_FIELDS: Final[Mapping[str, Reader]] = {"description": str, "tags": tuple, "license": str}


def brand_id(name: str, field: str = "name") -> str:
    """The id in `brands/{brand}`."""
    return names.parse(BRAND, name, field=field)["brand"]


def base_model_id(name: str, field: str = "name") -> str:
    """The id in `baseModels/{base_model}`; empty for the empty name."""
    return names.parse(BASE_MODEL, name, field=field)["base_model"] if name else ""


def lora_key(name: str, field: str = "name") -> LoraKey:
    """The key in `brands/{brand}/loras/{lora}`."""
    parts = names.parse(LORA, name, field=field)
    return LoraKey(parts["brand"], parts["lora"])


def version_key(name: str, field: str = "name") -> VersionKey:
    """The key in a version's name, whose last part may be an alias or `latest`."""
    key = parse_version_name(name)
    if key is None:
        raise InvalidArgument.of(field, f"must look like {VERSION}, not {name[:200]!r}")
    return key


def list_query(request: Any) -> ListQuery:
    """Filter, order and page of any list request."""
    return ListQuery(
        filter=request.filter,
        order_by=request.order_by,
        page_size=request.page_size,
        page_token=request.page_token,
    )


def request_id(request: Any) -> RequestId:
    """The request id of a message with the digest of everything else in it."""
    body = type(request)()
    body.CopyFrom(request)
    body.ClearField("request_id")
    return RequestId(request.request_id, message_digest(body))


def masked(message: Message, mask: FieldMask, fields: Mapping[str, Reader]) -> dict[str, Any]:
    """What an update writes: the mask's fields, all for `*`, for an empty mask those that are set."""
    paths = list(mask.paths)
    unknown = [path for path in paths if path not in fields and path != "*"]
    if unknown:
        known = ", ".join(fields)
        raise InvalidArgument.of(
            "update_mask", f"cannot update {', '.join(unknown)[:200]}; there are {known}"
        )
    if not paths:
        paths = [descriptor.name for descriptor, _ in message.ListFields() if descriptor.name in fields]
    elif "*" in paths:
        paths = list(fields)
    return {path: fields[path](getattr(message, path)) for path in paths}


def family_from_proto(number: int) -> ModelFamily:
    """The family; the rules of the message have refused numbers that mean none."""
    return _FAMILY_OF[number]


def version_file(request: registry_pb2.DownloadVersionRequest) -> tuple[VersionFile, int]:
    """Which file is asked for; the number counts previews."""
    return _FILE_OF.get(request.file, VersionFile.WEIGHTS), request.preview_index


def draft_from_proto(message: resources_pb2.LoraVersion, field: str) -> VersionDraft:
    """What a caller says about a version; every fault in it at once."""
    violations = [*origin_faults(message.origin, f"{field}.origin"), *_evaluation_faults(message, field)]
    if violations:
        raise InvalidArgument(violations)
    return VersionDraft(
        base_model_id=base_model_id(message.base_model, f"{field}.base_model"),
        base_model_sha256=message.base_model_sha256,
        trigger_words=tuple(message.trigger_words),
        origin=origin_from_proto(message.origin, f"{field}.origin"),
        tags=tuple(message.tags),
        description=message.description,
        license=message.license,
        evaluation=dict(message.evaluation),
        previews=tuple(
            file_from_proto(preview, f"{field}.previews[{index}]")
            for index, preview in enumerate(message.previews)
        ),
    )


def brand_to_proto(brand: Brand) -> resources_pb2.Brand:
    """The brand as callers see it."""
    return resources_pb2.Brand(
        name=brand.name,
        display_name=brand.display_name,
        description=brand.description,
        labels=brand.labels,
        create_time=timestamp(brand.create_time),
        update_time=timestamp(brand.update_time),
        etag=brand.etag,
    )


def base_model_to_proto(base: BaseModel) -> resources_pb2.BaseModel:
    """The base model as callers see it."""
    return resources_pb2.BaseModel(
        name=base.name,
        display_name=base.display_name,
        family=FAMILIES[base.family],
        source=base.source,
        sha256=base.sha256,
        resolution=base.resolution,
        license=base.license,
        description=base.description,
        create_time=timestamp(base.create_time),
        update_time=timestamp(base.update_time),
        etag=base.etag,
    )


def lora_to_proto(lora: Lora) -> resources_pb2.Lora:
    """The LoRA as callers see it."""
    return resources_pb2.Lora(
        name=str(lora.key),
        display_name=lora.display_name,
        description=lora.description,
        tags=lora.tags,
        family=FAMILIES[lora.family] if lora.family else family_pb2.MODEL_FAMILY_UNSPECIFIED,
        latest_version=lora.latest_version,
        aliases=lora.aliases,
        trigger_words=lora.trigger_words,
        create_time=timestamp(lora.create_time),
        update_time=timestamp(lora.update_time),
        etag=lora.etag,
    )


def version_to_proto(version: LoraVersion) -> resources_pb2.LoraVersion:
    """The version as callers see it; modules and file metadata where they were read."""
    return resources_pb2.LoraVersion(
        name=version.name,
        version=version.version,
        artifact=file_to_proto(version.file),
        format=FORMATS[version.format],
        family=FAMILIES[version.family],
        base_model=base_model_name(version.base_model_id) if version.base_model_id else "",
        base_model_sha256=version.base_model_sha256,
        rank=version.rank,
        modules=[
            resources_pb2.ModuleRank(module=module.module, rank=module.rank, alpha=module.alpha)
            for module in version.modules
        ],
        trigger_words=version.trigger_words,
        origin=origin_to_proto(version.origin),
        tags=version.tags,
        description=version.description,
        license=version.license,
        evaluation=version.evaluation,
        previews=[file_to_proto(preview) for preview in version.previews],
        file_metadata=version.file_metadata,
        aliases=version.aliases,
        creator=version.creator,
        create_time=timestamp(version.create_time),
        etag=version.etag,
        components=version.components,
    )


def _evaluation_faults(message: resources_pb2.LoraVersion, field: str) -> Iterable[FieldViolation]:
    for figure, value in message.evaluation.items():
        if not math.isfinite(value):
            yield FieldViolation(
                f"{field}.evaluation[{figure[:100]!r}]", f"must be a finite number, not {value}"
            )
