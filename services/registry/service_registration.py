"""Registers one file as the next version of a LoRA, within a transaction of the caller."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from servicekit.errors import FailedPrecondition, FieldViolation, InvalidArgument, NotFound
from servicekit.identity import require_brand
from servicekit.ids import new_id
from services.registry.domain import (
    BaseModel,
    ChangeKind,
    FileFacts,
    Lora,
    LoraKey,
    LoraVersion,
    RequestId,
    VersionDraft,
)
from services.registry.domain_files import StoredFile
from services.registry.ports import Records
from services.registry.service_loras import add_lora


@dataclass(frozen=True, kw_only=True, slots=True)
class Registration:
    """A file, what its header tells, and what the caller says about it."""

    key: LoraKey
    draft: VersionDraft
    file: StoredFile
    facts: FileFacts
    creator: str
    request: RequestId


async def register(records: Records, registration: Registration, now: datetime) -> LoraVersion:
    """The new version. A missing LoRA is made; its row stays locked, so that numbers follow each other.

    InvalidArgument when the base model does not fit the file, FailedPrecondition when the LoRA does not.
    """
    parent = registration.draft.origin.parent_version
    if parent is not None:
        require_brand(parent.lora.brand)
    base = await _base_model(records, registration)
    lora = await _locked_lora(records, registration.key, now)
    family = registration.facts.family
    if lora.family is not None and lora.family != family:
        raise FailedPrecondition(
            f"{lora.key} holds LoRAs for {lora.family} models, the file is one for {family}",
            reason="FAMILY_MISMATCH",
            metadata={"resource_name": str(lora.key), "family": lora.family, "file_family": family},
        )
    number = await records.loras.next_number(lora.key)
    version = _version(registration, base, number, now)
    await records.versions.add(version)
    await records.loras.replace(
        replace(
            lora,
            family=family,
            latest_version=number,
            trigger_words=version.trigger_words,
            update_time=now,
            etag=new_id(),
        )
    )
    await records.changes.append(ChangeKind.VERSION_ADDED, lora.key, version=number)
    return version


async def _locked_lora(records: Records, key: LoraKey, now: datetime) -> Lora:
    try:
        return await records.loras.get(key, lock=True)
    except NotFound:
        pass
    # False when another registration has made it meanwhile: then it is there to be locked.
    await add_lora(records, Lora(key=key, create_time=now, update_time=now, etag=new_id()))
    return await records.loras.get(key, lock=True)


async def _base_model(records: Records, registration: Registration) -> BaseModel | None:
    """The registered base of the version, None when none is known. It cannot be deleted meanwhile."""
    draft, facts = registration.draft, registration.facts
    if draft.base_model_id:
        base = await records.base_models.get(draft.base_model_id, keep=True)
    else:
        sha256 = draft.base_model_sha256 or facts.base_model_sha256
        found = await records.base_models.find_by_sha256(sha256) if sha256 else None
        # Metadata is often copied from file to file: what it claims counts only where the family agrees.
        if found is None or (not draft.base_model_sha256 and found.family != facts.family):
            return None
        base = await records.base_models.get(found.base_model_id, keep=True)
    violations = []
    if draft.base_model_sha256 and draft.base_model_sha256 != base.sha256:
        violations.append(
            FieldViolation("version.base_model_sha256", f"is not that of {base.name}: {base.sha256}")
        )
    if base.family != facts.family:
        violations.append(
            FieldViolation(
                "version.base_model", f"{base.name} is {base.family}, the file is a LoRA for {facts.family}"
            )
        )
    if violations:
        raise InvalidArgument(violations, reason="BASE_MISMATCH")
    return base


def _version(registration: Registration, base: BaseModel | None, number: int, now: datetime) -> LoraVersion:
    draft, facts = registration.draft, registration.facts
    return LoraVersion(
        key=registration.key,
        version=number,
        file=registration.file,
        format=facts.format,
        family=facts.family,
        base_model_id=base.base_model_id if base else "",
        base_model_sha256=base.sha256 if base else draft.base_model_sha256,
        rank=facts.rank,
        components=facts.components,
        trigger_words=tuple(draft.trigger_words) or facts.trigger_words,
        origin=draft.origin,
        tags=draft.tags,
        description=draft.description or facts.description,
        license=draft.license or facts.license,
        evaluation=draft.evaluation,
        previews=draft.previews,
        creator=registration.creator,
        create_time=now,
        etag=new_id(),
        modules=facts.modules,
        file_metadata=facts.metadata,
    )
