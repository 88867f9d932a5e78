"""References to LoRAs as people write them, and which version each of them means.

hero                                  alias `prod` of the request's brand, or the newest version without one
hero@staging   hero@3   hero@latest   alias, version, newest version
other-brand/hero@prod                 a LoRA of another brand
brands/acme/loras/hero@prod           full names, with or without what follows
brands/acme/loras/hero/versions/3
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from services.registry.domain import (
    LATEST,
    PRODUCTION,
    BaseModel,
    Lora,
    LoraKey,
    LoraVersion,
    VersionKey,
    base_model_name,
)

MAX_VERSION: Final = 2**53
_ID: Final = r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
_WHICH: Final = rf"[1-9][0-9]{{0,15}}|{_ID}"
_SHORT: Final = re.compile(rf"(?:(?P<brand>{_ID})/)?(?P<lora>{_ID})(?:@(?P<which>{_WHICH}))?")
_FULL: Final = re.compile(
    rf"brands/(?P<brand>{_ID})/loras/(?P<lora>{_ID})(?:(?:@|/versions/)(?P<which>{_WHICH}))?"
)
_VERSION: Final = re.compile(rf"brands/(?P<brand>{_ID})/loras/(?P<lora>{_ID})/versions/(?P<which>{_WHICH})")


class ReferenceFault(Exception):  # noqa: N818 -- a finding, turned into an error with all others
    """Why one reference means nothing; `reason` is a word for programs."""

    def __init__(self, reason: str, description: str) -> None:
        super().__init__(description)
        self.reason = reason
        self.description = description


@dataclass(frozen=True, slots=True)
class LoraReference:
    """A LoRA, and which of its versions: a number, an alias, `latest`, or nothing for the usual one."""

    key: LoraKey
    which: str = ""


def parse_reference(text: str, brand: str) -> LoraReference:
    """Reads a reference; short ones are of `brand`. ReferenceFault when it is none."""
    match = _FULL.fullmatch(text) or _SHORT.fullmatch(text)
    if match is None:
        raise ReferenceFault(
            "REFERENCE_INVALID",
            f"{text[:100]!r} is no LoRA reference: write name, name@alias, name@version, brand/name@alias "
            "or a full resource name",
        )
    return LoraReference(LoraKey(match["brand"] or brand, match["lora"]), match["which"] or "")


def parse_version_name(text: str) -> VersionKey | None:
    """`brands/{brand}/loras/{lora}/versions/{version}`, None when the text is no such name."""
    match = _VERSION.fullmatch(text)
    return VersionKey(LoraKey(match["brand"], match["lora"]), match["which"]) if match else None


def choose_version(which: str, lora: Lora) -> int:
    """The number of the version that `which` means now; ReferenceFault when there is none.

    A number is not checked against the versions that exist beyond the newest one's.
    """
    if lora.latest_version == 0:
        raise ReferenceFault("VERSION_NOT_FOUND", f"{lora.key} has no versions")
    if which.isdecimal():
        number = int(which)
        if number > min(lora.latest_version, MAX_VERSION):
            raise ReferenceFault(
                "VERSION_NOT_FOUND",
                f"{lora.key} has no version {number}; its newest is {lora.latest_version}",
            )
        return number
    if which == LATEST:
        return lora.latest_version
    if not which:
        return lora.aliases.get(PRODUCTION, lora.latest_version)
    if which not in lora.aliases:
        known = ", ".join(sorted(lora.aliases)[:8]) or "none"
        raise ReferenceFault("ALIAS_NOT_FOUND", f"{lora.key} has no alias {which!r} (aliases: {known})")
    return lora.aliases[which]


def check_base(version: LoraVersion, base: BaseModel) -> None:
    """ReferenceFault when the version does not fit the base: another family, or a known other base."""
    if version.family != base.family:
        raise ReferenceFault(
            "FAMILY_MISMATCH", f"{version.name} is for {version.family} models, {base.name} is {base.family}"
        )
    if version.base_model_sha256 and version.base_model_sha256 != base.sha256:
        trained_on = base_model_name(version.base_model_id) if version.base_model_id else "a base"
        raise ReferenceFault(
            "BASE_MISMATCH",
            f"{version.name} was trained on {trained_on} with sha256 {version.base_model_sha256[:12]}..., "
            f"{base.name} has {base.sha256[:12]}...",
        )
