"""Jobs that learn texts on a shared language model train as if each were alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from lorakit.adapter import Adapter, load_adapter
from lorakit.families.causal_lm import LanguageModel, load_language_model
from lorakit.families.naming import LANGUAGE_MODEL
from lorakit.peft_files import WEIGHTS_FILE, save_peft
from services.trainer.engine import EngineFault, Pack, TrainingText
from services.trainer.engine.causal_lm.data import cache_texts
from services.trainer.engine.causal_lm.rows import draw_texts
from tests.fixtures.tiny_lm import MAX_TOKENS, save_tiny_lm
from tests.fixtures.training_texts import DIFFERENT, job, text, texts, train

NewPack = Callable[..., Pack]


@pytest.fixture(scope="module", params=["llama", "qwen2", "mistral", "gpt2"])
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_lm(tmp_path_factory.mktemp("lm"), request.param)


@pytest.fixture(scope="module")
def any_base(directory: Path) -> LanguageModel:
    return load_language_model(directory)


def gradients(pack: Pack, job_id: str) -> dict[str, torch.Tensor]:
    """What the optimizer of a job is given in the next step."""
    trained = pack._jobs[job_id]
    found: dict[str, torch.Tensor] = {}
    update = trained.update

    def keep() -> None:
        for name, parameter in trained.parameters.named_parameters():
            if parameter.grad is not None:
                found[name] = parameter.grad.clone()
        update()

    trained.update = keep  # type: ignore[method-assign]
    pack.step()
    return found


def flat(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors.values()])


def delta(adapter: Adapter) -> torch.Tensor:
    return torch.cat([weights.delta().flatten() for _, _, weights in adapter.each()])


def tensors(pack: Pack, job_id: str) -> list[torch.Tensor]:
    return [tensor for _, _, w in pack.adapter(job_id).each() for tensor in (w.down_RD, w.up_OR)]


def test_gradients_are_those_of_the_job_alone(any_base: LanguageModel, new_text_pack: NewPack) -> None:
    alone = {}
    for name, each in DIFFERENT.items():
        pack = new_text_pack(any_base)
        pack.add(name, each, texts(seed=len(name)))
        pack.step()
        alone[name] = flat(gradients(pack, name))
    for name in DIFFERENT:
        pack = new_text_pack(any_base)
        for companion, each in DIFFERENT.items():
            pack.add(companion, each, texts(seed=len(companion)))
        pack.step()
        packed = flat(gradients(pack, name))
        assert alone[name].abs().max() > 1e-3
        assert torch.allclose(packed, alone[name], atol=1e-5, rtol=1e-4)


def test_results_are_those_of_the_jobs_alone(llama: LanguageModel, new_text_pack: NewPack) -> None:
    alone = {}
    for name, each in DIFFERENT.items():
        pack = new_text_pack(llama)
        pack.add(name, each, texts(seed=len(name)))
        alone[name] = [report.loss for report in train(pack)[name]], delta(pack.adapter(name))
    pack = new_text_pack(llama)
    for name, each in DIFFERENT.items():
        pack.add(name, each, texts(seed=len(name)))
    together = train(pack)
    for name, (losses, result) in alone.items():
        assert [report.loss for report in together[name]] == pytest.approx(losses, rel=1e-4)
        assert torch.allclose(delta(pack.adapter(name)), result, atol=1e-4)


def labels_of(base: LanguageModel, items: Sequence[TrainingText]) -> tuple[torch.Tensor, ...]:
    """Ids, mask and labels [N, T] as transformers wants them: the label of a token is the token itself."""
    data = cache_texts(base, items)
    (rows,) = draw_texts(data, range(len(items)), MAX_TOKENS)
    labels_NT = rows.targets_NT.roll(1, dims=1)
    mask_NT = torch.arange(rows.shape) < rows.lengths_N[:, None]
    return rows.ids_NT, mask_NT.long(), labels_NT


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning", "ignore:fan_in_fan_out")
def test_loss_and_gradients_are_those_of_transformers_and_peft(
    any_base: LanguageModel, directory: Path, new_text_pack: NewPack, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    items = [text("What of lamps?", "Lamps."), text("And chairs?", "We sell chairs and lamps.")]
    pack = new_text_pack(any_base)
    pack.add("a", job(rank=3, alpha=6.0, total_steps=6), items)
    train(pack, 3)
    save_peft(pack.adapter("a"), tmp_path, {}, base_model="base")
    probe = load_adapter(tmp_path / WEIGHTS_FILE, base_modules=pack.base_modules)

    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(directory), tmp_path, is_trainable=True
    ).eval()
    ids, mask, labels = labels_of(any_base, items)
    theirs = model(input_ids=ids, attention_mask=mask, labels=labels)
    theirs.loss.backward()

    pack.add("b", job(rank=3, alpha=6.0, max_gradient_norm=0.0), items, start_from=probe)
    pack.remove("a")
    ours = flat(gradients(pack, "b"))
    expected = dict(model.named_parameters())
    stock = []
    for name, path in (
        (name, name.removeprefix(f"{LANGUAGE_MODEL}/").rpartition("/"))
        for name, _ in pack._jobs["b"].parameters.named_parameters()
    ):
        part = "lora_A" if name.endswith("/down") else "lora_B"
        gradient = expected[f"base_model.model.{path[0]}.{part}.default.weight"].grad
        assert gradient is not None
        stock.append(gradient.flatten())
    assert torch.allclose(ours, torch.cat(stock), atol=1e-5)
    pack.remove("b")
    pack.add("c", job(rank=3, alpha=6.0), items, start_from=probe)
    assert train(pack, 1)["c"][0].loss == pytest.approx(theirs.loss.item(), abs=1e-5)


def test_texts_of_one_length_share_a_pass(
    llama: LanguageModel, new_text_pack: NewPack, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[tuple[int, ...]] = []
    forward = type(llama.model).forward

    def counted(self: Any, input_ids: torch.Tensor, **options: Any) -> Any:
        batches.append(tuple(input_ids.shape))
        return forward(self, input_ids, **options)

    monkeypatch.setattr(type(llama.model), "forward", counted)
    pack = new_text_pack(llama)
    pack.add("a", job(batch_size=1), [text("What of lamps?", "Lamps.")])
    pack.add("b", job(batch_size=2), [text("And chairs?", "Chairs!"), text("Hm", "We sell chairs. " * 6)])
    pack.step()
    lengths = sorted(length for _, length in batches)
    assert len(batches) == 2
    assert lengths[0] < lengths[1]
    assert sorted(rows for rows, _ in batches) == [1, 2]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_resuming_is_bit_for_bit(
    precision: str, llama: LanguageModel, new_text_pack: NewPack, tmp_path: Path
) -> None:
    def fresh(**checkpoints: Path) -> Pack:
        pack = new_text_pack(llama, precision)
        for name in ("plain", "dropped"):
            pack.add(name, DIFFERENT[name], texts(seed=len(name)), checkpoint=checkpoints.get(name))
        return pack

    pack = fresh()
    straight = train(pack)
    expected = {name: tensors(pack, name) for name in straight}
    pack = fresh()
    train(pack, 2)
    paths = {name: tmp_path / f"{name}.ckpt" for name in straight}
    for name, path in paths.items():
        pack.save_checkpoint(name, path)
    pack = fresh(**paths)
    rest = train(pack)
    for name, reports in straight.items():
        assert [report.loss for report in rest[name]] == [report.loss for report in reports[2:]]
        assert all(torch.equal(a, b) for a, b in zip(tensors(pack, name), expected[name], strict=True))
    pack = new_text_pack(llama, precision)
    with pytest.raises(EngineFault, match="data"):
        pack.add("plain", DIFFERENT["plain"], texts(seed=1), checkpoint=paths["plain"])


def test_recomputing_changes_nothing(llama: LanguageModel, new_text_pack: NewPack) -> None:
    found = []
    for recomputed in (False, True):
        pack = new_text_pack(llama)
        pack.add("a", job(dropout=0.2, gradient_checkpointing=recomputed), texts())
        found.append(flat(gradients(pack, "a")))
    assert torch.allclose(found[0], found[1], atol=1e-6)
