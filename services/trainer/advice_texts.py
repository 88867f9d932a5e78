"""Advice on training with texts, judged from the spec and the texts. Never blocks a job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from services.trainer.advice import Advice
from services.trainer.spec import Optimizer, TrainingSpec, steps_per_epoch
from services.trainer.text_manifest import Text

FEW_TEXTS: Final = 20
MANY_EPOCHS: Final = 20
HIGHEST_LEARNING_RATE: Final = 1e-3


def advise_on_texts(spec: TrainingSpec, texts: Sequence[Text]) -> tuple[Advice, ...]:
    """All advice on training `spec` over `texts` (the training split)."""
    return (*_on_set(spec, texts), *_on_rate(spec))


def texts_unchecked(why: str) -> Advice:
    """The texts may be too long for the base: nobody has looked."""
    return Advice(
        "TEXT_LENGTHS_UNCHECKED",
        "dataset_revision",
        f"whether all texts fit into the base model will show when the job begins: {why}",
    )


def _on_set(spec: TrainingSpec, texts: Sequence[Text]) -> Iterator[Advice]:
    if len(texts) < FEW_TEXTS:
        yield Advice(
            "FEW_TEXTS",
            "dataset_revision",
            f"{len(texts)} texts are few (under {FEW_TEXTS}): their words are learned, not their voice",
        )
    epochs = spec.total_steps(len(texts)) / steps_per_epoch(spec.optimization.batch_size, len(texts))
    if epochs > MANY_EPOCHS:
        yield Advice(
            "MANY_EPOCHS",
            "optimization",
            f"every text is seen {epochs:.0f} times; over about {MANY_EPOCHS} the texts are learned by heart",
        )


def _on_rate(spec: TrainingSpec) -> Iterator[Advice]:
    rate = spec.optimization.learning_rate
    if spec.optimization.optimizer is not Optimizer.PRODIGY and rate > HIGHEST_LEARNING_RATE:
        yield Advice(
            "LEARNING_RATE_HIGH",
            "optimization.learning_rate",
            f"{rate:g} is high for a language model; large ones learn at 1e-4 to {HIGHEST_LEARNING_RATE:g}",
        )
