"""Previews of rows on their way, made beside the denoising loop."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from PIL import Image

from services.inference.domain_jobs import Preview
from services.inference.engine.preview_colours import PreviewColours, encode_preview
from services.inference.engine.rows import BatchRow
from services.inference.engine.safety import SafetyChecker

_log = logging.getLogger(__name__)

Previewed = Callable[[str, Preview], None]
"""(job id, preview), told from the previewer's thread."""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    row: BatchRow
    colours: PreviewColours
    step: int
    clean_CHW: torch.Tensor


class Previewer:
    """A thread that takes rows as they come; a preview that is not made yet gives way to the next of its row,
    so that no more of them wait than there are rows.
    """

    def __init__(self, on_preview: Previewed, safety: SafetyChecker) -> None:
        self._on_preview = on_preview
        self._safety = safety
        self._waiting: OrderedDict[tuple[str, int], _Snapshot] = OrderedDict()
        self._news = threading.Condition()
        self._closed = False
        threading.Thread(target=self._work, name="previewer", daemon=True).start()

    def take(self, row: BatchRow) -> None:
        """Make a preview of a row that has just taken a step, if one is due."""
        step = row.sampling.step
        if row.colours is None or step % row.preview_every:
            return
        snapshot = _Snapshot(row, row.colours, step, row.sampling.predicted_clean)
        with self._news:
            self._waiting[row.job_id, row.index] = snapshot
            self._news.notify()

    def close(self) -> None:
        """End without making what waits."""
        with self._news:
            self._closed = True
            self._news.notify()

    def _work(self) -> None:
        # The loop has the other threads.
        torch.set_num_threads(1)
        while True:
            with self._news:
                self._news.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                _, snapshot = self._waiting.popitem(last=False)
            try:
                picture = snapshot.colours.picture(snapshot.clean_CHW)
                if not any(self._safety.flags([picture])):
                    self._on_preview(snapshot.row.job_id, _preview(snapshot, picture))
            except Exception:
                # A picture can do without its preview.
                _log.exception("a preview could not be made")


def _preview(snapshot: _Snapshot, picture: Image.Image) -> Preview:
    return Preview(
        index=snapshot.row.index,
        step=snapshot.step,
        width=picture.width,
        height=picture.height,
        png=encode_preview(picture),
    )
