"""From what a request names to exact versions and a base, for every kind of request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from servicekit.errors import FailedPrecondition, FieldViolation, InvalidArgument, Unavailable
from services.inference.domain import CAUSAL_LM_FAMILY, PICTURE_FAMILIES, SD15_FAMILY, StackEntry
from services.inference.domain_jobs import BaseRef, ResolvedLora, ResolvedStack, UsedLora
from services.inference.ports import LocalBases, Registry
from services.inference.service_stacks import WantedLora, placed, used_loras

BASE_MODELS = "baseModels/"
FAMILY_MISMATCH = "FAMILY_MISMATCH"
BASE_MISMATCH = "BASE_MISMATCH"
"""These two as the registry has them."""
BASE_FAMILY_UNSUPPORTED = "BASE_FAMILY_UNSUPPORTED"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a request names; `read_stack` made `loras` of its tags and of `given`."""

    brand: str
    base_model: str
    """`baseModels/{id}`, or empty for the service's default."""
    given: Sequence[StackEntry]
    """The request's explicit entries, for the fields that errors name."""
    loras: Sequence[WantedLora]
    families: Sequence[str]
    """Of base models that the request can be made with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolution:
    """What a request will use."""

    base: BaseRef
    stack: tuple[UsedLora, ...]
    sizes: tuple[tuple[str, int], ...]
    """(digest, size in bytes) of each file."""


class Resolver:
    """Asks the registry and this host what a request means now."""

    def __init__(
        self, registry: Registry, local_bases: LocalBases, default_base: str, default_text_base: str
    ) -> None:
        """Each default, of pictures and of texts, is a `baseModels/{id}` name or a path on this host; empty:
        requests must name one.
        """
        self._registry = registry
        self._local_bases = local_bases
        self._default_base = default_base
        self._default_text_base = default_text_base
        self.default_digests: set[str] = set()
        """Of the default bases that requests have used."""

    async def resolve(self, wanted: Wanted) -> Resolution:
        """Raises InvalidArgument by the request's own fields, NotFound, FailedPrecondition and
        Unavailable.
        """
        resolved = await self._ask(wanted)
        for index, lora in enumerate(resolved.loras):
            if lora.family not in wanted.families:
                why = f"{lora.reference} is for {lora.family} models, which make no {_product(wanted)}"
                raise _misfit(wanted, index, lora, why, reason=FAMILY_MISMATCH)
        return Resolution(
            base=await self._base(wanted, resolved),
            stack=used_loras(wanted.loras, resolved),
            sizes=tuple((lora.sha256, lora.size_bytes) for lora in resolved.loras),
        )

    async def _ask(self, wanted: Wanted) -> ResolvedStack:
        name = wanted.base_model or self._default_of(wanted)
        registered = name if name.startswith(BASE_MODELS) else ""
        if not name:
            raise InvalidArgument.of(
                "base_model", f"is needed, for this service has no default base model for {_product(wanted)}"
            )
        references = [str(entry.reference) for entry in wanted.loras]
        try:
            return await self._registry.resolve_stack(wanted.brand, references, registered)
        except InvalidArgument as error:
            raise _with_advice(wanted, placed(error, wanted.given, wanted.loras)) from error
        except Unavailable:
            if references or registered:
                raise
            # Of such a request the registry only knows whether there is its brand.
            return ResolvedStack(loras=(), base=None)

    def _default_of(self, wanted: Wanted) -> str:
        # What may be of any family is for pictures unless it says otherwise.
        return self._default_text_base if wanted.families == (CAUSAL_LM_FAMILY,) else self._default_base

    async def _base(self, wanted: Wanted, resolved: ResolvedStack) -> BaseRef:
        base = resolved.base or await self._local_bases.describe(self._default_of(wanted))
        if not wanted.base_model:
            self.default_digests.add(base.sha256)
        if base.family not in wanted.families:
            raise _unsupported(wanted, base)
        # The registry compares with bases that it knows; a local one it does not.
        for index, lora in enumerate(resolved.loras):
            if lora.family != base.family:
                why = f"{lora.reference} is for {lora.family} models, {base.name} is {base.family}"
                raise _misfit(wanted, index, lora, why, reason=FAMILY_MISMATCH)
            if lora.base_model_sha256 not in ("", base.sha256):
                why = f"{lora.reference} was trained on another base model than {base.name}"
                raise _misfit(wanted, index, lora, why, reason=BASE_MISMATCH)
        return base


def _unsupported(wanted: Wanted, base: BaseRef) -> InvalidArgument | FailedPrecondition:
    """The base is of a wrong family: the request's fault, or that of the service's configuration."""
    why = f"{base.name} is a {base.family} model, which makes no {_product(wanted)}"
    facts = {"base_model": base.name, "family": base.family}
    if not wanted.base_model:
        return FailedPrecondition(why, reason=BASE_FAMILY_UNSUPPORTED, metadata=facts)
    violation = FieldViolation("base_model", why)
    return InvalidArgument([violation], reason=BASE_FAMILY_UNSUPPORTED, metadata=facts)


def _misfit(wanted: Wanted, index: int, lora: ResolvedLora, why: str, *, reason: str) -> InvalidArgument:
    """The request's LoRA of that number is of no use for it."""
    facts = {"reference": lora.reference, "version": lora.version, "family": lora.family}
    error = InvalidArgument([FieldViolation(f"references[{index}]", why)], reason=reason, metadata=facts)
    return _with_advice(wanted, placed(error, wanted.given, wanted.loras))


def _with_advice(wanted: Wanted, error: InvalidArgument) -> InvalidArgument:
    """Where LoRAs do not fit the default base, and would fit another one: what to do."""
    of_any_family = {SD15_FAMILY, CAUSAL_LM_FAMILY} <= set(wanted.families)
    fits_another = error.reason == BASE_MISMATCH or (of_any_family and error.reason == FAMILY_MISMATCH)
    if wanted.base_model or not fits_another:
        return error
    violations = [
        FieldViolation(item.field, f"{item.description}; name the base model that it is for")
        for item in error.violations
    ]
    return InvalidArgument(violations, reason=error.reason, metadata=error.metadata)


def _product(wanted: Wanted) -> str:
    return "pictures" if set(PICTURE_FAMILIES) & set(wanted.families) else "texts"
