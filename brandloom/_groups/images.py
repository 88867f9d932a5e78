"""Pictures from stacks of LoRAs, and the stacks themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from brandloom import _names
from brandloom._calls import given
from brandloom._convert.events import generation_event, sweep_event
from brandloom._convert.fields import enum_to_number, from_proto, to_proto
from brandloom._download import save_stream
from brandloom._transport import Link
from brandloom.api.inference.v1 import inference_pb2
from brandloom.api.registry.v1 import registry_pb2
from brandloom.types.inference import (
    Capacity,
    GeneratedImage,
    GenerationEvent,
    Sampler,
    SigmaSchedule,
    StackEntry,
    SweepEvent,
    UsedLora,
)
from brandloom.types.registry import BaseModel, Brand, Lora, LoraVersion, ResolvedStack

_SAMPLERS = inference_pb2.Sampler.DESCRIPTOR
_SCHEDULES = inference_pb2.SigmaSchedule.DESCRIPTOR

Stack = Sequence[StackEntry | str]
"""LoRAs by reference: `"hero@prod"` with weight 1, or `StackEntry("hero@prod", 0.6)`."""

_LOADING_SECONDS: Final = 600.0


class AsyncImages:
    """Generates pictures. The prompt may name LoRAs too: `<lora:hero:0.6> riding a motorcycle`."""

    def __init__(self, inference: Link) -> None:
        self._inference = inference

    async def generate(
        self,
        brand: str | Brand,
        prompt: str,
        *,
        stack: Stack = (),
        count: int = 1,
        seed: int | None = None,
        negative_prompt: str = "",
        base_model: str | BaseModel = "",
        steps: int = 0,
        guidance_scale: float | None = None,
        sampler: Sampler = Sampler.UNSPECIFIED,
        sigma_schedule: SigmaSchedule = SigmaSchedule.UNSPECIFIED,
        width: int = 0,
        height: int = 0,
        clip_skip: int = 0,
    ) -> tuple[GeneratedImage, ...]:
        """`count` pictures, picture i with seed + i. Sizes in pixels; 0 and None mean the service's own."""
        events = self.stream(
            brand,
            prompt,
            stack=stack,
            count=count,
            seed=seed,
            negative_prompt=negative_prompt,
            base_model=base_model,
            steps=steps,
            guidance_scale=guidance_scale,
            sampler=sampler,
            sigma_schedule=sigma_schedule,
            width=width,
            height=height,
            clip_skip=clip_skip,
        )
        images = [event async for event in events if isinstance(event, GeneratedImage)]
        return tuple(sorted(images, key=lambda image: image.index))

    async def stream(
        self,
        brand: str | Brand,
        prompt: str,
        *,
        stack: Stack = (),
        count: int = 1,
        seed: int | None = None,
        negative_prompt: str = "",
        base_model: str | BaseModel = "",
        steps: int = 0,
        guidance_scale: float | None = None,
        sampler: Sampler = Sampler.UNSPECIFIED,
        sigma_schedule: SigmaSchedule = SigmaSchedule.UNSPECIFIED,
        width: int = 0,
        height: int = 0,
        clip_skip: int = 0,
    ) -> AsyncIterator[GenerationEvent]:
        """The same as it goes: Queued, then GenerationProgress, then each GeneratedImage when it is ready.

        Leaving the iteration cancels the request.
        """
        request = inference_pb2.GenerateImagesRequest(
            parent=_names.brand(brand),
            prompt=prompt,
            negative_prompt=negative_prompt,
            stack=_entries(stack),
            base_model=_names.base_model(base_model) if base_model else "",
            steps=steps,
            sampler=enum_to_number(_SAMPLERS, sampler),
            sigma_schedule=enum_to_number(_SCHEDULES, sigma_schedule),
            width=width,
            height=height,
            count=count,
            clip_skip=clip_skip,
            **given(guidance_scale=guidance_scale, seed=seed),
        )
        async for message in self._inference.stream("GenerateImages", request):
            event = generation_event(message)
            if event is not None:
                yield event

    async def sweep(
        self,
        brand: str | Brand,
        prompts: Sequence[str],
        *,
        seeds: Sequence[int] = (),
        weights: Sequence[float] = (),
        stack: Stack = (),
        negative_prompt: str = "",
        base_model: str | BaseModel = "",
        steps: int = 0,
        guidance_scale: float | None = None,
        sampler: Sampler = Sampler.UNSPECIFIED,
    ) -> AsyncIterator[SweepEvent]:
        """A picture for every prompt, seed and factor on the stack's weights; at the end a sheet of all."""
        template = inference_pb2.GenerateImagesRequest(
            parent=_names.brand(brand),
            stack=_entries(stack),
            negative_prompt=negative_prompt,
            base_model=_names.base_model(base_model) if base_model else "",
            steps=steps,
            sampler=enum_to_number(_SAMPLERS, sampler),
            **given(guidance_scale=guidance_scale),
        )
        request = inference_pb2.GenerateSweepRequest(
            template=template, prompts=prompts, seeds=seeds, weights=weights
        )
        async for message in self._inference.stream("GenerateSweep", request):
            event = sweep_event(message)
            if event is not None:
                yield event

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
    ) -> Path:
        """Writes the whole stack as one LoRA file that other tools can load."""
        request = inference_pb2.ExportStackRequest(
            parent=_names.brand(brand),
            stack=_entries(stack),
            base_model=_names.base_model(base_model) if base_model else "",
        )
        return await save_stream(self._inference.stream("ExportStack", request), destination)

    async def pin(
        self,
        brand: str | Brand,
        stack: Stack,
        *,
        time_to_live: timedelta,
        base_model: str | BaseModel = "",
    ) -> tuple[UsedLora, ...]:
        """Keeps the stack's files loaded for a time; zero lets go of them."""
        request = inference_pb2.PinStackRequest(
            parent=_names.brand(brand),
            stack=_entries(stack),
            base_model=_names.base_model(base_model) if base_model else "",
            time_to_live=time_to_live,
        )
        answer = await self._inference.call("PinStack", request, timeout_seconds=_LOADING_SECONDS)
        return tuple(from_proto(UsedLora, used) for used in answer.stack)


def _entries(stack: Stack) -> list[Any]:
    entries = [StackEntry(entry) if isinstance(entry, str) else entry for entry in stack]
    return [to_proto(entry, inference_pb2.StackEntry) for entry in entries]
