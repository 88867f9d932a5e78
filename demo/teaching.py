"""How the demo teaches brands' voices to its language model, through the public SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from brandloom import (
    AsyncClient,
    BaseModel,
    DatasetRevision,
    JobArtifactKind,
    TrainingJob,
    TrainingOptions,
    TrainingSpec,
)
from demo.brands.voices import BrandVoice, voice_lines

DATASET: Final = "voice-texts"
_MAX_NEW_TOKENS: Final = 64


async def seal_texts(client: AsyncClient, voice: BrandVoice, folder: Path) -> DatasetRevision:
    """Writes the brand's texts to a file, uploads and seals them."""
    path = await asyncio.to_thread(_written, voice, folder)
    dataset = await client.datasets.create(voice.brand, DATASET, description=f"How {voice.brand} speaks")
    await client.texts.upload(dataset, path)
    return await client.datasets.seal(dataset, note="for the demo")


async def submit_voices(
    client: AsyncClient,
    revisions: Mapping[BrandVoice, DatasetRevision],
    language_model: BaseModel,
    questions: Sequence[str],
    options: TrainingOptions,
) -> list[TrainingJob]:
    """Queues one job for each voice, which answers the questions at its end."""
    asked: TrainingOptions = {
        **options,
        "sample_prompts": tuple(questions),
        "sample_max_new_tokens": _MAX_NEW_TOKENS,
    }
    jobs = []
    for voice, revision in revisions.items():
        spec = TrainingSpec.build(f"{voice.brand}/{voice.lora}", revision, base_model=language_model, **asked)
        jobs.append(await client.training.create(spec, display_name=f"the voice of {voice.brand}"))
    return jobs


async def answers(client: AsyncClient, job: TrainingJob, folder: Path) -> dict[str, str]:
    """What the job's LoRA answers to each question: its sample files."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    said = {}
    for artifact in job.artifacts:
        if artifact.kind is JobArtifactKind.SAMPLE:
            path = await client.training.download(job, artifact, folder)
            said[artifact.prompt] = await asyncio.to_thread(path.read_text, "utf-8")
    return said


def base_answers(folder: Path, questions: Sequence[str]) -> dict[str, str]:
    """What the base alone answers, by the likeliest words. No service generates texts, so it is loaded."""
    # Not at the top: nothing else of the demo's own process needs torch.
    import torch
    from transformers.utils import logging

    from lorakit.families.causal_lm import load_language_model
    from lorakit.families.conversation import encode_prompt

    logging.disable_progress_bar()
    base = load_language_model(folder)
    said = {}
    for question in questions:
        ids_BT = torch.tensor([encode_prompt(base.tokenizer, question)])
        made_BT = base.model.generate(
            input_ids=ids_BT,
            attention_mask=torch.ones_like(ids_BT),
            max_new_tokens=_MAX_NEW_TOKENS,
            do_sample=False,
        )
        said[question] = base.tokenizer.decode(made_BT[0, ids_BT.shape[1] :], skip_special_tokens=True)
    return said


def _written(voice: BrandVoice, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{voice.brand}.jsonl"
    path.write_bytes(voice_lines(voice))
    return path
