"""From a job to what all its rows share: base, schedule, stack and text embeddings.

N tokens, D features.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from lorakit.samplers import RowPlan, SamplingRow
from services.inference.domain_jobs import ImageJob, Started
from services.inference.engine.bases import Bases, LoadedBase
from services.inference.engine.bucket import BatchRow
from services.inference.engine.errors import JobError
from services.inference.engine.stacks import FoldedStack, Stacks
from services.inference.engine.texts import TextRow, Texts

BucketKey = tuple[str, tuple[int, int, int], int]
"""(base digest, latent shape, context length): rows that agree in these share forward passes."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job that is ready for its rows to join the batch."""

    job: ImageJob
    base: LoadedBase
    plan: RowPlan
    stack: FoldedStack
    prompt_ND: torch.Tensor
    negative_ND: torch.Tensor | None
    shape_CHW: tuple[int, int, int]
    attach_seconds: float

    @property
    def bucket_key(self) -> BucketKey:
        """Where its rows belong."""
        return self.base.model.sha256, self.shape_CHW, self.prompt_ND.shape[0]

    def started(self) -> Started:
        """What the caller is told before the first step."""
        factor = self.base.model.vae_scale_factor
        return Started(
            width=self.shape_CHW[2] * factor,
            height=self.shape_CHW[1] * factor,
            karras=self.base.karras(self.job.karras, self.job.sampler),
            model_hashes=self.stack.model_hashes,
            attach_seconds=self.attach_seconds,
        )

    def row(self, index: int) -> BatchRow:
        """The row of one picture, at its first step."""
        seed = self.job.seed + index
        return BatchRow(
            job_id=self.job.job_id,
            index=index,
            seed=seed,
            sampling=SamplingRow.start(self.plan, seed, self.shape_CHW, self.base.model.device),
            guidance=self.job.guidance,
            prompt_ND=self.prompt_ND,
            negative_ND=self.negative_ND,
            adapter=self.stack.unet,
        )


@dataclass(frozen=True, slots=True)
class Preparation:
    """Base models, stacks and text embeddings, each loaded or made once and kept within its budget."""

    bases: Bases
    stacks: Stacks
    texts: Texts

    @torch.inference_mode()
    def prepare(self, job: ImageJob) -> Prepared:
        """Raises JobError for whatever is wrong with the job's own inputs."""
        base = self.bases.get(job.base)
        shape_CHW = _latent_shape(job, base)
        plan = base.plan(job.sampler, job.steps, base.karras(job.karras, job.sampler))
        asked = time.perf_counter()
        stack = self.stacks.fold(job.loras, base)
        attach_seconds = time.perf_counter() - asked
        # At a guidance of 1 or below the negative prompt has no say, and no second forward is made.
        texts = [job.prompt, job.negative_prompt] if job.guidance > 1 else [job.prompt]
        rows = [TextRow(text, stack.text_encoder, job.clip_skip) for text in texts]
        embeddings = self.texts.encode(rows, base)
        negative_ND = embeddings[1] if job.guidance > 1 else None
        return Prepared(job, base, plan, stack, embeddings[0], negative_ND, shape_CHW, attach_seconds)


def _latent_shape(job: ImageJob, base: LoadedBase) -> tuple[int, int, int]:
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
