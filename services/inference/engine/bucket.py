"""Rows that can share a forward pass: the same base, latent shape and context length.

B rows, L branches of all rows, F forward rows (two for a branch with guidance, its negative prompt first).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch.nn import functional

from lorakit.device_memory import peak_bytes
from lorakit.families.diffusion_base import EncodedTexts
from lorakit.routing import GatheredRouting, PaddedRouting, padded_count, rank_class, routed
from lorakit.samplers import advance, model_input
from services.inference.engine.bases import LoadedBase
from services.inference.engine.rows import BatchRow, Branch

_REGISTER = 16
"""Numbers of 32 bits in the widest register of a CPU."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """What a forward pass needs beside latents; holds for as long as the rows and their branches do."""

    texts: EncodedTexts
    tokens_FN: torch.Tensor | None
    """Which of the contexts' places are tokens; None: all."""
    time_ids_F6: torch.Tensor
    row_F: torch.Tensor
    """Row of each forward row."""
    prompt_L: torch.Tensor
    """Forward row of each branch's prompt."""
    negative_L: torch.Tensor
    guidance_L111: torch.Tensor
    mixing: _Mixing | None
    """None: every row has one branch."""
    routing: GatheredRouting | PaddedRouting | None


@dataclass(frozen=True, slots=True)
class _Mixing:
    """How the branches' scores make up the rows'."""

    row_L: torch.Tensor
    share_L1HW: torch.Tensor

    def mix(self, score_LCHW: torch.Tensor, rows: int) -> torch.Tensor:
        score_BCHW = score_LCHW.new_zeros(rows, *score_LCHW.shape[1:])
        return score_BCHW.index_add_(0, self.row_L, score_LCHW * self.share_L1HW)


@dataclass(slots=True)
class Bucket:
    """A batch that rows join and leave between steps."""

    base: LoadedBase
    rows: list[BatchRow] = field(default_factory=list)
    forward_row_bytes: int = 0
    """Memory that a forward row takes at its peak; 0: not known before the first step."""
    _routing: GatheredRouting | PaddedRouting | None = None
    _layout: _Layout | None = None

    @property
    def forward_rows(self) -> int:
        """Forward rows of the next step."""
        return sum(row.forward_rows for row in self.rows)

    def join(self, row: BatchRow) -> None:
        """Add a row before the next step."""
        self.rows.append(row)
        self._layout = None

    def leave(self, rows: Sequence[BatchRow]) -> None:
        """Take rows out, done or not."""
        gone = {id(row) for row in rows}
        if gone:
            self.rows = [row for row in self.rows if id(row) not in gone]
            self._layout = None

    @torch.inference_mode()
    def step(self) -> None:
        """Take one denoising step in every row."""
        if self._layout is None:
            self._layout = self._arrange()
        layout = self._layout
        samplings = [row.sampling for row in self.rows]
        latents_BCHW, timesteps_B = model_input(samplings)
        score_FCHW = self._score(latents_BCHW[layout.row_F], timesteps_B[layout.row_F], layout)
        wanted_LCHW = score_FCHW[layout.prompt_L]
        # A branch without guidance has its prompt in both places, and so keeps it as it is.
        unwanted_LCHW = score_FCHW[layout.negative_L]
        score_LCHW = unwanted_LCHW + layout.guidance_L111 * (wanted_LCHW - unwanted_LCHW)
        advance(samplings, layout.mixing.mix(score_LCHW, len(samplings)) if layout.mixing else score_LCHW)
        changed = [row for row in self.rows if row.enter_phase()]
        if changed:
            self._layout = None

    def _score(self, z_FCHW: torch.Tensor, timesteps_F: torch.Tensor, layout: _Layout) -> torch.Tensor:
        """What the model says, float32 [F, C, H, W]; the first time its memory is measured."""
        if self.forward_row_bytes:
            return self._predict(z_FCHW, timesteps_F, layout)
        scores: list[torch.Tensor] = []
        peak = peak_bytes(z_FCHW.device, lambda: scores.append(self._predict(z_FCHW, timesteps_F, layout)))
        self.forward_row_bytes = max(1, peak // len(z_FCHW))
        return scores[0]

    def _predict(self, z_FCHW: torch.Tensor, timesteps_F: torch.Tensor, layout: _Layout) -> torch.Tensor:
        model = self.base.compiled or self.base.model
        given = z_FCHW.to(self.base.dtype), timesteps_F, layout.texts, layout.time_ids_F6
        if layout.routing is None:
            return model.predict(*given, tokens_BN=layout.tokens_FN).float()
        with routed(self.base.model.unet, layout.routing):
            return model.predict(*given, tokens_BN=layout.tokens_FN).float()

    def _arrange(self) -> _Layout:
        """Order the rows so that those routed alike lie together, and gather what the membership settles."""
        self.rows.sort(key=_likeness)
        device, dtype = self.base.model.device, self.base.dtype
        branches = [(index, branch) for index, row in enumerate(self.rows) for branch in row.branches]
        texts: list[EncodedTexts] = []
        row_F: list[int] = []
        prompt_L: list[int] = []
        negative_L: list[int] = []
        for index, branch in branches:
            negative_L.append(len(texts))
            if branch.negative is not None:
                texts.append(branch.negative)
            prompt_L.append(len(texts))
            texts.append(branch.prompt)
            row_F += [index] * branch.copies
        # A compiled graph holds for one number of rows: nobody looks at what is added here.
        for _ in range(self._padded(len(texts)) - len(texts)):
            texts.append(texts[0])
            row_F.append(row_F[0])
        guidance_L = torch.tensor([self.rows[index].guidance for index, _ in branches], device=device)
        joined = EncodedTexts.join(texts)
        pooled_FP = None if joined.pooled_BP is None else joined.pooled_BP.to(device, dtype)
        context_FND, tokens_FN = _in_whole_registers(joined.context_BND.to(device, dtype))
        return _Layout(
            texts=EncodedTexts(context_FND, pooled_FP),
            tokens_FN=tokens_FN,
            time_ids_F6=torch.stack([self.rows[index].time_ids_6 for index in row_F]).to(device),
            row_F=torch.tensor(row_F, device=device),
            prompt_L=torch.tensor(prompt_L, device=device),
            negative_L=torch.tensor(negative_L, device=device),
            guidance_L111=guidance_L[:, None, None, None],
            mixing=_mixing(branches, device) if len(branches) > len(self.rows) else None,
            routing=self._route([branch for _, branch in branches]),
        )

    def _padded(self, forward_rows: int) -> int:
        return forward_rows if self.base.compiled is None else padded_count(forward_rows)

    def _route(self, branches: Sequence[Branch]) -> GatheredRouting | PaddedRouting | None:
        if all(branch.adapter is None for branch in branches):
            return None
        if self._routing is None:
            self._routing = self.base.routing()
        self._routing.set_rows(
            [branch.adapter for branch in branches], [branch.copies for branch in branches]
        )
        return self._routing


def _in_whole_registers(context_FND: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The contexts with so many places that a CPU's attention never has a part of a register left over, and
    which places are tokens: 77 take it twice as long as 80. Elsewhere they stay as they are.
    """
    places = context_FND.shape[1]
    missing = -places % _REGISTER
    if context_FND.device.type != "cpu" or not missing:
        return context_FND, None
    tokens_FN = torch.ones(len(context_FND), places + missing, dtype=torch.bool)
    tokens_FN[:, places:] = False
    return functional.pad(context_FND, (0, 0, 0, missing)), tokens_FN


def _mixing(branches: Sequence[tuple[int, Branch]], device: torch.device) -> _Mixing:
    shares = [torch.as_tensor(branch.share, dtype=torch.float32) for _, branch in branches]
    maps = [share for share in shares if share.dim()]
    shape_HW = maps[0].shape if maps else torch.Size((1, 1))
    return _Mixing(
        row_L=torch.tensor([index for index, _ in branches], device=device),
        share_L1HW=torch.stack([share.expand(shape_HW) for share in shares])[:, None].to(device),
    )


def _likeness(row: BatchRow) -> tuple[int, int, str]:
    # Text and no hash: so the order of rows, and the last bits of a picture, are the same in every process.
    adapter = row.branches[0].adapter
    return row.forward_rows, rank_class(adapter.rank) if adapter else 0, str(adapter.key) if adapter else ""
