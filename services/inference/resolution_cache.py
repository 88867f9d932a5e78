"""What references meant when the registry was last asked: bounded, and forgotten LoRA by LoRA."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from lorakit.prompt_syntax import parse_reference
from services.inference.domain_changes import LoraName
from services.inference.domain_jobs import BaseRef, ResolvedLora, ResolvedStack


@dataclass(frozen=True, slots=True)
class Question:
    """What a request asks of the registry. The brand is part of every key: short references are its own,
    and whether a caller may use it is settled before anybody looks here.
    """

    brand: str
    references: tuple[str, ...]
    base_model: str
    """`baseModels/{id}`, or empty: none is asked for."""

    @property
    def loras(self) -> Sequence[LoraName]:
        """The LoRAs that the references are about."""
        parsed = map(parse_reference, self.references)
        return [(reference.brand or self.brand, reference.name) for reference in parsed]


@dataclass(frozen=True, slots=True)
class Known:
    """An answer put together from the cache."""

    stack: ResolvedStack
    since: float
    """The monotonic moment at which the oldest part of it was asked for."""


_Key = tuple[str, str, str]
"""(brand, reference, base model)"""


class ResolutionCache:
    """Answers by brand, reference and base model; times are the caller's."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._loras: OrderedDict[LoraName, dict[_Key, tuple[ResolvedLora, float]]] = OrderedDict()
        """By the LoRA that they are about, the one used longest ago first."""
        self._catalogue: OrderedDict[tuple[str, str], tuple[BaseRef | None, float]] = OrderedDict()
        self._entries = 0

    def __len__(self) -> int:
        return self._entries

    def find(self, question: Question) -> Known | None:
        """The answer, if every part of it is there."""
        catalogue = self._catalogue.get((question.brand, question.base_model))
        if catalogue is None:
            return None
        self._catalogue.move_to_end((question.brand, question.base_model))
        base, since = catalogue
        loras: list[ResolvedLora] = []
        for name, key in _places(question):
            found = self._loras.get(name, {}).get(key)
            if found is None:
                return None
            self._loras.move_to_end(name)
            loras.append(found[0])
            since = min(since, found[1])
        return Known(ResolvedStack(loras=tuple(loras), base=base), since)

    def keep(self, question: Question, answer: ResolvedStack, since: float) -> None:
        """Remember an answer to a question that was asked at that moment."""
        self._catalogue[question.brand, question.base_model] = (answer.base, since)
        self._catalogue.move_to_end((question.brand, question.base_model))
        while len(self._catalogue) > self._max_entries:
            self._catalogue.popitem(last=False)
        for (name, key), lora in zip(_places(question), answer.loras, strict=True):
            entries = self._loras.setdefault(name, {})
            self._entries += key not in entries
            entries[key] = (lora, since)
            self._loras.move_to_end(name)
        while self._entries > self._max_entries:
            self._entries -= len(self._loras.popitem(last=False)[1])

    def forget(self, lora: LoraName) -> None:
        """Whatever is known of a LoRA may have changed."""
        self._entries -= len(self._loras.pop(lora, {}))

    def clear(self) -> None:
        """Everything may have changed."""
        self._loras.clear()
        self._catalogue.clear()
        self._entries = 0


def _places(question: Question) -> list[tuple[LoraName, _Key]]:
    keys = [(question.brand, reference, question.base_model) for reference in question.references]
    return list(zip(question.loras, keys, strict=True))
