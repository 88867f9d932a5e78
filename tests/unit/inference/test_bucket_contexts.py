"""Contexts that are made longer for a CPU's attention say what they said before."""

from __future__ import annotations

import torch

from services.inference.engine.bucket import _in_whole_registers
from tests.fixtures.tiny_sd import tiny_unet


def test_places_that_are_no_tokens_are_not_seen() -> None:
    torch.manual_seed(0)
    unet = tiny_unet(32, False).eval()
    z_FCHW, context_FND = torch.randn(2, 4, 8, 8), torch.randn(2, 77, 32)
    longer_FND, tokens_FN = _in_whole_registers(context_FND)
    assert longer_FND.shape == (2, 80, 32)
    assert tokens_FN is not None
    assert tokens_FN.sum() == 2 * 77
    with torch.inference_mode():
        wanted = unet(z_FCHW, 500, context_FND, return_dict=False)[0]
        found = unet(z_FCHW, 500, longer_FND, encoder_attention_mask=tokens_FN, return_dict=False)[0]
        seen = unet(z_FCHW, 500, longer_FND, return_dict=False)[0]
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert (seen - wanted).abs().max() > 1e-4


def test_contexts_that_fill_registers_stay() -> None:
    context_FND = torch.randn(1, 64, 8)
    longer_FND, tokens_FN = _in_whole_registers(context_FND)
    assert longer_FND is context_FND
    assert tokens_FN is None
