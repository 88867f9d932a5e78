"""What a request says of its stack: tags in the prompt, explicit entries, and what the registry makes of
both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from lorakit.errors import PromptSyntaxError
from lorakit.prompt_syntax import (
    LoraReference,
    WeightedReference,
    format_tag,
    parse_prompt,
    parse_reference,
)
from servicekit.errors import FieldViolation, InvalidArgument
from servicekit.identity import require_brand
from services.inference.domain import ALL_STEPS, Region, StackEntry, StepWindow
from services.inference.domain_jobs import ResolvedStack, UsedLora


@dataclass(frozen=True, kw_only=True, slots=True)
class WantedLora:
    """A LoRA of a request's stack, from a tag, from an entry, or from several of either."""

    reference: LoraReference
    text_encoder_weight: float
    weight: float
    window: StepWindow = ALL_STEPS
    region: Region | None = None


def read_stack(
    prompt: str, stack: Sequence[StackEntry], max_stack: int, *, authorised: bool = False
) -> tuple[str, tuple[WantedLora, ...]]:
    """The prompt without tags, and the sum of tags and explicit entries.

    Raises InvalidArgument naming every tag and entry that cannot be read, PermissionDenied for a LoRA of a
    brand that the caller may not use; `authorised`: the configuration asks, which may use all.
    """
    faults: list[FieldViolation] = []
    tagged: tuple[WeightedReference, ...] = ()
    text = prompt
    try:
        parsed = parse_prompt(prompt)
        text, tagged = parsed.text, parsed.entries
    except PromptSyntaxError as error:
        faults.append(FieldViolation("prompt", str(error)))
    for index, entry in enumerate(stack):
        try:
            parse_reference(entry.reference)
        except PromptSyntaxError as error:
            faults.append(FieldViolation(f"stack[{index}].reference", str(error)))
    if faults:
        raise InvalidArgument(faults, reason="BAD_REFERENCE")
    wanted = _add_up((*map(_from_tag, tagged), *map(_from_entry, stack)))
    if len(wanted) > max_stack:
        raise InvalidArgument.of("prompt", f"names {len(wanted)} LoRAs, {max_stack} may be stacked")
    if not authorised:
        for brand in {entry.reference.brand for entry in wanted} - {None}:
            require_brand(str(brand))
    return text, wanted


def tags_of(stack: Sequence[StackEntry]) -> str:
    """The explicit entries as a prompt would name them. Raises PromptSyntaxError; read_stack comes first."""
    return " ".join(
        format_tag(
            WeightedReference(parse_reference(entry.reference), entry.text_encoder_weight, entry.weight)
        )
        for entry in stack
    )


def placed(
    error: InvalidArgument, stack: Sequence[StackEntry], wanted: Sequence[WantedLora]
) -> InvalidArgument:
    """The registry's or the engine's refusal with the fields of this request in place of their own
    `references[i]` and `loras[i]`.
    """
    explicit = [str(entry.reference) for entry in stack]
    places: dict[str, str] = {}
    for index, entry in enumerate(wanted):
        name = str(entry.reference)
        place = f"stack[{explicit.index(name)}].reference" if name in explicit else "prompt"
        places[f"references[{index}]"] = place
        if entry.region is not None:
            own = next(number for number, given in enumerate(stack) if given.region == entry.region)
            places[f"loras[{index}].region.mask_png"] = f"stack[{own}].region.mask_png"
    violations = [
        FieldViolation(places.get(violation.field, violation.field), violation.description)
        for violation in error.violations
    ]
    return InvalidArgument(violations, reason=error.reason, metadata=error.metadata)


def used_loras(wanted: Sequence[WantedLora], resolved: ResolvedStack) -> tuple[UsedLora, ...]:
    """What each entry means now."""
    return tuple(
        UsedLora(
            reference=str(entry.reference),
            version=lora.version,
            sha256=lora.sha256,
            text_encoder_weight=entry.text_encoder_weight,
            weight=entry.weight,
            window=entry.window,
            region=entry.region,
        )
        for entry, lora in zip(wanted, resolved.loras, strict=True)
    )


def _from_tag(tag: WeightedReference) -> WantedLora:
    return WantedLora(
        reference=tag.reference, text_encoder_weight=tag.text_encoder_weight, weight=tag.unet_weight
    )


def _from_entry(entry: StackEntry) -> WantedLora:
    return WantedLora(
        reference=parse_reference(entry.reference),
        text_encoder_weight=entry.text_encoder_weight,
        weight=entry.weight,
        window=entry.window,
        region=entry.region,
    )


def _add_up(wanted: Iterable[WantedLora]) -> tuple[WantedLora, ...]:
    """Entries that differ in nothing but their weights made one, in order of mention."""
    totals: dict[tuple[LoraReference, StepWindow, Region | None], WantedLora] = {}
    for entry in wanted:
        key = (entry.reference, entry.window, entry.region)
        before = totals.get(key)
        totals[key] = (
            entry
            if before is None
            else replace(
                entry,
                text_encoder_weight=before.text_encoder_weight + entry.text_encoder_weight,
                weight=before.weight + entry.weight,
            )
        )
    return tuple(totals.values())
