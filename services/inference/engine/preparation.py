"""From a job to what all its rows share: base, schedule, stacks and text embeddings.

Runs beside the denoising loop: the batch goes on while files are read and texts are encoded.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from lorakit.families.diffusion_base import EncodedTexts, Framing
from lorakit.module_shape import Component
from lorakit.routing import RowAdapter
from lorakit.samplers import Beginning, RowPlan, SamplingRow, cut_plan
from services.inference.domain_jobs import ImageJob, Started
from services.inference.engine.bases import LoadedBase
from services.inference.engine.beginnings import (
    STRENGTH_FIELD,
    InitialPicture,
    encode_initial,
    read_initial,
)
from services.inference.engine.composition import Phase, compose
from services.inference.engine.errors import JobError
from services.inference.engine.held_bases import HeldBases
from services.inference.engine.preview_colours import PreviewColours
from services.inference.engine.rows import BatchRow, Branch, RowPhase
from services.inference.engine.stacks import FoldedStack, Stacks
from services.inference.engine.texts import TextRow, Texts

BucketKey = tuple[str, tuple[int, int, int], int]
"""(base digest, latent shape, context length): rows that agree in these share forward passes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A job that is ready for its rows to join the batch."""

    job: ImageJob
    base: LoadedBase
    plan: RowPlan
    phases: tuple[RowPhase, ...]
    shape_CHW: tuple[int, int, int]
    attach_seconds: float
    initial: InitialPicture | None
    beginning: Beginning | None
    """Of the initial picture; None: rows begin from noise alone."""
    colours: PreviewColours | None

    @property
    def bucket_key(self) -> BucketKey:
        """Where its rows belong."""
        context_BND = self.phases[0].branches[0].prompt.context_BND
        return self.base.model.sha256, self.shape_CHW, context_BND.shape[1]

    @property
    def branches(self) -> int:
        """The most branches that one of its rows has in a step."""
        return max(len(phase.branches) for phase in self.phases)

    @property
    def forward_rows(self) -> int:
        """The most forward rows that one of its rows takes in a step."""
        return max(phase.forward_rows for phase in self.phases)

    def started(self) -> Started:
        """What the caller is told before the first step."""
        factor = self.base.model.vae_scale_factor
        return Started(
            width=self.shape_CHW[2] * factor,
            height=self.shape_CHW[1] * factor,
            karras=self.base.karras(self.job.karras, self.job.sampler),
            attach_seconds=self.attach_seconds,
        )

    def row(self, index: int) -> BatchRow:
        """The row of one picture, at its first step."""
        seed = self.job.seed + index
        return BatchRow(
            job_id=self.job.job_id,
            index=index,
            seed=seed,
            sampling=self._sampling(seed),
            guidance=self.job.guidance,
            phases=self.phases,
            time_ids_6=self._time_ids(),
            initial=self.initial,
            colours=self.colours,
            preview_every=self.job.preview_every,
        )

    def _sampling(self, seed: int) -> SamplingRow:
        if self.beginning is None:
            return SamplingRow.start(self.plan, seed, self.shape_CHW, self.base.model.device)
        return SamplingRow.begin(self.plan, seed, self.beginning)

    def _time_ids(self) -> torch.Tensor:
        factor = self.base.model.vae_scale_factor
        height, width = self.shape_CHW[1] * factor, self.shape_CHW[2] * factor
        return Framing(height, width).time_ids(height, width)


@dataclass(frozen=True, slots=True)
class Preparation:
    """Base models, stacks and text embeddings, each loaded or made once and kept within its budget."""

    bases: HeldBases[LoadedBase]
    stacks: Stacks
    texts: Texts

    @torch.inference_mode()
    def prepare(self, job: ImageJob) -> Prepared:
        """One job at a time. Raises JobError for whatever is wrong with the job's own inputs."""
        base = self.bases.get(job.base)
        shape_CHW = latent_shape(job, base)
        plan = _plan(job, base)
        phases = compose(job, plan.steps, *shape_CHW[1:])
        asked = time.perf_counter()
        stacks = self.stacks.fold_each([[part.loras for part in phase.parts] for phase in phases], base)
        attach_seconds = time.perf_counter() - asked
        initial, beginning = _beginning(job, base, shape_CHW)
        return Prepared(
            job=job,
            base=base,
            plan=plan,
            phases=self._row_phases(job, base, phases, stacks),
            shape_CHW=shape_CHW,
            attach_seconds=attach_seconds,
            initial=initial,
            beginning=beginning,
            colours=base.colours() if job.preview_every else None,
        )

    def _row_phases(
        self,
        job: ImageJob,
        base: LoadedBase,
        phases: Sequence[Phase],
        stacks: Sequence[Sequence[FoldedStack]],
    ) -> tuple[RowPhase, ...]:
        texts = self._texts(job, base, [stack for line in stacks for stack in line])
        # Phases that come back to the same stack come back to the same tensors.
        return tuple(
            RowPhase(
                phase.first_step,
                tuple(
                    Branch(stack.unet, *texts[_text_key(stack.text_encoders)], part.share)
                    for part, stack in zip(phase.parts, line, strict=True)
                ),
            )
            for phase, line in zip(phases, stacks, strict=True)
        )

    def _texts(
        self, job: ImageJob, base: LoadedBase, stacks: Sequence[FoldedStack]
    ) -> dict[object, tuple[EncodedTexts, EncodedTexts | None]]:
        """(prompt, negative prompt) for each stack's text-encoder part."""
        parts = {_text_key(stack.text_encoders): stack.text_encoders for stack in stacks}
        # At a guidance of 1 or below the negative prompt has no say, and no second forward is made.
        guided = job.guidance > 1
        zeros = guided and not job.negative_prompt and base.model.zeros_for_no_prompt
        wanted = [job.prompt, job.negative_prompt] if guided and not zeros else [job.prompt]
        rows = [TextRow(text, part, job.clip_skip) for part in parts.values() for text in wanted]
        encoded = iter(self.texts.encode(rows, base))
        found: dict[object, tuple[EncodedTexts, EncodedTexts | None]] = {}
        for key in parts:
            prompt = next(encoded)
            negative = prompt.zeros() if zeros else (next(encoded) if guided else None)
            found[key] = (prompt, negative)
        return found


def _text_key(adapters: Mapping[Component, RowAdapter]) -> object:
    return tuple(sorted((component, adapter.key) for component, adapter in adapters.items()))


def _plan(job: ImageJob, base: LoadedBase) -> RowPlan:
    plan = base.plan(job.sampler, job.steps, base.karras(job.karras, job.sampler))
    if job.initial_image is None:
        return plan
    try:
        return cut_plan(plan, job.initial_image.strength)
    except ValueError as error:
        raise JobError(
            str(error), kind="InvalidArgument", reason="STRENGTH_TOO_LOW", field=STRENGTH_FIELD
        ) from error


def _beginning(
    job: ImageJob, base: LoadedBase, shape_CHW: tuple[int, int, int]
) -> tuple[InitialPicture | None, Beginning | None]:
    if job.initial_image is None:
        return None, None
    factor = base.model.vae_scale_factor
    initial = read_initial(job.initial_image, shape_CHW[1] * factor, shape_CHW[2] * factor)
    return initial, encode_initial(initial, job.initial_image.strength, base.model)


def latent_shape(job: ImageJob, base: LoadedBase) -> tuple[int, int, int]:
    """[C, H, W] of the job's latents. JobError for a size that the base model does not make."""
    factor = base.model.vae_scale_factor
    width, height = job.width or base.model.resolution, job.height or base.model.resolution
    least = factor * 2 ** (len(base.model.unet.config.block_out_channels) - 1)
    for field, side in (("width", width), ("height", height)):
        if side < least or side % factor:
            raise JobError(
                f"this base model makes pictures of {least} pixels a side or more, in steps of {factor}",
                kind="InvalidArgument",
                reason="PICTURE_SIZE_UNSUPPORTED",
                field=field,
            )
    return base.model.latent_channels, height // factor, width // factor
