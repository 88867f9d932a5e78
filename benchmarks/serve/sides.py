"""Both sides, made for one setting."""

from __future__ import annotations

from benchmarks.serve.bench import Bench, Setting
from benchmarks.serve.ours import OurEngine
from benchmarks.serve.peers import StockPipeline


def our_engine(bench: Bench, setting: Setting) -> OurEngine:
    """Our engine with room for the setting's rows."""
    return OurEngine(
        bench.base(setting.size),
        device=bench.device,
        precision=bench.precision,
        max_rows=setting.rows,
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
