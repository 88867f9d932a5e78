"""Both sides, made for one setting."""

from __future__ import annotations

from benchmarks.serve.bench import Bench, Setting
from benchmarks.serve.ours import LORA_MEMORY_BYTES, OurEngine
from benchmarks.serve.peers import StockPipeline


def our_engine(bench: Bench, setting: Setting, *, lora_memory_bytes: int = LORA_MEMORY_BYTES) -> OurEngine:
    """Our engine with room for the setting's rows; the caller closes it."""
    return OurEngine(
        bench.base(setting.size),
        device=bench.device,
        precision=bench.precision,
        max_rows=setting.rows,
        lora_memory_bytes=lora_memory_bytes,
        compiled=setting.compiled,
    )


def stock(bench: Bench, setting: Setting) -> StockPipeline:
    """A diffusers pipeline with the setting's base, and no LoRA yet."""
    peer = StockPipeline(
        bench.base(setting.size), setting.size, device=bench.device, precision=bench.precision
    )
    if setting.compiled:
        peer.pipe.unet.compile()
    return peer
