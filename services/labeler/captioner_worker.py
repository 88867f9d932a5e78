"""The process of the captioner: `python -m services.labeler.captioner_worker <model> <threads>`.

`<model>` is a directory or hub id of a BLIP (`BlipForConditionalGeneration`); 0 threads leaves the number
to torch.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from servicekit.child_frames import Header, WorkerFaultError, run_worker
from servicekit.large_imports import large_imports


class BlipCaptioner:
    """A BLIP on the best device of this machine; loaded once, when it is first asked for."""

    def __init__(self, model: str, threads: int) -> None:
        self._name = model
        self._threads = threads
        self._model: Any = None
        self._processor: Any = None
        self._tokenizer: Any = None

    def handle(self, header: Header, parts: list[bytes]) -> tuple[Header, Sequence[bytes]]:
        """`{"do": "load"}`, or `{"do": "caption", "max_tokens"}` with PNGs -> `{"captions"}`."""
        self._load()
        if header["do"] == "load":
            return {}, ()
        return {"captions": self._captions(parts, header["max_tokens"])}, ()

    def _load(self) -> None:
        if self._model is not None:
            return
        if Path(self._name).is_absolute() and not Path(self._name).is_dir():
            # Said before torch is loaded, which takes its time.
            raise WorkerFaultError("CAPTIONER_UNAVAILABLE", f"there is no directory {self._name!r}")
        with large_imports():
            import torch
            from transformers import BertTokenizer, BlipForConditionalGeneration, BlipImageProcessorPil

        if self._threads:
            torch.set_num_threads(self._threads)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            # Only safetensors: nothing is unpickled, whatever a hub may offer.
            model: Any = BlipForConditionalGeneration.from_pretrained(
                self._name, use_safetensors=True, dtype=torch.float32
            )
            self._processor = BlipImageProcessorPil.from_pretrained(self._name)
            self._tokenizer = BertTokenizer.from_pretrained(self._name)
        except Exception as error:  # a hub, a disk and a dozen file formats have their say here
            message = f"the captioner {self._name!r} cannot be loaded: {error}"
            raise WorkerFaultError("CAPTIONER_UNAVAILABLE", message[:1000]) from error
        self._model = model.eval().to(device)

    def _captions(self, pngs: Sequence[bytes], max_tokens: int) -> list[str]:
        """pixels_BCHW go in, captions come out, greedily decoded: the same picture gets the same caption."""
        import torch
        from PIL import Image

        # Pictures come from our own store, where only normalised RGB PNGs are.
        pictures = [Image.open(io.BytesIO(png)).convert("RGB") for png in pngs]
        pixels_BCHW = self._processor(images=pictures, return_tensors="pt")["pixel_values"]
        # Beyond its positions a model cannot write; the prompt takes the first.
        longest = self._model.config.text_config.max_position_embeddings - 1
        with torch.inference_mode():
            tokens_BT = self._model.generate(
                pixel_values=pixels_BCHW.to(self._model.device),
                max_new_tokens=min(max_tokens, longest),
                do_sample=False,
                num_beams=1,
            )
        # The first token is the prompt, which begins every caption.
        texts = self._tokenizer.batch_decode(tokens_BT[:, 1:], skip_special_tokens=True)
        return [" ".join(text.split()) for text in texts]


if __name__ == "__main__":
    run_worker(BlipCaptioner(sys.argv[1], int(sys.argv[2])).handle)
