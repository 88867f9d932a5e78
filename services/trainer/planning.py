"""Turns a draft into a plan: looks up everything it names, fills the defaults in, gathers advice."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final, TypeVar

from servicekit import names
from servicekit.errors import FieldViolation, InvalidArgument, NotFound
from services.trainer.advice import Advice, advise
from services.trainer.defaults import complete, contradictions, refuse
from services.trainer.manifest import read_manifest, training_pictures
from services.trainer.ports import Artifacts, Labeler, Registry
from services.trainer.sources import LoraVersion, Sources
from services.trainer.spec import SpecDraft, TrainingSpec

T = TypeVar("T")

MAX_MANIFEST_BYTES: Final = 256 << 20
_SEEDS: Final = 1 << 32
_REVISION: Final = "brands/{brand}/datasets/{dataset}/revisions/{revision}"
_LORA: Final = "brands/{brand}/loras/{lora}"
_VERSION: Final = "brands/{brand}/loras/{lora}/versions/{version}"


@dataclass(frozen=True, slots=True)
class Plan:
    """A complete spec, what it depends on, how long it takes, and what may be better."""

    spec: TrainingSpec
    sources: Sources
    total_steps: int
    advice: tuple[Advice, ...]


class Planner:
    """Makes plans with the help of the labeler, the registry and the artifact store."""

    def __init__(self, labeler: Labeler, registry: Registry, artifacts: Artifacts) -> None:
        self._labeler = labeler
        self._registry = registry
        self._artifacts = artifacts

    async def plan(self, brand: str, draft: SpecDraft, *, prefix: str) -> Plan:
        """The plan for a job of the brand.

        InvalidArgument names every field (under `prefix`) that is wrong, unknown or of another brand.
        """
        refuse(_foreign_fields(brand, draft, prefix))
        violations: list[FieldViolation] = []
        _, base, revision, parent = await asyncio.gather(
            _known(self._registry.require_brand(f"brands/{brand}"), "parent", violations),
            _known(self._registry.base_model(draft.base_model), f"{prefix}.base_model", violations),
            _known(self._labeler.revision(draft.dataset_revision), f"{prefix}.dataset_revision", violations),
            _known(self._parent(draft), f"{prefix}.parent_version", violations),
        )
        violations += contradictions(draft, base=base, parent=parent, prefix=prefix)
        refuse(violations)
        assert base is not None and revision is not None
        manifest = await self._artifacts.get_bytes(revision.manifest.sha256, max_bytes=MAX_MANIFEST_BYTES)
        pictures = training_pictures(read_manifest(manifest))
        if not pictures:
            raise InvalidArgument.of(f"{prefix}.dataset_revision", "has no pictures in its training split")
        seed = secrets.randbelow(_SEEDS)
        spec = complete(draft, base=base, revision=revision, parent=parent, drawn_seed=seed)
        sources = Sources(base=base, revision=revision, parent=parent, train_images=len(pictures))
        advice = advise(spec, pictures, base_resolution=base.resolution)
        return Plan(spec, sources, spec.total_steps(len(pictures)), advice)

    async def _parent(self, draft: SpecDraft) -> LoraVersion | None:
        if draft.parent_version is None:
            return None
        return await self._registry.lora_version(draft.parent_version)


async def _known(asked: Awaitable[T], field: str, violations: list[FieldViolation]) -> T | None:
    """The answer; when there is no such thing, or its name is none, a violation for its field."""
    try:
        return await asked
    except NotFound as error:
        violations.append(FieldViolation(field, error.message))
    except InvalidArgument as error:
        violations += [FieldViolation(field, violation.description) for violation in error.violations]
    return None


def _foreign_fields(brand: str, draft: SpecDraft, prefix: str) -> list[FieldViolation]:
    named = (
        ("dataset_revision", _REVISION, draft.dataset_revision),
        ("lora", _LORA, draft.lora),
        ("parent_version", _VERSION, draft.parent_version),
    )
    found: list[FieldViolation] = []
    for field, pattern, name in named:
        if name is None:
            continue
        owner = names.parse(pattern, name, field=f"{prefix}.{field}")["brand"]
        if owner != brand:
            found.append(
                FieldViolation(f"{prefix}.{field}", f"belongs to brand {owner!r}, the job to {brand!r}")
            )
    return found
