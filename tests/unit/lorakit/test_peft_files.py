"""LoRAs of language models in PEFT's files: what stock PEFT writes is read, and it reads what is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from lorakit.adapter import Adapter, LoraWeights, load_adapter
from lorakit.errors import LoraFormatError, LoraMismatchError
from lorakit.families.causal_lm import LanguageModel, load_language_model, target_modules
from lorakit.families.naming import LANGUAGE_MODEL
from lorakit.formats import FileFormat, inspect_file
from lorakit.metadata import TrainingFacts, build_text_metadata, read_metadata
from lorakit.peft_config import CONFIG_FILE
from lorakit.peft_files import WEIGHTS_FILE, save_peft
from lorakit.routing import Segment, SegmentRouting, install, routed, uninstall
from lorakit.safetensors_header import read_header
from lorakit.trainable import TrainableAdapter
from tests.fixtures.tiny_lm import save_tiny_lm

# What stock PEFT says of itself, and of GPT-2's transposed layers.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning"),
    pytest.mark.filterwarnings("ignore:fan_in_fan_out"),
]
IDS = torch.arange(5, 29).reshape(2, 12)
FACTS = TrainingFacts(
    output_name="marla",
    family="causal_lm",
    rank=3,
    alpha=6.0,
    title="marla",
    finished_at=datetime(2026, 1, 1, tzinfo=UTC),
    base_model_sha256="ab" * 32,
    trigger_words=("marla",),
    comment="brands/acme/trainingJobs/1",
)


@pytest.fixture(params=["llama", "gpt2"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LanguageModel]:
    loaded = load_language_model(save_tiny_lm(tmp_path / "base", request.param))
    install(loaded.model, loaded.layers)
    yield loaded
    uninstall(loaded.model)


def random_adapter(base: LanguageModel) -> Adapter:
    """With other ranks and alphas in the feed-forward layers of the first block."""
    generator = torch.Generator().manual_seed(3)
    modules = {}
    for path, shape in target_modules(base).items():
        odd = ".0.mlp." in path
        rank, alpha = (2, 5.0) if odd else (3, 6.0)
        modules[path] = LoraWeights(
            torch.randn(rank, shape.in_features, generator=generator) * 0.2,
            torch.randn(shape.out_features, rank, generator=generator) * 0.2,
            alpha,
        )
    return Adapter({LANGUAGE_MODEL: modules}, "causal_lm")


@torch.no_grad()
def our_logits(base: LanguageModel, adapter: Adapter) -> torch.Tensor:
    rank = max(weights.rank for _, _, weights in adapter.each())
    parameters = TrainableAdapter.create(
        {LANGUAGE_MODEL: target_modules(base)},
        rank=rank,
        alpha=1.0,
        generator=torch.Generator().manual_seed(0),
    )
    parameters.start_from(adapter)
    segment = Segment(rows=len(IDS), modules=parameters.components[LANGUAGE_MODEL])
    with routed(base.model, SegmentRouting([segment])):
        logits: torch.Tensor = base.model(IDS).logits
    return logits


@torch.no_grad()
def logits_of(model: Any) -> torch.Tensor:
    logits: torch.Tensor = model(IDS).logits
    return logits


def stock(directory: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(directory).eval()


def test_stock_peft_reads_what_is_written(base: LanguageModel, tmp_path: Path) -> None:
    adapter = random_adapter(base)
    saved = save_peft(adapter, tmp_path, build_text_metadata(FACTS), base_model="acme/base")
    plain = stock(tmp_path / "base")
    without = logits_of(plain)
    model = PeftModel.from_pretrained(plain, tmp_path).eval()
    assert torch.allclose(logits_of(model), our_logits(base, adapter), atol=1e-5)
    assert (logits_of(model) - without).abs().max() > 0.01
    assert (tmp_path / WEIGHTS_FILE).stat().st_size == saved.size_bytes


def test_files_come_back_as_they_were(base: LanguageModel, tmp_path: Path) -> None:
    adapter = random_adapter(base)
    first = save_peft(adapter, tmp_path, build_text_metadata(FACTS), base_model="base")
    again = save_peft(adapter, tmp_path, build_text_metadata(FACTS), base_model="base")
    assert first == again
    modules = {LANGUAGE_MODEL: dict(base.layers)}
    (tmp_path / CONFIG_FILE).unlink()
    found = load_adapter(tmp_path / WEIGHTS_FILE, base_modules=modules)
    assert found.family == "causal_lm"
    expected = {path: weights for _, path, weights in adapter.each()}
    for component, path, weights in found.each():
        assert component == LANGUAGE_MODEL
        assert torch.equal(weights.down_RD, expected[path].down_RD)
        assert torch.equal(weights.up_OR, expected[path].up_OR)
        assert weights.alpha == expected[path].alpha
    description = inspect_file(tmp_path / WEIGHTS_FILE)
    assert (description.format, description.family, description.rank) == (FileFormat.PEFT, "causal_lm", 3)
    told = read_metadata(description.metadata)
    assert (told.base_model_sha256, told.trigger_words, told.title) == ("ab" * 32, ("marla",), "marla")


@pytest.mark.parametrize("rank_scaled", [False, True])
def test_what_stock_peft_writes_is_read(rank_scaled: bool, tmp_path: Path) -> None:
    base = load_language_model(save_tiny_lm(tmp_path / "base"))
    torch.manual_seed(1)
    config = LoraConfig(
        r=4,
        lora_alpha=6,
        target_modules=["q_proj", "down_proj"],
        rank_pattern={"down_proj": 2},
        alpha_pattern={"down_proj": 3},
        use_rslora=rank_scaled,
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(stock(tmp_path / "base"), config).eval()
    model.save_pretrained(str(tmp_path / "theirs"))
    modules = {LANGUAGE_MODEL: dict(base.layers)}
    adapter = load_adapter(tmp_path / "theirs" / WEIGHTS_FILE, base_modules=modules)
    install(base.model, base.layers)
    assert torch.allclose(logits_of(model), our_logits(base, adapter), atol=1e-5)
    (tmp_path / "theirs" / CONFIG_FILE).unlink()
    with pytest.raises(LoraFormatError, match=r"alpha.*adapter_config.json"):
        load_adapter(tmp_path / "theirs" / WEIGHTS_FILE, base_modules=modules)


def test_a_file_for_another_base_is_refused(tmp_path: Path) -> None:
    llama = load_language_model(save_tiny_lm(tmp_path / "llama"))
    gpt2 = load_language_model(save_tiny_lm(tmp_path / "gpt2", "gpt2"))
    save_peft(random_adapter(llama), tmp_path, {}, base_model="base")
    with pytest.raises(LoraMismatchError, match="not in the base model"):
        load_adapter(tmp_path / WEIGHTS_FILE, base_modules={LANGUAGE_MODEL: dict(gpt2.layers)})
    with pytest.raises(LoraFormatError, match="not one for pictures"):
        load_adapter(tmp_path / WEIGHTS_FILE, base_modules={"unet": {}})


def test_nothing_broken_is_written(tmp_path: Path) -> None:
    weights = LoraWeights(torch.ones(1, 2), torch.full((2, 1), torch.nan), 1.0)
    for components, why in (
        ({LANGUAGE_MODEL: {"a": weights}}, "not finite"),
        ({LANGUAGE_MODEL: {}}, "no modules"),
        ({"unet": {"a": weights}}, "unet"),
    ):
        with pytest.raises(LoraFormatError, match=why):
            save_peft(Adapter(components, "causal_lm"), tmp_path, {}, base_model="x")
    assert list(tmp_path.iterdir()) == []


def test_the_header_holds_the_config(tmp_path: Path) -> None:
    weights = LoraWeights(torch.ones(1, 2), torch.ones(2, 1), 4.0)
    save_peft(Adapter({LANGUAGE_MODEL: {"a": weights}}, "causal_lm"), tmp_path, {}, base_model="x")
    text = read_header(tmp_path / WEIGHTS_FILE).metadata["lora_adapter_metadata"]
    assert json.loads(text) == json.loads((tmp_path / CONFIG_FILE).read_text())
