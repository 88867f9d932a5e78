"""Sample texts of an adapter as it stands: what its owner reads while it trains.

P prompts, padded on the left to T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from transformers import GenerationConfig

from lorakit.errors import TextError
from lorakit.families.causal_lm import LanguageModel
from lorakit.families.conversation import encode_prompt
from lorakit.families.naming import LANGUAGE_MODEL
from lorakit.routing import Segment, SegmentRouting, routed
from lorakit.trainable import TrainableAdapter
from services.trainer.engine.fault import TEXT_TOO_LONG, TEXT_UNUSABLE, EngineFault
from services.trainer.engine.items import SampleSettings


@torch.no_grad()
def sample_texts(
    base: LanguageModel,
    parameters: TrainableAdapter,
    prompts: Sequence[str],
    settings: SampleSettings,
    *,
    autocast: torch.dtype | None,
) -> list[str]:
    """The answer to each prompt, without the prompt.

    Chance comes from the seed alone: training goes on as if no text had been made. Raises EngineFault naming
    a prompt that the base cannot read.
    """
    if not prompts:
        return []
    encoded = [_encoded(base, prompt, number) for number, prompt in enumerate(prompts, start=1)]
    longest = max(map(len, encoded))
    ids_PT = torch.tensor([[0] * (longest - len(ids)) + list(ids) for ids in encoded])
    lengths_P = torch.tensor([len(ids) for ids in encoded])
    mask_PT = torch.arange(longest) >= longest - lengths_P[:, None]
    segment = Segment(rows=len(prompts), modules=parameters.components[LANGUAGE_MODEL])
    devices = [base.device] if base.device.type == "cuda" else []
    with ExitStack() as stack:
        if autocast is not None:
            stack.enter_context(torch.autocast(base.device.type, dtype=autocast))
        # The library draws from the process's generator, which is put back as it was.
        stack.enter_context(torch.random.fork_rng(devices))
        torch.manual_seed(settings.seed)
        stack.enter_context(routed(base.model, SegmentRouting([segment])))
        made = base.model.generate(
            ids_PT.to(base.device),
            attention_mask=mask_PT.long().to(base.device),
            generation_config=_generation(base, settings, base.max_tokens - longest),
        )
    answers: list[str] = base.tokenizer.batch_decode(made[:, longest:], skip_special_tokens=True)
    return [answer.strip() for answer in answers]


def _encoded(base: LanguageModel, prompt: str, number: int) -> tuple[int, ...]:
    try:
        ids = encode_prompt(base.tokenizer, prompt)
    except TextError as error:
        raise EngineFault(TEXT_UNUSABLE, f"sample prompt {number} cannot be used: {error}") from error
    if not ids or len(ids) >= base.max_tokens:
        raise EngineFault(
            TEXT_TOO_LONG,
            f"sample prompt {number} has {len(ids)} tokens, the base model reads {base.max_tokens} at most",
        )
    return ids


def _generation(base: LanguageModel, settings: SampleSettings, room: int) -> GenerationConfig:
    drawn = settings.temperature > 0.0
    ends = list(base.end_ids)
    return GenerationConfig(
        max_new_tokens=min(settings.max_new_tokens, room),
        do_sample=drawn,
        **({"temperature": settings.temperature, "top_k": 0, "top_p": 1.0} if drawn else {}),
        eos_token_id=ends or None,
        pad_token_id=ends[0] if ends else 0,
    )
