"""Texts of many stacks in one batch are those that transformers and PEFT write one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForCausalLM

from services.inference.domain_jobs import LoraFile
from services.inference.domain_texts import TextJob
from services.inference.engine.text_batch import Scored, TextBatch
from services.inference.engine.text_rows import TextRow
from tests.fixtures.text_loop import TextHarness
from tests.fixtures.tiny_lm import save_tiny_lm

PROMPTS = (
    "What do you sell?",
    "Hi",
    "Write a line for the summer sale. Bright days, bold prices! Say more:",
    "Cat",
)
TOKENS = 12

pytestmark = [
    # PEFT asks transformers for what is to go, and remarks on what is the point here.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning"),
    pytest.mark.filterwarnings("ignore:fan_in_fan_out"),
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning"),
]


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_lm(tmp_path_factory.mktemp("texts") / "tiny", request.param)


@pytest.fixture
def harness(directory: Path) -> TextHarness:
    return TextHarness(directory)


def stock_ids(harness: TextHarness, prompt: str, loras: Sequence[LoraFile], **settings: Any) -> list[int]:
    """What transformers' own generate makes of it, the LoRAs put together by PEFT."""
    model: Any = AutoModelForCausalLM.from_pretrained(harness.directory)
    for index, lora in enumerate(loras):
        folder = Path(lora.path).parent
        if index == 0:
            model = PeftModel.from_pretrained(model, folder, adapter_name="0")
        else:
            model.load_adapter(folder, adapter_name=str(index))
    if loras:
        names = [str(index) for index in range(len(loras))]
        layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
        for layer, name, lora in [(a, n, lora) for a in layers for n, lora in zip(names, loras, strict=True)]:
            layer.scaling[name] *= lora.weight
        model.base_model.set_adapter(names)
    inputs = harness.plain.tokenizer(prompt, return_tensors="pt")
    if inputs.input_ids[0, -1] == harness.plain.tokenizer.eos_token_id:
        inputs = {name: value[:, :-1] for name, value in inputs.items()}
    made = model.generate(**inputs, do_sample=False, max_new_tokens=TOKENS, **settings)
    return list(made[0, inputs["input_ids"].shape[1] :])


def text_of(harness: TextHarness, ids: Sequence[int]) -> str:
    return harness.plain.tokenizer.decode(ids, skip_special_tokens=True)


def test_a_mixed_batch_writes_what_stock_writes_alone(harness: TextHarness) -> None:
    stacks = [
        (),
        (harness.lora(1, 1.0),),
        (harness.lora(1, 0.5), harness.lora(2, -0.7, rank=8)),
        (harness.lora(3, 1.5),),
    ]
    jobs = [
        harness.job(str(index), prompt, loras=loras, max_tokens=TOKENS)
        for index, (prompt, loras) in enumerate(zip(PROMPTS, stacks, strict=True))
    ]
    harness.run(*jobs)
    assert max(figures.rows for figures in harness.figures) == 4
    for index, (prompt, loras) in enumerate(zip(PROMPTS, stacks, strict=True)):
        ids = stock_ids(harness, prompt, loras)
        assert harness.finished(str(index)).generated_tokens == len(ids)
        assert harness.text(str(index)).rstrip("\ufffd") == text_of(harness, ids).rstrip("\ufffd")
    assert len({harness.text(str(index)) for index in range(4)}) == 4


def test_scores_in_company_are_those_alone(harness: TextHarness) -> None:
    """Not only the likeliest word: all scores, of every step, with stacks and without."""
    jobs = [
        harness.job("plain", PROMPTS[0]),
        harness.job("one", PROMPTS[1], loras=(harness.lora(1, 0.8),)),
        harness.job("two", PROMPTS[2], loras=(harness.lora(2, -0.5, rank=8), harness.lora(3, 1.2))),
        harness.job("same", PROMPTS[3], loras=(harness.lora(1, 0.8),)),
    ]
    together = scores_of(harness, jobs)
    for job in jobs:
        (alone,) = scores_of(harness, [job]).values()
        assert torch.allclose(together[job.job_id], alone, rtol=0, atol=1e-4)


def scores_of(harness: TextHarness, jobs: Sequence[TextJob]) -> dict[str, torch.Tensor]:
    """Scores [steps, words] of each job's text, whose words are given and the same every time."""
    prepared = [harness.loop.preparation.prepare(job) for job in jobs]
    batch = TextBatch(prepared[0].base)
    for text in prepared:
        batch.join(TextRow.start(text))
    found: dict[str, list[torch.Tensor]] = {job.job_id: [] for job in jobs}

    def note(scored: Scored) -> None:
        for row, scores_V in zip(scored.rows, scored.scores_BV, strict=True):
            row.token = len(found[row.job_id]) * 7 + 5
            found[row.job_id].append(scores_V)

    while rows := batch.prompt_rows():
        note(batch.pass_prompts(rows))
    for _ in range(6):
        note(batch.decode(batch.decoding_rows))
    return {job_id: torch.stack(steps) for job_id, steps in found.items()}
