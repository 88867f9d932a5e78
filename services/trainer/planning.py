"""Turns a draft into a plan: looks up everything it names, fills the defaults in, gathers advice."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from servicekit import names
from servicekit.errors import FieldViolation, InvalidArgument, NotFound
from services.trainer.advice import Advice, advise
from services.trainer.advice_rows import advise_on_rows
from services.trainer.advice_texts import advise_on_texts, texts_unchecked
from services.trainer.buckets import group_sizes
from services.trainer.defaults import complete, contradictions, refuse
from services.trainer.manifest import TRAIN, VALIDATION, Picture, read_manifest, training_pictures
from services.trainer.ports import Artifacts, Labeler, Registry, TextLengths, TextsUncheckedError
from services.trainer.sources import BaseModel, DatasetRevision, LoraVersion, Sources
from services.trainer.spec import Optimizer, SpecDraft, TrainingSpec
from services.trainer.text_manifest import Text, is_text_manifest, read_texts, training_texts

T = TypeVar("T")

MAX_MANIFEST_BYTES: Final = 256 << 20
_SEEDS: Final = 1 << 32
_REVISION: Final = "brands/{brand}/datasets/{dataset}/revisions/{revision}"
_LORA: Final = "brands/{brand}/loras/{lora}"
_PRIOR: Final = "prior_preservation.dataset_revision"
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

    def __init__(
        self,
        labeler: Labeler,
        registry: Registry,
        artifacts: Artifacts,
        lengths: TextLengths,
        *,
        missing: Mapping[Optimizer, str] | None = None,
    ) -> None:
        """`missing` names optimizers that no worker can run, and the library that each lacks."""
        self._missing = missing or {}
        self._labeler = labeler
        self._registry = registry
        self._artifacts = artifacts
        self._lengths = lengths

    async def plan(self, brand: str, draft: SpecDraft, *, prefix: str) -> Plan:
        """The plan for a job of the brand.

        InvalidArgument names every field (under `prefix`) that is wrong, unknown or of another brand.
        """
        refuse(_foreign_fields(brand, draft, prefix))
        violations: list[FieldViolation] = []
        _, base, revision, parent, prior = await asyncio.gather(
            _known(self._registry.require_brand(f"brands/{brand}"), "parent", violations),
            _known(self._registry.base_model(draft.base_model), f"{prefix}.base_model", violations),
            _known(self._labeler.revision(draft.dataset_revision), f"{prefix}.dataset_revision", violations),
            _known(self._parent(draft), f"{prefix}.parent_version", violations),
            _known(self._prior(draft), f"{prefix}.{_PRIOR}", violations),
        )
        violations += contradictions(draft, base=base, parent=parent, prefix=prefix)
        violations += self._lacking(draft, prefix)
        refuse(violations)
        assert base is not None and revision is not None
        listed = await self._listed(base, revision, f"{prefix}.dataset_revision")
        if prior is not None:
            if prior.manifest == revision.manifest:
                raise InvalidArgument.of(f"{prefix}.{_PRIOR}", "holds what the job learns from")
            await self._listed(base, prior, f"{prefix}.{_PRIOR}")
        refuse(_nothing_held_out(draft, listed, prefix))
        seed = secrets.randbelow(_SEEDS)
        spec = complete(draft, base=base, revision=revision, parent=parent, prior=prior, drawn_seed=seed)
        pictures = training_pictures(tuple(item for item in listed if isinstance(item, Picture)))
        count = sum(item.split == TRAIN for item in listed)
        groups = group_sizes(spec, pictures) if pictures else (count,)
        sources = Sources(base=base, revision=revision, parent=parent, train_images=count, prior=prior)
        unchecked = await self._check_lengths(base, spec, listed, f"{prefix}.dataset_revision")
        advice = (*_advice(spec, base, listed), *unchecked)
        return Plan(spec, sources, spec.total_steps(*groups), advice)

    async def _listed(
        self, base: BaseModel, revision: DatasetRevision, field: str
    ) -> Sequence[Picture | Text]:
        """What the revision holds; InvalidArgument if none of it is for training, or not on this base."""
        manifest = await self._artifacts.get_bytes(revision.manifest.sha256, max_bytes=MAX_MANIFEST_BYTES)
        # Seconds for the largest: others are answered meanwhile.
        listed = await asyncio.to_thread(_items, base, manifest, field)
        if not any(item.split == TRAIN for item in listed):
            raise InvalidArgument.of(field, "has nothing in its training split")
        return listed

    async def _check_lengths(
        self, base: BaseModel, spec: TrainingSpec, listed: Sequence[Picture | Text], field: str
    ) -> tuple[Advice, ...]:
        """InvalidArgument for texts that the base cannot learn; advice where that cannot be told."""
        if not base.learns_texts:
            return ()
        try:
            faults = await self._lengths.faults(base, _texts_to_measure(spec, listed))
        except TextsUncheckedError as error:
            return (texts_unchecked(str(error)),)
        refuse([FieldViolation(field, f"text {fault.number} {fault.why}") for fault in faults])
        return ()

    def _lacking(self, draft: SpecDraft, prefix: str) -> list[FieldViolation]:
        library = self._missing.get(draft.optimizer) if draft.optimizer else None
        if library is None:
            return []
        text = f"{draft.optimizer} needs the package {library}, which is not installed here; choose adamw"
        return [FieldViolation(f"{prefix}.optimization.optimizer", text)]

    async def _parent(self, draft: SpecDraft) -> LoraVersion | None:
        if draft.parent_version is None:
            return None
        return await self._registry.lora_version(draft.parent_version)

    async def _prior(self, draft: SpecDraft) -> DatasetRevision | None:
        name = draft.prior_preservation.dataset_revision
        return await self._labeler.revision(name) if name else None


async def _known(asked: Awaitable[T], field: str, violations: list[FieldViolation]) -> T | None:
    """The answer; when there is no such thing, or its name is none, a violation for its field."""
    try:
        return await asked
    except NotFound as error:
        violations.append(FieldViolation(field, error.message))
    except InvalidArgument as error:
        violations += [FieldViolation(field, violation.description) for violation in error.violations]
    return None


def _items(base: BaseModel, manifest: bytes, field: str) -> Sequence[Picture | Text]:
    """What the revision holds, if it is what the base learns from."""
    has_texts = is_text_manifest(manifest)
    if has_texts is not base.learns_texts:
        held, learned = ("texts", "pictures") if has_texts else ("pictures", "texts")
        raise InvalidArgument.of(field, f"holds {held}; {base.name} learns from {learned}")
    return read_texts(manifest) if has_texts else read_manifest(manifest)


def _texts_to_measure(spec: TrainingSpec, listed: Sequence[Picture | Text]) -> dict[int, Text]:
    """What the job learns from or is evaluated on, by its number in the revision."""
    texts = {number: item for number, item in enumerate(listed, start=1) if isinstance(item, Text)}
    most = spec.validation.max_items if spec.validation.interval_steps else 0
    held_out = {*[number for number, text in texts.items() if text.split == VALIDATION][:most]}
    return {number: text for number, text in texts.items() if text.split == TRAIN or number in held_out}


def _advice(spec: TrainingSpec, base: BaseModel, listed: Sequence[Picture | Text]) -> tuple[Advice, ...]:
    texts = [item for item in listed if isinstance(item, Text)]
    if base.learns_texts:
        return advise_on_texts(spec, training_texts(texts))
    pictures = training_pictures(tuple(item for item in listed if isinstance(item, Picture)))
    return (
        *advise(spec, pictures, base_resolution=base.resolution),
        *advise_on_rows(spec, pictures),
    )


def _nothing_held_out(
    draft: SpecDraft, listed: Sequence[Picture | Text], prefix: str
) -> list[FieldViolation]:
    if not draft.validates or any(item.split == VALIDATION for item in listed):
        return []
    text = "needs items in the validation split of the dataset revision, which has none"
    return [FieldViolation(f"{prefix}.validation", text)]


def _foreign_fields(brand: str, draft: SpecDraft, prefix: str) -> list[FieldViolation]:
    named = (
        ("dataset_revision", _REVISION, draft.dataset_revision),
        ("lora", _LORA, draft.lora),
        ("parent_version", _VERSION, draft.parent_version),
        (_PRIOR, _REVISION, draft.prior_preservation.dataset_revision or None),
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
