"""From a job to a row that can join: base, stack, tokens and grammar, made in threads beside the decoding."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from lorakit.errors import TextError
from lorakit.families.conversation import encode_beginning, encode_question
from lorakit.routing import RowAdapter
from services.inference.domain_texts import TextJob
from services.inference.engine.errors import JobError
from services.inference.engine.held_bases import HeldBases
from services.inference.engine.text_bases import TextBase
from services.inference.engine.text_grammar import Grammar
from services.inference.engine.text_slots import slot_tokens
from services.inference.engine.text_stacks import TextStacks


@dataclass(frozen=True, slots=True)
class PreparedText:
    """A job that is ready for its row to join."""

    job: TextJob
    base: TextBase
    adapter: RowAdapter | None
    prompt_ids: Sequence[int]
    grammar: Grammar | None

    @property
    def most_tokens(self) -> int:
        """Tokens that the text may have, its prompt counted."""
        return min(len(self.prompt_ids) + self.job.sampling.max_tokens, self.base.language.max_tokens)


@dataclass(frozen=True, slots=True)
class TextPreparation:
    """Base models, stacks and prompts; used from several threads."""

    bases: HeldBases[TextBase]
    stacks: TextStacks
    budget_bytes: int
    """For keys and values of all rows together."""
    _tokenizing: threading.Lock = field(default_factory=threading.Lock)
    """transformers' tokenizers are not made for several threads."""

    def prepare(self, job: TextJob) -> PreparedText:
        """Raises JobError for whatever is wrong with the job's own inputs."""
        base = self.bases.get(job.base)
        prepared = PreparedText(
            job=job,
            base=base,
            adapter=self.stacks.fold(job.loras, base),
            prompt_ids=self._encode(job, base),
            grammar=_grammar(job, base),
        )
        self._check_room(prepared)
        return prepared

    def _encode(self, job: TextJob, base: TextBase) -> Sequence[int]:
        with self._tokenizing:
            return _encode(job, base)

    def _check_room(self, prepared: PreparedText) -> None:
        needed = slot_tokens(prepared.most_tokens) * prepared.base.token_bytes
        if needed > self.budget_bytes:
            raise JobError(
                f"{len(prepared.prompt_ids)} tokens of the prompt and {prepared.job.sampling.max_tokens} to "
                f"generate need {needed} bytes for keys and values; there are {self.budget_bytes}",
                kind="InvalidArgument",
                reason="TEXT_TOO_LONG",
                field="max_tokens",
            )


def _encode(job: TextJob, base: TextBase) -> Sequence[int]:
    place = "messages" if job.messages else "prompt"
    tokenizer = base.language.tokenizer
    try:
        if job.messages:
            ids = encode_question(tokenizer, [asdict(message) for message in job.messages])
        else:
            ids = encode_beginning(tokenizer, job.prompt)
    except TextError as error:
        raise _refused(place, "CHAT_TEMPLATE_REFUSES", str(error)) from error
    most = base.language.max_tokens
    if not ids:
        raise _refused(place, "PROMPT_EMPTY", "has no tokens, so there is nothing to go on from")
    if len(ids) >= most:
        raise _refused(
            place,
            "PROMPT_TOO_LONG",
            f"has {len(ids)} tokens; this base model takes {most}, the generated ones counted",
        )
    return ids


def _grammar(job: TextJob, base: TextBase) -> Grammar | None:
    schema = job.sampling.json_schema
    if not schema:
        return None
    if not base.language.end_ids:
        raise _refused(
            "json_schema", "JSON_SCHEMA_UNSUPPORTED", "this base model has no word that ends a text"
        )
    return Grammar(base.words, schema)


def _refused(field: str, reason: str, message: str) -> JobError:
    return JobError(message, kind="InvalidArgument", reason=reason, field=field)
