"""Use case: turn references into exact versions, all checked against one base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from servicekit.errors import FieldViolation, InvalidArgument
from servicekit.identity import require_brand
from services.registry.domain import BaseModel, Lora, LoraKey, LoraVersion
from services.registry.domain_references import (
    LoraReference,
    ReferenceFault,
    check_base,
    choose_version,
    parse_reference,
)
from services.registry.ports import Figures, Records, RecordStore


@dataclass(frozen=True, slots=True)
class ResolvedLora:
    """A reference as it was asked for and the version that it means now."""

    reference: str
    version: LoraVersion


@dataclass(frozen=True, slots=True)
class ResolvedStack:
    """In the order of the references; the base is None where none was asked for."""

    loras: Sequence[ResolvedLora]
    base: BaseModel | None


class StackCases:
    """Resolves stacks in a fixed number of queries, however many references there are."""

    def __init__(self, store: RecordStore, figures: Figures) -> None:
        self._store = store
        self._figures = figures

    async def resolve(self, brand_id: str, references: Sequence[str], base_model_id: str) -> ResolvedStack:
        """InvalidArgument tells of every bad reference, whatever its fault; PermissionDenied comes before.

        NotFound for a brand or base model that does not exist.
        """
        try:
            stack = await self._resolve(brand_id, references, base_model_id)
        except InvalidArgument as error:
            self._figures.stack_resolved(error.reason.lower(), len(references))
            raise
        self._figures.stack_resolved("ok", len(references))
        return stack

    async def _resolve(self, brand_id: str, references: Sequence[str], base_model_id: str) -> ResolvedStack:
        faults: dict[int, ReferenceFault] = {}
        parsed: dict[int, LoraReference] = {}
        for index, text in enumerate(references):
            try:
                parsed[index] = parse_reference(text, brand_id)
            except ReferenceFault as fault:
                faults[index] = fault
        for other in sorted({reference.key.brand for reference in parsed.values()} - {brand_id}):
            require_brand(other)
        async with self._store.snapshot() as records:
            await records.brands.get(brand_id)
            base = await records.base_models.get(base_model_id) if base_model_id else None
            versions = await _find(records, parsed, faults)
        for index, version in versions.items():
            try:
                if base is not None:
                    check_base(version, base)
            except ReferenceFault as fault:
                faults[index] = fault
        if faults:
            raise _refusal(references, faults)
        return ResolvedStack(
            [ResolvedLora(text, versions[index]) for index, text in enumerate(references)], base
        )


async def _find(
    records: Records, references: Mapping[int, LoraReference], faults: dict[int, ReferenceFault]
) -> dict[int, LoraVersion]:
    loras = await records.loras.get_all({reference.key for reference in references.values()})
    numbers: dict[int, tuple[LoraKey, int]] = {}
    for index, reference in references.items():
        try:
            numbers[index] = (reference.key, choose_version(reference.which, _existing(reference.key, loras)))
        except ReferenceFault as fault:
            faults[index] = fault
    found = await records.versions.get_all(set(numbers.values()))
    versions = {}
    for index, (key, number) in numbers.items():
        if (key, number) in found:
            versions[index] = found[key, number]
        else:
            faults[index] = ReferenceFault("VERSION_NOT_FOUND", f"{key} has no version {number}")
    return versions


def _existing(key: LoraKey, loras: Mapping[LoraKey, Lora]) -> Lora:
    if key not in loras:
        raise ReferenceFault("LORA_NOT_FOUND", f"there is no LoRA {key}")
    return loras[key]


def _refusal(references: Sequence[str], faults: Mapping[int, ReferenceFault]) -> InvalidArgument:
    """One error for all; its reason is theirs where they agree."""
    reasons = {fault.reason for fault in faults.values()}
    return InvalidArgument(
        [FieldViolation(f"references[{index}]", faults[index].description) for index in sorted(faults)],
        reason=reasons.pop() if len(reasons) == 1 else "STACK_INVALID",
        metadata={"references": ", ".join(references[index][:100] for index in sorted(faults))},
    )
