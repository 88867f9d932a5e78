"""R2: beside the strongest stock peer, PEFT's forward pass with another adapter for each row.

Every stack is made one PEFT adapter before the clock starts, and all rows begin and end together, for that is
all that the peer can do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any, cast

from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.report import Result
from benchmarks.serve.bench import Bench
from benchmarks.serve.loras import LoraOnDisk
from benchmarks.serve.peers import StockPipeline
from benchmarks.serve.requests import StackRequest, mixed
from benchmarks.serve.sides import our_engine, stock

_GOALS = {"tiny": 2.0, "medium": 1.1, "SD 1.5": 1.1, "SDXL": 1.0}
_TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"]
_PEER = "PEFT, add_weighted_adapter(cat) and adapter_names, one batch"


class MixedBatchPeer:
    """A stock pipeline whose UNet is wrapped by PEFT, with one adapter for each stack."""

    def __init__(self, pipeline: StockPipeline, requests: Sequence[StackRequest], rank: int) -> None:
        self._pipeline, self._requests = pipeline, requests
        first, *others = dict.fromkeys(lora for request in requests for lora in request.loras)
        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=_TARGETS)
        self._unet = cast(Any, get_peft_model(pipeline.pipe.unet, config, adapter_name=first.name))
        for lora in others:
            self._unet.add_adapter(lora.name, config)
        for lora in (first, *others):
            self._load(lora)
        for row, request in enumerate(requests):
            self._unet.base_model.add_weighted_adapter(
                [lora.name for lora in request.loras], request.weights, f"row{row}", combination_type="cat"
            )
        names = [f"row{row}" for row in range(len(requests))]
        self._names = names + names  # the half without the prompt goes first
        self._unet.eval()

    def pictures(self) -> list[bytes]:
        """All at once."""
        return self._pipeline.pictures(self._requests, self._predict)

    def _load(self, lora: LoraOnDisk) -> None:
        weights = {
            f"base_model.model.{key.removeprefix('unet.')}": weight
            for key, weight in load_file(lora.diffusers).items()
        }
        set_peft_model_state_dict(self._unet, weights, adapter_name=lora.name)

    def _predict(self, latents_FCHW: Tensor, timestep: Tensor, context_FND: Tensor, added: Any) -> Tensor:
        predicted: Tensor = self._unet(
            latents_FCHW,
            timestep,
            context_FND,
            added_cond_kwargs=added,
            return_dict=False,
            adapter_names=self._names,
        )[0]
        return predicted


def results(bench: Bench) -> Iterator[Result]:
    """One for each setting."""
    for setting in bench.settings:
        requests = mixed(setting, bench.pool(setting.size, setting.rows, setting.rank))
        peer = MixedBatchPeer(stock(bench, setting), requests, setting.rank)
        with closing(our_engine(bench, setting)) as engine:
            times = bench.compare(partial(engine.pictures, requests), peer.pictures)
        yield bench.speedup("R2", setting, _GOALS[setting.size.name], _PEER, times)
