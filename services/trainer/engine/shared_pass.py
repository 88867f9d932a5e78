"""The pass that jobs share: one forward and one backward over the rows of all of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from services.trainer.engine.port import Family, Member


def run_pass(
    family: Family[Any, Any], members: Sequence[Member[Any, Any]], *, autocast: torch.dtype | None
) -> list[float]:
    """Adds each job's gradients to its parameters; gives each member's part of the loss of its job's step.

    The loss is the SUM of the jobs' losses, so that companions do not scale a job's learning rate. A member
    whose loss is not finite gets no gradients. All members' rows have one shape.
    """
    with ExitStack() as contexts:
        contexts.enter_context(computing(family.device, autocast))
        losses_B = family.losses(members, contexts)
        shares_B = torch.cat([member.rows.shares_N * member.weight for member in members]).to(losses_B)
        parts = (losses_B * shares_B).split([len(member.rows) for member in members])
        losses = [part.sum() for part in parts]
        values = torch.stack(losses).detach().tolist()
        finite = [loss for loss, value in zip(losses, values, strict=True) if math.isfinite(value)]
        if finite:
            # Inside the contexts: recomputation in the backward pass must see the same routing.
            torch.stack(finite).sum().backward()  # type: ignore[no-untyped-call]
    return [float(value) for value in values]


@contextmanager
def computing(device: torch.device, autocast: torch.dtype | None) -> Iterator[None]:
    """The kernels for training: autocast if asked for, and the attention whose backward is fast here."""
    with ExitStack() as stack:
        if autocast is not None:
            stack.enter_context(torch.autocast(device.type, dtype=autocast))
        if device.type == "cpu" and autocast is not None:
            # In bfloat16 the flash kernel's backward is slow for few tokens; in float32 it is the faster one.
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        yield
