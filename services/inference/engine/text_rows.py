"""One text in the making."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from services.inference.domain_texts import FinishReason, TextFinished
from services.inference.engine.text_pieces import Pieces, StopWords
from services.inference.engine.text_preparation import PreparedText
from services.inference.engine.text_sampling import Chooser


@dataclass(slots=True, eq=False)
class TextRow:
    """A row of the batch: what it has, and how it goes on."""

    prepared: PreparedText
    chooser: Chooser
    pieces: Pieces
    length: int = 0
    """Tokens whose keys and values are in its slot."""
    generated: int = 0
    token: int = 0
    """The newest, which passes the model next."""

    @classmethod
    def start(cls, prepared: PreparedText) -> TextRow:
        """A row whose prompt is still to pass the model."""
        sampling, base = prepared.job.sampling, prepared.base
        return cls(
            prepared=prepared,
            chooser=Chooser.start(sampling, prepared.prompt_ids, base.word_count, base.device),
            pieces=Pieces(StopWords(sampling.stop)),
        )

    @property
    def job_id(self) -> str:
        """Its job; a job has one row."""
        return self.prepared.job.job_id

    @property
    def waiting_prompt(self) -> Sequence[int]:
        """The part of its prompt that has not passed the model."""
        return self.prepared.prompt_ids[self.length :]

    def choose(self, scores_V: torch.Tensor) -> torch.Tensor:
        """Its next token, without dimensions. Raises JobError."""
        grammar = self.prepared.grammar
        return self.chooser.choose(grammar.allow(scores_V) if grammar else scores_V)

    def take(self, token: int) -> tuple[str, FinishReason | None]:
        """Go on by a token: the next piece of the text, and why it ended if it did. Raises JobError."""
        base, grammar = self.prepared.base, self.prepared.grammar
        self.token = token
        self.generated += 1
        self.chooser.note(token)
        if token in base.language.end_ids:
            return self.pieces.rest(), FinishReason.STOP
        complete = grammar.take(token) if grammar else False
        text, stopped = self.pieces.feed(base.bytes_of(token))
        if stopped:
            return text, FinishReason.STOP
        if complete:
            return text + self.pieces.rest(), FinishReason.STOP
        if len(self.prepared.prompt_ids) + self.generated >= self.prepared.most_tokens:
            return text + self.pieces.rest(), FinishReason.LENGTH
        return text, None

    def finished(self, reason: FinishReason) -> TextFinished:
        """What the caller is told at the end."""
        return TextFinished(
            reason=reason,
            prompt_tokens=len(self.prepared.prompt_ids),
            generated_tokens=self.generated,
        )
