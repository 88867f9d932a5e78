"""Rows that can share a forward pass: the same base, latent shape and context length.

B rows, F forward rows (two for a row with guidance, its negative prompt first), N tokens, D features.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from lorakit.routing import GatheredRouting, RowAdapter, routed
from lorakit.samplers import SamplingRow, advance, model_input
from services.inference.engine.bases import LoadedBase


@dataclass(slots=True, eq=False)
class BatchRow:
    """One picture in the making."""

    job_id: str
    index: int
    """Which picture of its job."""
    seed: int
    sampling: SamplingRow
    guidance: float
    prompt_ND: torch.Tensor
    negative_ND: torch.Tensor | None
    """None if no second forward is needed."""
    adapter: RowAdapter | None

    @property
    def copies(self) -> int:
        """Forward rows that it takes."""
        return 1 if self.negative_ND is None else 2


@dataclass(slots=True)
class _Layout:
    """What a forward pass needs beside latents; holds for as long as the membership does."""

    contexts_FND: torch.Tensor
    copies_B: torch.Tensor
    prompt_index_B: torch.Tensor
    negative_index_B: torch.Tensor
    guidance_B111: torch.Tensor
    routed: bool


@dataclass(slots=True)
class Bucket:
    """A batch that rows join and leave between steps."""

    base: LoadedBase
    rows: list[BatchRow] = field(default_factory=list)
    _routing: GatheredRouting | None = None
    _layout: _Layout | None = None

    def join(self, row: BatchRow) -> None:
        """Add a row before the next step."""
        self.rows.append(row)
        self._layout = None

    def leave(self, rows: list[BatchRow]) -> None:
        """Take rows out, done or not."""
        gone = {id(row) for row in rows}
        self.rows = [row for row in self.rows if id(row) not in gone]
        self._layout = None

    @torch.inference_mode()
    def step(self) -> None:
        """Take one denoising step in every row."""
        if self._layout is None:
            self._layout = self._arrange()
        layout, unet = self._layout, self.base.model.unet
        latents_BCHW, timesteps_B = model_input([row.sampling for row in self.rows])
        latents_FCHW = latents_BCHW.repeat_interleave(layout.copies_B, 0).to(unet.dtype)
        timesteps_F = timesteps_B.repeat_interleave(layout.copies_B, 0)
        output_FCHW = self._forward(latents_FCHW, timesteps_F, layout).float()
        wanted_BCHW = output_FCHW[layout.prompt_index_B]
        # A row without guidance has its prompt in both places, and so keeps it as it is.
        unwanted_BCHW = output_FCHW[layout.negative_index_B]
        guided_BCHW = unwanted_BCHW + layout.guidance_B111 * (wanted_BCHW - unwanted_BCHW)
        advance([row.sampling for row in self.rows], guided_BCHW)

    def _forward(
        self, latents_FCHW: torch.Tensor, timesteps_F: torch.Tensor, layout: _Layout
    ) -> torch.Tensor:
        unet = self.base.model.unet
        output_FCHW: torch.Tensor
        if not layout.routed or self._routing is None:
            output_FCHW = unet(latents_FCHW, timesteps_F, layout.contexts_FND, return_dict=False)[0]
            return output_FCHW
        with routed(unet, self._routing):
            output_FCHW = unet(latents_FCHW, timesteps_F, layout.contexts_FND, return_dict=False)[0]
        return output_FCHW

    def _arrange(self) -> _Layout:
        """Order the rows so that those routed alike lie together, and gather what the membership settles."""
        self.rows.sort(key=_likeness)
        device = self.base.model.device
        contexts: list[torch.Tensor] = []
        prompt_index: list[int] = []
        negative_index: list[int] = []
        for row in self.rows:
            negative_index.append(len(contexts))
            if row.negative_ND is not None:
                contexts.append(row.negative_ND)
            prompt_index.append(len(contexts))
            contexts.append(row.prompt_ND)
        is_routed = any(row.adapter is not None for row in self.rows)
        if is_routed:
            if self._routing is None:
                self._routing = GatheredRouting(device, self.base.model.unet.dtype)
            self._routing.set_rows([row.adapter for row in self.rows], [row.copies for row in self.rows])
        return _Layout(
            contexts_FND=torch.stack(contexts).to(device),
            copies_B=torch.tensor([row.copies for row in self.rows], device=device),
            prompt_index_B=torch.tensor(prompt_index, device=device),
            negative_index_B=torch.tensor(negative_index, device=device),
            guidance_B111=torch.tensor([row.guidance for row in self.rows], device=device)[
                :, None, None, None
            ],
            routed=is_routed,
        )


def _likeness(row: BatchRow) -> tuple[int, bool, str]:
    # Text and no hash: so the order of rows, and the last bits of a picture, are the same in every process.
    return row.copies, row.adapter is None, str(row.adapter.key) if row.adapter else ""
