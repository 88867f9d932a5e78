"""The forward pass of a language model over the rows of many jobs.

B rows of all jobs, in segments, of T tokens; K positions at which any row learns; V words.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from inspect import signature

import torch
from torch import Tensor
from torch.nn import functional

from lorakit.families.causal_lm import LanguageModel
from lorakit.families.naming import LANGUAGE_MODEL
from lorakit.routing import SegmentRouting, routed
from services.trainer.engine.causal_lm.data import NOT_LEARNED, CachedTexts
from services.trainer.engine.causal_lm.rows import TextRows
from services.trainer.engine.port import Member

TextMember = Member[CachedTexts, TextRows]


def row_losses(base: LanguageModel, members: Sequence[TextMember], contexts: ExitStack) -> Tensor:
    """The mean cross-entropy of each row's learned tokens, [B], float32."""
    device = base.device
    ids_BT = torch.cat([member.rows.ids_NT for member in members])
    targets_BT = torch.cat([member.rows.targets_NT for member in members])
    lengths_B = torch.cat([member.rows.lengths_N for member in members])
    mask_BT = torch.arange(ids_BT.shape[1]) < lengths_B[:, None]
    learned_BT = targets_BT != NOT_LEARNED
    positions_K = learned_BT.any(dim=0).nonzero().flatten()
    routing = SegmentRouting([member.segment(LANGUAGE_MODEL) for member in members])
    contexts.enter_context(routed(base.model, routing))
    logits_BKV = _logits(base, ids_BT.to(device), mask_BT.to(device), positions_K.to(device))
    errors_BK = functional.cross_entropy(
        logits_BKV.float().transpose(1, 2),
        targets_BT[:, positions_K].to(device),
        ignore_index=NOT_LEARNED,
        reduction="none",
    )
    return errors_BK.sum(dim=1) / learned_BT.sum(dim=1).to(device)


def _logits(base: LanguageModel, ids_BT: Tensor, mask_BT: Tensor, positions_K: Tensor) -> Tensor:
    """[B, K, V]: prompts and padding need none, and over a large vocabulary they would take most memory."""
    chooses = "logits_to_keep" in signature(base.model.forward).parameters
    options = {"logits_to_keep": positions_K} if chooses else {}
    logits: Tensor = base.model(ids_BT, attention_mask=mask_BT, use_cache=False, **options).logits
    return logits if chooses else logits[:, positions_K]
