"""Trains the tiny language model on talk in the shop of the drawn world, and measures what it says.

B rows of T tokens.
"""

from __future__ import annotations

import math
import random
import textwrap
import time
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from demo.recipe.clock import Average, Budget, attention_kernel, device, mixed_precision, set_rate
from demo.recipe.saving import read_as_float32
from demo.world.talk import Exchange, in_plain_voice, sample_exchange

WORDS = 512
MAX_TOKENS = 128
PEAK_RATE = 4e-3
BATCH = 64
PROMPTS = 200
SPECIAL = ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content | trim }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_IGNORED = -100


def train_writer(directory: Path, seconds: float, *, made: str, seed: int = 4) -> dict[str, Any]:
    """Trains for so many seconds, saves in float16 with a card; gives the scores."""
    torch.manual_seed(seed)
    rng, where = random.Random(seed), device()
    tokenizer = learn_tokenizer(random.Random(seed + 1))
    model: Any = new_model(len(tokenizer), SPECIAL.index("<|end|>")).to(where)  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.05, betas=(0.9, 0.98))
    average, budget, began = Average(model, 0.998), Budget(seconds), time.monotonic()
    while budget.spent < 1.0:
        ids_BT, labels_BT = _batch(tokenizer, rng)
        set_rate(optimizer, budget.rate(PEAK_RATE))
        with mixed_precision(where), attention_kernel(where):
            logits = model(ids_BT.to(where)).logits
        loss = _loss(logits, labels_BT.to(where))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(model)
        if average.steps % 50 == 0:
            print(f"writer: step {average.steps}, {time.monotonic() - began:.0f} s, loss {loss.item():.3f}")
    model.load_state_dict(average.weights)
    scores = {
        **measure(model, tokenizer),
        "steps": average.steps,
        "parameters": model.num_parameters(),
        "made": made,
    }
    model.to("cpu", torch.float16).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    read_as_float32(directory)
    (directory / "README.md").write_text(card(scores))
    return scores


def learn_tokenizer(rng: random.Random) -> PreTrainedTokenizerFast:
    """Byte-level BPE, learned on talk; every text can be written with it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(
        vocab_size=WORDS,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    exchanges = [sample_exchange(rng) for _ in range(4000)]
    tokenizer.train_from_iterator(
        (f"{exchange.prompt} {in_plain_voice(exchange, rng)}" for exchange in exchanges), trainer
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=SPECIAL[0],
        pad_token=SPECIAL[0],
        model_max_length=MAX_TOKENS,
        chat_template=CHAT_TEMPLATE,
    )


def new_model(words: int, end: int) -> LlamaForCausalLM:
    """About a million parameters."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=words,
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=5,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=MAX_TOKENS,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=end,
            pad_token_id=end,
        )
    )


def measure(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """The loss of held-out answers, and the share of held-out prompts whose greedy answer holds its facts."""
    rng = random.Random(99)
    model.eval()
    losses, right = [], 0
    for _ in range(PROMPTS):
        exchange = sample_exchange(rng, held_out=True)
        ids_T, labels_T = _row(tokenizer, exchange, in_plain_voice(exchange, rng), answers_only=True)
        with torch.no_grad():
            logits = model(ids_T[None].to(model.device)).logits
        losses.append(_loss(logits, labels_T[None].to(model.device)).item())
        said = answer(model, tokenizer, exchange.prompt)
        right += all(fact in said for fact in exchange.facts)
    loss = sum(losses) / len(losses)
    return {"prompts": PROMPTS, "right": right / PROMPTS, "loss": loss, "perplexity": math.exp(loss)}


def answer(model: Any, tokenizer: Any, prompt: str) -> str:
    """What the model says to a prompt, choosing the likeliest token each time."""
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )
    ids_1T = tokenizer(text, return_tensors="pt").input_ids.to(model.device)
    made = model.generate(ids_1T, attention_mask=torch.ones_like(ids_1T), max_new_tokens=64, do_sample=False)
    return str(tokenizer.decode(made[0, ids_1T.shape[1] :], skip_special_tokens=True)).strip()


def card(scores: dict[str, Any]) -> str:
    """The model card, from the measured scores."""
    made = textwrap.fill(f"- **How these files were made**: {scores['made']}", 105, subsequent_indent="  ")
    return _CARD.format(
        **{**scores, "made": made}, millions=scores["parameters"] / 1e6, context=MAX_TOKENS, words=WORDS
    )


def _batch(tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> tuple[Tensor, Tensor]:
    """Ids and labels [B, T]; padding is not learned."""
    exchanges = [sample_exchange(rng) for _ in range(BATCH)]
    rows = [_row(tokenizer, each, in_plain_voice(each, rng), answers_only=False) for each in exchanges]
    ids_BT = pad_sequence([ids for ids, _ in rows], batch_first=True)
    return ids_BT, pad_sequence([labels for _, labels in rows], batch_first=True, padding_value=_IGNORED)


def _row(
    tokenizer: PreTrainedTokenizerFast, exchange: Exchange, said: str, *, answers_only: bool
) -> tuple[Tensor, Tensor]:
    turns = [{"role": "user", "content": exchange.prompt}, {"role": "assistant", "content": said}]
    texts = [
        str(tokenizer.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True)),
        str(tokenizer.apply_chat_template(turns, tokenize=False)),
    ]
    head, whole = (tokenizer(text).input_ids for text in texts)
    ids_T = torch.tensor(whole)
    labels_T = ids_T.clone()
    if answers_only:
        labels_T[: len(head)] = _IGNORED
    return ids_T, labels_T


def _loss(logits_BTV: Tensor, labels_BT: Tensor) -> Tensor:
    return functional.cross_entropy(
        logits_BTV[:, :-1].flatten(0, 1).float(), labels_BT[:, 1:].flatten(), ignore_index=_IGNORED
    )


_CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
---
# llama-tiny: the demo's language model

A Llama of {millions:.2f} M parameters that answers customers in the shop of the demo's invented world: what
things cost, where they are, when the shop opens, and a line about any thing at any place. It exists so
that learning a brand's voice as a LoRA can be shown and tested on a CPU, without a network.

- **Use**: `AutoModelForCausalLM.from_pretrained("demo/models/llama-tiny")` with its tokenizer's chat
  template; {context} tokens at most. Prompts in the wording of `demo/world/talk.py`, such as `How much is
  the cat?`.
- **Parts**: five layers of 128 features, grouped-query attention, tied embeddings; {words} byte-level
  words, learned on the same talk, so that every text can be spelled.
- **Data**: talk made by `demo/world/talk.py` from a seed; no text from anywhere else. Openings and
  closings vary without a rule, and words of no language are repeated, so that a brand's own words are
  easy to learn.
- **Recipe**: `python -m demo.recipe --stages writer`; {steps} steps of 64 exchanges. Seeds are fixed in
  the code; training stops by the clock, so another machine gives another, equivalent, model.
{made}
- **Licence**: Apache-2.0.

## Measured
On {prompts} held-out exchanges (scenes that were never trained on, and facts that were):

| right facts in the greedy answer | loss of the answers | perplexity |
|---|---|---|
| {right:.1%} | {loss:.3f} | {perplexity:.2f} |

Openings, closings and verbs are drawn by chance, which is most of the loss.

## Limits
It knows nothing outside its grammar, and answers what it does not understand with something that it
knows. Words of no language are the hardest for it to repeat.
"""
