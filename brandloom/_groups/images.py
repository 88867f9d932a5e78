"""Pictures from stacks of LoRAs, and the stacks themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import Final, Unpack

from brandloom import _arguments, _names
from brandloom._batch.run import BatchRun, batch_lines, check_in_flight
from brandloom._convert.events import generation_event, sweep_event
from brandloom._convert.fields import enum_to_number, from_proto
from brandloom._convert.images import image_request
from brandloom._convert.stacks import stack_entries
from brandloom._download import save_stream
from brandloom._files import OnProgress
from brandloom._peft_config import write_config_beside
from brandloom._transport import Link
from brandloom.api.inference.v1 import inference_pb2
from brandloom.api.registry.v1 import registry_pb2
from brandloom.types.batch import BatchLine, BatchResult
from brandloom.types.image_settings import ImageSettings, PictureSettings, Stack
from brandloom.types.inference import (
    Capacity,
    ExportPrecision,
    GeneratedImage,
    GenerationEvent,
    Pin,
    SweepEvent,
)
from brandloom.types.registry import BaseModel, Brand, Lora, LoraVersion, ResolvedStack

_PRECISIONS = inference_pb2.ExportStackRequest.Precision.DESCRIPTOR
_LOADING_SECONDS: Final = 600.0


class AsyncImages:
    """Generates pictures. The prompt may name LoRAs too: `<lora:hero:0.6> riding a motorcycle`."""

    def __init__(self, inference: Link) -> None:
        self._inference = inference

    async def generate(
        self, brand: str | Brand, prompt: str, **settings: Unpack[ImageSettings]
    ) -> tuple[GeneratedImage, ...]:
        """Pictures in the order of their seeds. `brandloom.ImageSettings` tells the settings."""
        events = self.stream(brand, prompt, **settings)
        images = [event async for event in events if isinstance(event, GeneratedImage)]
        return tuple(sorted(images, key=lambda image: image.index))

    async def stream(
        self, brand: str | Brand, prompt: str, **settings: Unpack[ImageSettings]
    ) -> AsyncIterator[GenerationEvent]:
        """The same as it goes: Queued, then GenerationProgress and Preview, and each GeneratedImage.

        Leaving the iteration cancels the request.
        """
        request = image_request(brand, prompt, **settings)
        async for message in self._inference.stream("GenerateImages", request):
            event = generation_event(message)
            if event is not None:
                yield event

    async def sweep(
        self,
        brand: str | Brand,
        prompts: str | Sequence[str],
        *,
        seeds: Sequence[int] = (),
        weights: Sequence[float] = (),
        **settings: Unpack[PictureSettings],
    ) -> AsyncIterator[SweepEvent]:
        """A picture for every prompt, seed and factor on the stack's weights, each a SweepCell when ready;
        at the end a SweepSheet of all.

        No seeds: one that is drawn. No weights: the factor 1. Leaving the iteration cancels the request.
        """
        _arguments.settings(PictureSettings, settings)
        _arguments.argument("prompts", str | Sequence[str], prompts)
        _arguments.argument("seeds", Sequence[int], seeds)
        _arguments.argument("weights", Sequence[float], weights)
        request = inference_pb2.GenerateSweepRequest(
            template=image_request(brand, "", **settings),
            prompts=[prompts] if isinstance(prompts, str) else prompts,
            seeds=seeds,
            weights=weights,
        )
        async for message in self._inference.stream("GenerateSweep", request):
            event = sweep_event(message)
            if event is not None:
                yield event

    async def batch(
        self,
        brand: str | Brand,
        prompts: str | Path | Sequence[BatchLine | str],
        folder: str | Path,
        *,
        in_flight: int = 8,
        patience_seconds: float = 600.0,
        **settings: Unpack[ImageSettings],
    ) -> AsyncIterator[BatchResult]:
        """Pictures for a file of prompts (see `brandloom.read_batch`), or for prompts at hand, in a folder.

        `in_flight` requests are under way at a time; one that finds no room is sent again when the service
        says so, for `patience_seconds` at most. A line's own settings override `settings`. The folder gets
        the pictures and a results.jsonl; a second run makes only what is missing. Each line's BatchResult
        comes when it is done, or has failed. Leaving the iteration ends what is under way. Raises
        ConfigurationError naming every faulty line before anything is made.
        """
        run = BatchRun(
            stream=self.stream,
            brand=brand,
            folder=Path(folder),
            in_flight=check_in_flight(in_flight),
            patience_seconds=patience_seconds,
        )
        lines = await asyncio.to_thread(batch_lines, prompts)
        async with aclosing(run.results(lines, settings)) as results:
            async for result in results:
                yield result

    async def capacity(self) -> Capacity:
        """What the service holds, does and can take."""
        answer = await self._inference.call("GetCapacity", inference_pb2.GetCapacityRequest())
        return from_proto(Capacity, answer)


class AsyncStacks:
    """Stacks of LoRAs: what they mean, keeping them loaded, and taking them elsewhere."""

    def __init__(self, registry: Link, inference: Link) -> None:
        self._registry = registry
        self._inference = inference

    async def resolve(
        self,
        brand: str | Brand,
        references: Sequence[str | Lora | LoraVersion],
        *,
        base_model: str | BaseModel = "",
    ) -> ResolvedStack:
        """The exact versions and files that references (`hero`, `hero@prod`, `other/hero@3`) mean now."""
        request = registry_pb2.ResolveStackRequest(
            parent=_names.brand(brand),
            references=[_names.full(reference) for reference in references],
            base_model=_names.base_model(base_model) if base_model else "",
        )
        return from_proto(ResolvedStack, await self._registry.call("ResolveStack", request))

    async def export(
        self,
        brand: str | Brand,
        stack: Stack,
        destination: str | Path,
        *,
        base_model: str | BaseModel = "",
        precision: ExportPrecision = ExportPrecision.UNSPECIFIED,
        on_progress: OnProgress | None = None,
    ) -> Path:
        """Writes the whole stack as one LoRA file that other tools can load; gives its path.

        Into a folder it goes under its own name. A stack for a language model is PEFT's
        `adapter_model.safetensors`, and gets its `adapter_config.json` beside it.
        """
        request = inference_pb2.ExportStackRequest(
            parent=_names.brand(brand),
            stack=stack_entries(stack),
            base_model=_names.base_model(base_model) if base_model else "",
            precision=enum_to_number(
                _PRECISIONS, _arguments.argument("precision", ExportPrecision, precision)
            ),
        )
        path = await save_stream(self._inference.stream("ExportStack", request), destination, on_progress)
        await asyncio.to_thread(write_config_beside, path)
        return path

    async def pin(
        self,
        brand: str | Brand,
        stack: Stack,
        *,
        time_to_live: timedelta,
        base_model: str | BaseModel = "",
    ) -> Pin:
        """Keeps the stack's files loaded for a time; zero lets go of them."""
        request = inference_pb2.PinStackRequest(
            parent=_names.brand(brand),
            stack=stack_entries(stack),
            base_model=_names.base_model(base_model) if base_model else "",
            time_to_live=_arguments.argument("time_to_live", timedelta, time_to_live),
        )
        answer = await self._inference.call("PinStack", request, timeout_seconds=_LOADING_SECONDS)
        return from_proto(Pin, answer)
