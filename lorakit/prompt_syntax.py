"""The A1111 way to name LoRAs in a prompt: `<lora:name:te:unet>`. Free of torch.

References are `hero`, `hero@staging` (alias), `hero@3` (version) and `other-brand/hero@prod`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from lorakit.errors import PromptSyntaxError

MAX_WEIGHT = 10.0
"""Weights beyond this only ever break pictures; a typing error is more likely."""

# As in A1111, but bounded, so that a prompt of many open brackets costs no more than another.
_TAG = re.compile(r"<(\w{1,64}):([^>]{1,512})>")
_ID = r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
_REFERENCE = re.compile(
    rf"^(?:(?P<brand>{_ID})/)?(?P<name>{_ID})(?:@(?:(?P<version>[1-9]\d{{0,8}})|(?P<alias>{_ID})))?$"
)
_NUMBER = re.compile(r"^[+-]?(?:\d{1,9}(?:\.\d{0,32})?|\.\d{1,32})$")


@dataclass(frozen=True, slots=True)
class LoraReference:
    """A LoRA by name; at most one of `alias` and `version` is set. str() gives the text back."""

    name: str
    brand: str | None = None
    alias: str | None = None
    version: int | None = None

    def __str__(self) -> str:
        brand = f"{self.brand}/" if self.brand else ""
        end = f"@{self.version or self.alias}" if self.version or self.alias else ""
        return f"{brand}{self.name}{end}"


@dataclass(frozen=True, slots=True)
class WeightedReference:
    """One entry of a stack."""

    reference: LoraReference
    text_encoder_weight: float = 1.0
    unet_weight: float = 1.0


@dataclass(frozen=True, slots=True)
class ParsedPrompt:
    """A prompt without its tags, and what the tags said, in order."""

    text: str
    entries: tuple[WeightedReference, ...]


def parse_reference(text: str) -> LoraReference:
    """Reads `hero`, `hero@prod`, `hero@3`, `brand/hero@prod`. Raises PromptSyntaxError naming the text."""
    match = _REFERENCE.match(text)
    if match is None:
        raise PromptSyntaxError(
            "is no LoRA reference: write name, name@alias, name@version or brand/name@alias, "
            "in lower-case letters, digits and hyphens",
            tag=text,
        )
    version = match["version"]
    return LoraReference(match["name"], match["brand"], match["alias"], int(version) if version else None)


def parse_prompt(prompt: str) -> ParsedPrompt:
    """Takes the tags out of a prompt. A prompt without tags comes back as it is.

    The gap that a tag leaves is closed to one space. Raises PromptSyntaxError naming the tag and its place.
    """
    entries: list[WeightedReference] = []
    kept: list[str] = []
    position = 0
    for match in _TAG.finditer(prompt):
        entries.append(_parse_tag(match))
        kept.append(prompt[position : match.start()])
        position = match.end()
    if not entries:
        return ParsedPrompt(prompt, ())
    kept.append(prompt[position:])
    text = kept[0].rstrip(" \t")
    for piece in kept[1:]:
        left, right = text.rstrip(" \t"), piece.lstrip(" \t")
        text = f"{left} {right}" if left[-1:].strip() and right[:1].strip() else left + right
    return ParsedPrompt(text.strip(" \t"), tuple(entries))


def format_tag(entry: WeightedReference) -> str:
    """The tag of an entry, as `parse_prompt` reads it."""
    te, unet = _number(entry.text_encoder_weight), _number(entry.unet_weight)
    weights = te if te == unet else f"{te}:{unet}"
    return f"<lora:{entry.reference}:{weights}>"


def add_up(entries: Iterable[WeightedReference]) -> tuple[WeightedReference, ...]:
    """The entries, those of the same reference made one by adding their weights, in order of mention."""
    totals: dict[LoraReference, WeightedReference] = {}
    for entry in entries:
        before = totals.get(entry.reference, WeightedReference(entry.reference, 0.0, 0.0))
        totals[entry.reference] = WeightedReference(
            entry.reference,
            before.text_encoder_weight + entry.text_encoder_weight,
            before.unet_weight + entry.unet_weight,
        )
    return tuple(totals.values())


def _parse_tag(match: re.Match[str]) -> WeightedReference:
    tag, kind, start = match[0], match[1], match.start()
    if kind != "lora":
        raise PromptSyntaxError(
            f"tags of the kind {kind!r} are unknown, only lora is", tag=tag, position=start
        )
    name, *arguments = (part.strip() for part in match[2].split(":"))
    try:
        reference = parse_reference(name)
    except PromptSyntaxError as error:
        raise PromptSyntaxError(f"{name!r} {error.message}", tag=tag, position=start) from None
    weights: dict[str, float] = {}
    free = ["te", "unet"]
    for argument in arguments:
        key, equals, value = argument.rpartition("=")
        key = key.strip()
        if not equals:
            if not free:
                raise PromptSyntaxError("has more than two weights", tag=tag, position=start)
            key = free.pop(0)
        elif key in ("steps", "box", "mask"):
            raise PromptSyntaxError(
                f"{key}= is no part of a tag, which has weights alone: steps, boxes and masks go into the "
                "request's stack (the option --lora)",
                tag=tag,
                position=start,
            )
        elif key not in ("te", "unet"):
            raise PromptSyntaxError(f"knows te= and unet=, not {key!r}", tag=tag, position=start)
        if key in weights:
            raise PromptSyntaxError(f"gives the {key} weight twice", tag=tag, position=start)
        weights[key] = _weight(value.strip(), tag, start)
    te = weights.get("te", 1.0)
    return WeightedReference(reference, te, weights.get("unet", te))


def _weight(text: str, tag: str, position: int) -> float:
    # A pattern, for float() takes "nan", "inf", "1_0" and digits of other scripts too.
    if not text.isascii() or not _NUMBER.match(text):
        raise PromptSyntaxError(f"{text!r} is no weight", tag=tag, position=position)
    value = float(text)
    if not math.isfinite(value) or abs(value) > MAX_WEIGHT:
        raise PromptSyntaxError(
            f"the weight {text} is outside -{MAX_WEIGHT:g} to {MAX_WEIGHT:g}", tag=tag, position=position
        )
    return value


def _number(value: float) -> str:
    text = f"{value:.15f}".rstrip("0")
    return text + "0" if text.endswith(".") else text
