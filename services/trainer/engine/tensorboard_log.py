"""TensorBoard event files of a job."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from services.trainer.engine.progress import PackReport, Progress


class TensorBoardLog:
    """Writes scalars and sample pictures below a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._writer = SummaryWriter(str(directory))

    def add(self, progress: Progress) -> None:
        """One step's scalars."""
        for name in ("loss", "smoothed_loss", "learning_rate", "images_per_second"):
            self._writer.add_scalar(f"train/{name}", getattr(progress, name), progress.step)

    def add_pack(self, step: int, pack: PackReport) -> None:
        """What the step was for the whole pack."""
        self._writer.add_scalar("pack/images_per_second", pack.images_per_second, step)
        self._writer.add_scalar("pack/size", len(pack.job_ids), step)
        self._writer.add_scalar("pack/device_memory_bytes", pack.device_memory_bytes, step)

    def add_validation(self, step: int, loss: float) -> None:
        """What an evaluation after a step has found."""
        self._writer.add_scalar("validation/loss", loss, step)

    def add_picture(self, step: int, prompt: str, picture_HWC: np.ndarray) -> None:
        """A sample picture, uint8 [H, W, 3], under its prompt."""
        self._writer.add_image(f"samples/{prompt[:100]}", picture_HWC, step, dataformats="HWC")

    def add_text(self, step: int, prompt: str, text: str) -> None:
        """A sample text under its prompt."""
        self._writer.add_text(f"samples/{prompt[:100]}", text, step)

    def close(self) -> list[Path]:
        """Ends the files and gives their paths.

        They are renamed: the writer puts the machine's name and a process number into theirs.
        """
        self._writer.close()
        found = []
        for number, path in enumerate(sorted(self._directory.glob("events.out.tfevents.*"))):
            time = path.name.split(".")[3]
            found.append(path.rename(path.with_name(f"events.out.tfevents.{time}.{number}")))
        return found
