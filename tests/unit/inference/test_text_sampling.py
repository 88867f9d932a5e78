"""How the next token is chosen, against transformers' own logits processors."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from services.inference.domain_texts import LEAST_DIVISOR, Sampling
from services.inference.engine.text_sampling import Chooser, filter_scores, finite_rows

WORDS = 50
CPU = torch.device("cpu")


def scores(seed: int = 0) -> torch.Tensor:
    return torch.randn(WORDS, generator=torch.Generator().manual_seed(seed)) * 3


def stock(scores_V: torch.Tensor, sampling: Sampling, seen: list[int]) -> torch.Tensor:
    """In the order in which `generate` applies them."""
    processors = LogitsProcessorList()
    if sampling.repetition_penalty != 1.0:
        processors.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    processors.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        processors.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        processors.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p:
        processors.append(MinPLogitsWarper(sampling.min_p))
    filtered: torch.Tensor = processors(torch.tensor([seen]), scores_V[None].clone())[0]
    return filtered


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0.7),
        Sampling(top_k=5),
        Sampling(top_k=500),
        Sampling(top_p=0.6),
        Sampling(top_p=1e-6),
        Sampling(min_p=0.1),
        Sampling(repetition_penalty=1.7),
        Sampling(repetition_penalty=0.5, temperature=2.0, top_k=20, top_p=0.8, min_p=0.05),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_filters_are_those_of_transformers(sampling: Sampling, seed: int) -> None:
    seen = [3, 7, 7, 11]
    chooser = Chooser.start(sampling, seen, WORDS, CPU)
    chooser.note(13)
    ours = filter_scores(scores(seed), sampling, chooser._seen_V)
    expected = stock(scores(seed), sampling, [*seen, 13])
    assert torch.equal(ours.isfinite(), expected.isfinite())
    assert torch.allclose(ours[ours.isfinite()], expected[expected.isfinite()])


def test_words_are_drawn_as_often_as_they_are_probable() -> None:
    sampling = Sampling(top_k=4, seed=3)
    chooser = Chooser.start(sampling, [], WORDS, CPU)
    drawn = Counter(int(chooser.choose(scores())) for _ in range(4000))
    chances_V = filter_scores(scores(), sampling, None).softmax(0)
    assert set(drawn) <= set(chances_V.nonzero().flatten().tolist())
    for word, count in drawn.items():
        assert count / 4000 == pytest.approx(float(chances_V[word]), abs=0.04)


def test_a_seed_draws_the_same_words() -> None:
    def draw(seed: int) -> list[int]:
        chooser = Chooser.start(Sampling(seed=seed), [], WORDS, CPU)
        return [int(chooser.choose(scores(step))) for step in range(20)]

    assert draw(5) == draw(5)
    assert draw(5) != draw(6)


def test_a_temperature_of_zero_takes_the_likeliest() -> None:
    sampling = Sampling(temperature=0.0, top_k=3, top_p=0.2)
    assert int(Chooser.start(sampling, [], WORDS, CPU).choose(scores())) == int(scores().argmax())
    penalised = replace(sampling, repetition_penalty=10.0)
    chooser = Chooser.start(penalised, [int(scores().argmax())], WORDS, CPU)
    assert int(chooser.choose(scores())) != int(scores().argmax())


def test_the_least_divisors_leave_numbers() -> None:
    sampling = Sampling(temperature=LEAST_DIVISOR, repetition_penalty=LEAST_DIVISOR)
    chooser = Chooser.start(sampling, range(WORDS), WORDS, CPU)
    assert filter_scores(1000 * scores(), sampling, chooser._seen_V).isfinite().all()
    assert int(chooser.choose(1000 * scores())) == int(scores().argmax())


def test_scores_that_are_no_numbers_are_found() -> None:
    scores_BV = torch.stack([scores(0), scores(1), scores(2)])
    scores_BV[1, 4] = float("nan")
    assert finite_rows(scores_BV) == [True, False, True]
