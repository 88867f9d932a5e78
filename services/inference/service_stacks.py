"""What a request says of its stack: tags in the prompt, explicit entries, and what the registry makes of
both.
"""

from __future__ import annotations

from collections.abc import Sequence

from lorakit.errors import PromptSyntaxError
from lorakit.prompt_syntax import WeightedReference, add_up, parse_prompt, parse_reference
from servicekit.errors import FieldViolation, InvalidArgument
from servicekit.identity import require_brand
from services.inference.domain import ImageRequest, ResolvedStack, UsedLora


def read_stack(request: ImageRequest, max_stack: int) -> tuple[str, tuple[WeightedReference, ...]]:
    """The prompt without tags, and the sum of tags and explicit entries.

    Raises InvalidArgument naming every tag and entry that cannot be read, PermissionDenied for a LoRA of a
    brand that the caller may not use.
    """
    faults: list[FieldViolation] = []
    tagged: tuple[WeightedReference, ...] = ()
    text = request.prompt
    try:
        parsed = parse_prompt(request.prompt)
        text, tagged = parsed.text, parsed.entries
    except PromptSyntaxError as error:
        faults.append(FieldViolation("prompt", str(error)))
    for index, entry in enumerate(request.stack):
        try:
            parse_reference(entry.reference)
        except PromptSyntaxError as error:
            faults.append(FieldViolation(f"stack[{index}].reference", str(error)))
    if faults:
        raise InvalidArgument(faults, reason="BAD_REFERENCE")
    entries = add_up((*tagged, *explicit_entries(request)))
    if len(entries) > max_stack:
        raise InvalidArgument.of("prompt", f"names {len(entries)} LoRAs, {max_stack} may be stacked")
    for brand in {entry.reference.brand for entry in entries} - {None}:
        require_brand(str(brand))
    return text, entries


def explicit_entries(request: ImageRequest) -> tuple[WeightedReference, ...]:
    """The entries of the request's own stack. Raises PromptSyntaxError; read_stack comes first."""
    return tuple(
        WeightedReference(parse_reference(entry.reference), entry.text_encoder_weight, entry.weight)
        for entry in request.stack
    )


def placed(
    error: InvalidArgument, request: ImageRequest, entries: Sequence[WeightedReference]
) -> InvalidArgument:
    """The registry's refusal with the fields of this request in place of its own `references[i]`."""
    explicit = [str(entry.reference) for entry in request.stack]
    places: dict[str, str] = {}
    for index, entry in enumerate(entries):
        name = str(entry.reference)
        place = f"stack[{explicit.index(name)}].reference" if name in explicit else "prompt"
        places[f"references[{index}]"] = place
    violations = [
        FieldViolation(places.get(violation.field, violation.field), violation.description)
        for violation in error.violations
    ]
    return InvalidArgument(violations, reason=error.reason, metadata=error.metadata)


def used_loras(entries: Sequence[WeightedReference], resolved: ResolvedStack) -> tuple[UsedLora, ...]:
    """What each entry means now."""
    return tuple(
        UsedLora(
            reference=str(entry.reference),
            version=lora.version,
            sha256=lora.sha256,
            text_encoder_weight=entry.text_encoder_weight,
            weight=entry.unet_weight,
        )
        for entry, lora in zip(entries, resolved.loras, strict=True)
    )
