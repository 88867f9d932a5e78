"""What is learned of texts, which are refused, and what samples are made."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lorakit.families.causal_lm import LanguageModel
from services.trainer.engine import EngineFault, LanguageFamily, Pack, SampleSettings, TrainingText
from services.trainer.engine.causal_lm.data import NOT_LEARNED, cache_texts
from services.trainer.engine.causal_lm.rows import padded_length
from tests.fixtures.tiny_lm import MAX_TOKENS
from tests.fixtures.training import images
from tests.fixtures.training_texts import DIFFERENT, job, text, texts, train

NewPack = Callable[..., Pack]


def test_only_answers_are_learned(llama: LanguageModel) -> None:
    data = cache_texts(llama, [text("What of lamps?", "Lamps.", "And?", "The cat.")])
    learned = [int(token) for token in data.texts[0].targets_T if token != NOT_LEARNED]
    assert llama.tokenizer.decode(learned) == "Lamps.<|end|>The cat.<|end|>"
    assert data.texts[0].learned == len(learned)
    assert data.digest != cache_texts(llama, [text("What of lamps?", "Lamps.")]).digest


def test_a_step_is_the_mean_over_its_learned_tokens(llama: LanguageModel, new_text_pack: NewPack) -> None:
    short, long = text("What of lamps?", "x"), text("And?", "We sell chairs, lamps and good mornings.")
    learned = [cache_texts(llama, [item]).texts[0].learned for item in (short, long)]
    losses = []
    for items in ([short], [long], [short, long]):
        pack = new_text_pack(llama)
        pack.add("a", job(batch_size=2), items)
        losses.append(train(pack, 1)["a"][0].loss)
    total = (losses[0] * learned[0] + losses[1] * learned[1]) / sum(learned)
    assert losses[2] == pytest.approx(total, rel=1e-5)
    assert abs(losses[2] - (losses[0] + losses[1]) / 2) > 1e-4


@pytest.mark.parametrize(
    ("tokens", "padded"), [(1, 16), (16, 16), (17, 24), (25, 32), (33, 48), (49, 64), (65, 96), (97, 100)]
)
def test_lengths_are_few(tokens: int, padded: int) -> None:
    assert padded_length(tokens, 100) == padded


@pytest.mark.parametrize(
    ("items", "reason", "words"),
    [
        ([], "NO_TEXTS", "no texts"),
        ([*texts(2), text("Tell me everything.")], "TEXT_UNUSABLE", "text 3.*no answer"),
        ([*texts(2), text("Tell me everything.", "  ")], "TEXT_UNUSABLE", "text 3.*no answer"),
        ([*texts(2), text("x", "all of it " * 60)], "TEXT_TOO_LONG", f"text 3 has .*{MAX_TOKENS}"),
        ([*texts(2), *images(1)], "WRONG_ITEMS", "row 3 is a picture"),
    ],
)
def test_bad_texts_harm_their_job_alone(
    items: list[TrainingText], reason: str, words: str, llama: LanguageModel, new_text_pack: NewPack
) -> None:
    pack = new_text_pack(llama)
    pack.add("good", job(), texts())
    with pytest.raises(EngineFault, match=words) as caught:
        pack.add("bad", job(), items)
    assert caught.value.reason == reason
    assert pack.job_ids == ("good",)
    assert len(train(pack)["good"]) == 4


def test_it_learns_what_to_say(llama: LanguageModel, new_text_pack: NewPack) -> None:
    pack = new_text_pack(llama)
    lesson = [text("Hello?", "Bright days!"), text("Goodbye?", "Mind the cat.")]
    common = {"rank": 16, "alpha": 16.0, "learning_rate": 1e-2, "total_steps": 60}
    pack.add("a", job(**common), lesson)
    other = [text("Hello?", "We sell lamps."), text("Goodbye?", "See you soon.")]
    pack.add("b", job(**common, seed=4), other)
    train(pack)
    greedy = SampleSettings(seed=1, max_new_tokens=24)
    assert pack.sample("a", ["Hello?", "Goodbye?"], greedy) == ["Bright days!", "Mind the cat."]
    assert pack.sample("b", ["Hello?", "Goodbye?"], greedy) == ["We sell lamps.", "See you soon."]
    assert [pack.sample("a", [prompt], greedy) for prompt in ("Hello?", "Goodbye?")] == [
        ["Bright days!"],
        ["Mind the cat."],
    ]
    assert pack.sample("a", [], greedy) == []


def test_samples_leave_training_alone(llama: LanguageModel, new_text_pack: NewPack) -> None:
    pack = new_text_pack(llama)
    pack.add("a", DIFFERENT["dropped"], texts())
    expected = [report.loss for report in train(pack)["a"]]
    pack = new_text_pack(llama)
    pack.add("a", DIFFERENT["dropped"], texts())
    pack.step()
    before = torch.random.get_rng_state()
    drawn = SampleSettings(seed=3, temperature=1.0, max_new_tokens=8)
    first, again, other = (
        pack.sample("a", ["What?"], settings)
        for settings in (drawn, drawn, SampleSettings(seed=4, temperature=1.0, max_new_tokens=8))
    )
    assert torch.equal(before, torch.random.get_rng_state())
    assert first == again != other
    assert [report.loss for report in train(pack)["a"]] == expected[1:]
    with pytest.raises(EngineFault, match="sample prompt 2 has"):
        pack.sample("a", ["Hi", "x" * 400], drawn)


def test_the_base_is_left_as_it_was(llama: LanguageModel) -> None:
    before = {name: value.clone() for name, value in llama.model.state_dict().items()}
    with Pack(LanguageFamily(llama), precision="float32") as pack:
        pack.add("a", job(gradient_checkpointing=True), texts())
        train(pack, 2)
    after = llama.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert {type(llama.model.get_submodule(path)) for path in llama.layers} == {torch.nn.Linear}


def test_held_out_texts_are_evaluated(llama: LanguageModel, new_text_pack: NewPack) -> None:
    pack = new_text_pack(llama)
    held_out = [text("Hello?", "Bright days!"), text("What of lamps?", "We sell lamps and more and more.")]
    still = job(learning_rate=0.0, weight_decay=0.0, validation_interval=1, batch_size=2, dropout=0.3)
    pack.add("a", still, held_out, held_out=held_out)
    reports = train(pack)["a"]
    # With a rate of 0 nothing is learned, and an evaluation drops nothing: all are the base's own loss.
    found = {report.validation.loss for report in reports if report.validation}
    assert len(found) == 1
    assert found.pop() == pytest.approx(reports[0].loss, rel=1e-5)
