"""Short names to resource names: `acme/hero`, or the resource itself, for `brands/acme/loras/hero`."""

from __future__ import annotations

from typing import Protocol

from brandloom.errors import FieldViolation, InvalidArgument


class Named(Protocol):
    """A resource."""

    @property
    def name(self) -> str:
        """Its resource name."""
        ...


def brand(value: str | Named) -> str:
    """`acme` -> `brands/acme`."""
    return _whole(_text(value), "brands/", "brand")


def base_model(value: str | Named) -> str:
    """`sd-tiny` -> `baseModels/sd-tiny`."""
    return _whole(_text(value), "baseModels/", "base_model")


def dataset(value: str | Named) -> str:
    """`acme/heroes` -> `brands/acme/datasets/heroes`."""
    return _in_brand(_text(value), "datasets", "dataset")


def lora(value: str | Named) -> str:
    """`acme/hero` -> `brands/acme/loras/hero`."""
    return _in_brand(_text(value), "loras", "lora")


def image(value: str | Named) -> str:
    """`acme/heroes/0190...` -> `brands/acme/datasets/heroes/images/0190...`."""
    return _in_dataset(_text(value), "images", "image")


def text(value: str | Named) -> str:
    """`acme/voice/0190...` -> `brands/acme/datasets/voice/texts/0190...`."""
    return _in_dataset(_text(value), "texts", "text")


def label_job(value: str | Named) -> str:
    """`acme/heroes/0190...` -> `brands/acme/datasets/heroes/labelJobs/0190...`."""
    return _in_dataset(_text(value), "labelJobs", "label_job")


def training_job(value: str | Named) -> str:
    """`acme/0190...` -> `brands/acme/trainingJobs/0190...`."""
    return _in_brand(_text(value), "trainingJobs", "training_job")


def revision(value: str | Named) -> str:
    """`acme/heroes@3` -> `brands/acme/datasets/heroes/revisions/3`; without a number: the latest."""
    text = _text(value)
    if "/revisions/" in text:
        return text
    name, _, number = text.partition("@")
    return f"{dataset(name)}/revisions/{number or 'latest'}"


def version(value: str | Named) -> str:
    """`acme/hero@prod` -> `brands/acme/loras/hero/versions/prod`; without `@...`: the latest."""
    text = _text(value)
    if "/versions/" in text:
        return text
    name, _, label = text.partition("@")
    return f"{lora(name)}/versions/{label or 'latest'}"


def full(value: str | Named) -> str:
    """The name as it is, for calls that take several kinds of resources or references."""
    return _text(value)


def last_segment(name: str) -> str:
    """`brands/acme/loras/hero` -> `hero`."""
    return name.rsplit("/", 1)[-1]


def short(name: str) -> str:
    """`brands/acme/loras/hero` -> `acme/hero`; names of another shape stay as they are."""
    parts = name.split("/")
    match parts:
        case ["brands", brand_id, "datasets", dataset_id, "revisions", number]:
            return f"{brand_id}/{dataset_id}@{number}"
        case ["brands", brand_id, "datasets", dataset_id, "images" | "texts" | "labelJobs", resource_id]:
            return f"{brand_id}/{dataset_id}/{resource_id}"
        case ["brands", brand_id, "loras", lora_id, "versions", label]:
            return f"{brand_id}/{lora_id}@{label}"
        case ["brands", brand_id, _, resource_id]:
            return f"{brand_id}/{resource_id}"
        case [("brands" | "baseModels"), resource_id]:
            return resource_id
    return name


def _in_brand(text: str, collection: str, field: str) -> str:
    if text.count("/") > 1:
        return text
    brand_id, _, resource_id = text.partition("/")
    if not brand_id or not resource_id:
        raise _invalid(
            field, f"must look like brand/{field} or brands/{{brand}}/{collection}/{{{field}}}", text
        )
    return f"brands/{brand_id}/{collection}/{resource_id}"


def _in_dataset(text: str, collection: str, field: str) -> str:
    parts = text.split("/")
    if len(parts) > 3:
        return text
    if len(parts) < 3 or not all(parts):
        full_shape = f"brands/{{brand}}/datasets/{{dataset}}/{collection}/{{{field}}}"
        raise _invalid(field, f"must look like brand/dataset/{field} or {full_shape}", text)
    brand_id, dataset_id, resource_id = parts
    return f"brands/{brand_id}/datasets/{dataset_id}/{collection}/{resource_id}"


def _whole(text: str, prefix: str, field: str) -> str:
    if not text:
        raise _invalid(field, "must name one", text)
    if "/" in text.removeprefix(prefix):
        raise _invalid(field, f"must be an id, alone or after {prefix!r}", text)
    return prefix + text.removeprefix(prefix)


def _invalid(field: str, description: str, text: str) -> InvalidArgument:
    found = f"{description}, not {text!r}"
    return InvalidArgument(
        f"{field}: {found}", reason="INVALID_NAME", violations=[FieldViolation(field, found)]
    )


def _text(value: str | Named) -> str:
    if isinstance(value, str):
        return value
    name = getattr(value, "name", None)
    if not isinstance(name, str):
        raise TypeError(
            f"a resource is given by its name or itself, not by the {type(value).__name__} {value!r}"
        )
    return name
