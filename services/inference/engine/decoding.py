"""Finished rows become pictures beside the denoising loop, some at a time."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from PIL import Image

from lorakit.families.diffusion_base import decode_latents
from services.inference.domain_jobs import RawPicture
from services.inference.engine.bases import LoadedBase
from services.inference.engine.errors import first_line, internal_failure
from services.inference.engine.pictures import as_image, encode_png
from services.inference.engine.rows import BatchRow
from services.inference.engine.safety import SafetyChecker
from services.inference.engine_messages import Failure

DECODED_AT_ONCE = 4
"""Pictures that pass the autoencoder together: it needs far more memory a row than the UNet."""
_log = logging.getLogger(__name__)

Decoded = Callable[[BatchRow, RawPicture | Failure], None]
"""Told of every row, from the decoder's thread."""


@dataclass(frozen=True, slots=True, eq=False)
class _Finished:
    base: LoadedBase
    row: BatchRow

    def fits(self, other: _Finished) -> bool:
        return (
            self.base is other.base
            and self.row.sampling.latents_CHW.shape == other.row.sampling.latents_CHW.shape
        )


class Decoder:
    """A thread that takes finished rows as they come, those of the same shape together."""

    def __init__(self, on_decoded: Decoded, safety: SafetyChecker) -> None:
        self._on_decoded = on_decoded
        self._safety = safety
        self._finished: queue.SimpleQueue[_Finished | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="decoder", daemon=True).start()

    def take(self, base: LoadedBase, rows: Sequence[BatchRow]) -> None:
        """Make pictures of rows; nobody may change them from here on."""
        for row in rows:
            self._finished.put(_Finished(base, row))

    def close(self) -> None:
        """End when what was taken is done."""
        self._finished.put(None)

    def _work(self) -> None:
        # The loop has the other threads.
        torch.set_num_threads(1)
        waiting: list[_Finished] = []
        while True:
            if not waiting or not self._finished.empty():
                entry = self._finished.get()
                if entry is None:
                    return
                waiting.append(entry)
                continue
            together = [entry for entry in waiting if entry.fits(waiting[0])][:DECODED_AT_ONCE]
            waiting = [entry for entry in waiting if entry not in together]
            self._decode(together)

    def _decode(self, together: Sequence[_Finished]) -> None:
        try:
            pictures = _pictures(together)
            images = [as_image(picture_CHW.nan_to_num()) for picture_CHW in pictures]
            flags = self._safety.flags(images)
        except Exception as error:
            # Out of memory, most likely: these pictures are lost, the engine is not.
            for entry in together:
                self._on_decoded(entry.row, _failure(error))
            return
        for entry, picture_CHW, image, flag in zip(together, pictures, images, flags, strict=True):
            try:
                finite = bool(torch.isfinite(picture_CHW).all())
                found = _picture(entry.row, image, withheld=flag) if finite else _broken(entry.row)
            except Exception as error:
                found = _failure(error)
            self._on_decoded(entry.row, found)


@torch.inference_mode()
def _pictures(together: Sequence[_Finished]) -> list[torch.Tensor]:
    """Each [3, H, W] in [-1, 1], with what it keeps of the picture that it began from."""
    latents_BCHW = torch.stack([entry.row.sampling.latents_CHW for entry in together])
    decoded_BCHW = decode_latents(together[0].base.model, latents_BCHW).cpu()
    return [
        made_CHW if entry.row.initial is None else entry.row.initial.put_back(made_CHW)
        for entry, made_CHW in zip(together, decoded_BCHW, strict=True)
    ]


def _failure(error: Exception) -> Failure:
    _log.error("a picture could not be decoded", exc_info=error)
    return internal_failure(f"decoding failed: {first_line(error)}", reason="ENGINE_DECODE_FAILED")


def _broken(row: BatchRow) -> Failure:
    return Failure(
        kind="FailedPrecondition",
        reason="PICTURE_NOT_FINITE",
        message="the picture came out as numbers that are not finite; weights are too strong, or the "
        "dtype too narrow",
        metadata={"index": str(row.index)},
    )


def _picture(row: BatchRow, image: Image.Image, *, withheld: bool) -> RawPicture:
    return RawPicture(
        index=row.index,
        seed=row.seed,
        width=image.width,
        height=image.height,
        png=b"" if withheld else encode_png(image),
        withheld=withheld,
    )
