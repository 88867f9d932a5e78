"""LoRAs and bases that do not fit each other or the request: whose fault it is, and what to do."""

from __future__ import annotations

from typing import Any, cast

import pytest

from servicekit.errors import FailedPrecondition, InvalidArgument
from services.inference.domain import CAUSAL_LM_FAMILY, PICTURE_FAMILIES, SD15_FAMILY, StackEntry
from services.inference.domain_jobs import BaseRef, ResolvedLora, ResolvedStack
from services.inference.ports import LocalBases, Registry
from services.inference.service_resolving import Resolver, Wanted
from services.inference.service_stacks import read_stack

BOTH = (*PICTURE_FAMILIES, CAUSAL_LM_FAMILY)
TEXTS = (CAUSAL_LM_FAMILY,)


class OneLora:
    """A registry in which every reference means a LoRA of one family; and a base on this host."""

    def __init__(self, family: str, base_model_sha256: str = "") -> None:
        self._family = family
        self._base_model_sha256 = base_model_sha256

    async def resolve_stack(self, brand: str, references: Any, base_model: str) -> ResolvedStack:
        loras = [
            ResolvedLora(
                reference=reference,
                version=f"brands/{brand}/loras/{reference}/versions/1",
                sha256="ab",
                size_bytes=1,
                family=self._family,
                base_model_sha256=self._base_model_sha256,
            )
            for reference in references
        ]
        return ResolvedStack(loras=tuple(loras), base=None)

    async def describe(self, source: str) -> BaseRef:
        return BaseRef(name="sd-tiny", source=source, sha256="cd", family=SD15_FAMILY)


async def refusal(world: OneLora, families: tuple[str, ...], prompt: str = "") -> InvalidArgument:
    stack = () if prompt else (StackEntry(reference="hoot"),)
    _, loras = read_stack(prompt, stack, 8)
    wanted = Wanted(brand="acme", base_model="", given=stack, loras=loras, families=families)
    resolver = Resolver(cast(Registry, world), cast(LocalBases, world), "/sd-tiny", "/sd-tiny")
    with pytest.raises(InvalidArgument) as caught:
        await resolver.resolve(wanted)
    return caught.value


async def test_a_lora_of_a_family_that_makes_something_else_is_wrong_input() -> None:
    error = await refusal(OneLora(SD15_FAMILY), TEXTS)
    assert error.reason == "FAMILY_MISMATCH"
    assert error.message == "stack[0].reference: hoot is for sd15 models, which make no texts"
    error = await refusal(OneLora(CAUSAL_LM_FAMILY), PICTURE_FAMILIES, "<lora:hoot:1> a cat")
    assert error.message == "prompt: hoot is for causal_lm models, which make no pictures"


async def test_a_lora_for_another_base_than_the_default_says_what_to_name() -> None:
    advice = "; name the base model that it is for"
    error = await refusal(OneLora(CAUSAL_LM_FAMILY), BOTH)
    assert error.message == f"stack[0].reference: hoot is for causal_lm models, sd-tiny is sd15{advice}"
    error = await refusal(OneLora(SD15_FAMILY, base_model_sha256="ef"), PICTURE_FAMILIES)
    assert error.reason == "BASE_MISMATCH"
    assert error.message.endswith(f"was trained on another base model than sd-tiny{advice}")


async def test_a_default_base_of_a_wrong_family_is_the_services_own_fault() -> None:
    resolver = Resolver(cast(Registry, OneLora("")), cast(LocalBases, OneLora("")), "/sd-tiny", "/sd-tiny")
    wanted = Wanted(brand="acme", base_model="", given=(), loras=(), families=TEXTS)
    with pytest.raises(FailedPrecondition, match="which makes no texts"):
        await resolver.resolve(wanted)
