"""A sweep: the same picture for every prompt, seed and factor on the stack's weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from servicekit.errors import FieldViolation, InvalidArgument
from services.inference.domain import MAX_SEED, MAX_WEIGHT, ImageRequest, Limits
from services.inference.domain_jobs import Picture, Progress, Queued

MAX_CELLS = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A cell's place in the grid: indices into what was asked for."""

    prompt: int
    seed: int
    weight: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRequest:
    """What is varied, and what all cells share. All three lists have something in them."""

    template: ImageRequest
    """Its prompt and seed count for nothing here."""
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    weights: tuple[float, ...] = (1.0,)
    """Factors on every weight of a cell's stack."""

    @property
    def size(self) -> int:
        """Cells of the grid."""
        return len(self.prompts) * len(self.seeds) * len(self.weights)

    def places(self) -> Iterator[Place]:
        """All places, prompt by prompt, and seed by seed in each."""
        for prompt in range(len(self.prompts)):
            for seed in range(len(self.seeds)):
                for weight in range(len(self.weights)):
                    yield Place(prompt=prompt, seed=seed, weight=weight)

    def number(self, place: Place) -> int:
        """Where a place comes in the order of `places`, from 0."""
        return (place.prompt * len(self.seeds) + place.seed) * len(self.weights) + place.weight

    def check(self, limits: Limits) -> None:
        """Raises InvalidArgument with every faulty field."""
        faults = []
        if self.size > MAX_CELLS:
            faults.append(
                FieldViolation(
                    "prompts",
                    f"with {len(self.prompts)} prompts, {len(self.seeds)} seeds and {len(self.weights)} "
                    f"weights the sweep has {self.size} cells, at most {MAX_CELLS} are made",
                )
            )
        if self.template.count != 1:
            faults.append(FieldViolation("template.count", f"must be 1, not {self.template.count}"))
        if self.template.preview_every:
            faults.append(FieldViolation("template.preview_every", "previews are not sent in a sweep"))
        for index, seed in enumerate(self.seeds):
            if not 0 <= seed <= MAX_SEED:
                faults.append(FieldViolation(f"seeds[{index}]", f"must be from 0 to {MAX_SEED}, not {seed}"))
        faults += self._faulty_weights()
        try:
            replace(self.template, count=1).check(limits)
        except InvalidArgument as error:
            faults += in_template(error).violations
        if faults:
            raise InvalidArgument(faults)

    def _faulty_weights(self) -> Iterator[FieldViolation]:
        for index, factor in enumerate(self.weights):
            if not math.isfinite(factor) or abs(factor) > MAX_WEIGHT:
                yield FieldViolation(
                    f"weights[{index}]", f"must be from {-MAX_WEIGHT:g} to {MAX_WEIGHT:g}, not {factor:g}"
                )
                continue
            for number, entry in enumerate(self.template.stack):
                largest = max(abs(entry.weight), abs(entry.text_encoder_weight)) * abs(factor)
                if largest > MAX_WEIGHT:
                    yield FieldViolation(
                        f"weights[{index}]",
                        f"makes a weight of template.stack[{number}] {largest:g}, not at most {MAX_WEIGHT:g}",
                    )


def in_template(error: InvalidArgument) -> InvalidArgument:
    """A fault of the template, its fields named as the sweep has them."""
    violations = [FieldViolation(f"template.{item.field}", item.description) for item in error.violations]
    return InvalidArgument(violations, reason=error.reason, metadata=error.metadata)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """A finished cell."""

    place: Place
    picture: Picture


@dataclass(frozen=True, kw_only=True, slots=True)
class Sheet:
    """All cells on one PNG."""

    png: bytes


SweepEvent = Queued | Progress | Cell | Sheet
