"""Between protocol buffers and the domain; pure."""

from __future__ import annotations

from google.protobuf import duration_pb2

from brandloom.api.common.v1 import family_pb2
from brandloom.api.inference.v1 import inference_pb2
from servicekit.names import parse
from services.inference.domain import (
    ALL_STEPS,
    CAUSAL_LM_FAMILY,
    SD15_FAMILY,
    SDXL_FAMILY,
    Box,
    Composition,
    ImageRequest,
    InitialImage,
    Mask,
    Region,
    Sampler,
    StackEntry,
    StepWindow,
)
from services.inference.domain_capacity import CacheUsage, Capacity, LoadedBase
from services.inference.domain_jobs import ImageEvent, Picture, Preview, Progress, Queued, UsedLora
from services.inference.domain_pins import PinnedStack, PinRequest

DEFAULT_STEPS = 25
DEFAULT_GUIDANCE = 5.0
DEFAULT_STRENGTH = 0.75

_SAMPLERS = {
    inference_pb2.SAMPLER_UNSPECIFIED: Sampler.DPMPP_2M,
    inference_pb2.SAMPLER_EULER: Sampler.EULER,
    inference_pb2.SAMPLER_EULER_ANCESTRAL: Sampler.EULER_ANCESTRAL,
    inference_pb2.SAMPLER_DDIM: Sampler.DDIM,
    inference_pb2.SAMPLER_DPMPP_2M: Sampler.DPMPP_2M,
}
_SAMPLER_NUMBERS = {
    sampler: number for number, sampler in _SAMPLERS.items() if number != inference_pb2.SAMPLER_UNSPECIFIED
}
_COMPOSITIONS = {
    inference_pb2.COMPOSITION_UNSPECIFIED: Composition.ADD,
    inference_pb2.COMPOSITION_ADD: Composition.ADD,
    inference_pb2.COMPOSITION_SWITCH: Composition.SWITCH,
    inference_pb2.COMPOSITION_COMPOSITE: Composition.COMPOSITE,
}
_FAMILIES = {
    SD15_FAMILY: family_pb2.MODEL_FAMILY_SD15,
    SDXL_FAMILY: family_pb2.MODEL_FAMILY_SDXL,
    CAUSAL_LM_FAMILY: family_pb2.MODEL_FAMILY_CAUSAL_LM,
}


def image_request(message: inference_pb2.GenerateImagesRequest) -> ImageRequest:
    """The request with its defaults filled in. Raises InvalidArgument for a parent that is no brand."""
    karras = message.sigma_schedule == inference_pb2.SIGMA_SCHEDULE_KARRAS
    return ImageRequest(
        brand=parse("brands/{brand}", message.parent, field="parent")["brand"],
        prompt=message.prompt,
        negative_prompt=message.negative_prompt,
        stack=tuple(stack_entry(entry) for entry in message.stack),
        base_model=message.base_model,
        steps=message.steps or DEFAULT_STEPS,
        guidance=message.guidance_scale if message.HasField("guidance_scale") else DEFAULT_GUIDANCE,
        sampler=_SAMPLERS[message.sampler],
        karras=True if karras else None,
        seed=message.seed if message.HasField("seed") else None,
        width=message.width,
        height=message.height,
        count=message.count or 1,
        clip_skip=message.clip_skip,
        composition=_COMPOSITIONS[message.composition],
        switch_every=message.switch_every or 1,
        initial_image=_initial_image(message.initial_image) if message.HasField("initial_image") else None,
        preview_every=message.preview_every,
        priority=message.priority,
    )


def stack_entry(message: inference_pb2.StackEntry) -> StackEntry:
    """One entry: its weight is 1 unless given, the text encoder's the same unless given."""
    weight = message.weight if message.HasField("weight") else 1.0
    has_own = message.HasField("text_encoder_weight")
    return StackEntry(
        reference=message.reference,
        weight=weight,
        text_encoder_weight=message.text_encoder_weight if has_own else weight,
        window=_window(message.window) if message.HasField("window") else ALL_STEPS,
        region=_region(message.region) if message.HasField("region") else None,
    )


def _window(message: inference_pb2.StepWindow) -> StepWindow:
    return StepWindow(start=message.start, end=message.end)


def _region(message: inference_pb2.Region) -> Region:
    if message.WhichOneof("shape") == "mask_png":
        return Mask(png=message.mask_png)
    box = message.box
    return Box(left=box.left, top=box.top, right=box.right, bottom=box.bottom)


def _initial_image(message: inference_pb2.InitialImage) -> InitialImage:
    strength = message.strength if message.HasField("strength") else DEFAULT_STRENGTH
    return InitialImage(image=message.image, strength=strength, mask_png=message.mask_png)


def image_response(event: ImageEvent) -> inference_pb2.GenerateImagesResponse:
    """An event of a request as a message of its stream."""
    if isinstance(event, Queued):
        return inference_pb2.GenerateImagesResponse(queued=queued_message(event))
    if isinstance(event, Progress):
        return inference_pb2.GenerateImagesResponse(progress=progress_message(event))
    if isinstance(event, Preview):
        return inference_pb2.GenerateImagesResponse(preview=preview_message(event))
    return inference_pb2.GenerateImagesResponse(image=picture_message(event))


def queued_message(queued: Queued) -> inference_pb2.Queued:
    """Queued as a message."""
    return inference_pb2.Queued(
        position=queued.position,
        stack=[used_message(used) for used in queued.stack],
        seed=queued.seed,
        base_model_sha256=queued.base_model_sha256,
    )


def used_message(used: UsedLora) -> inference_pb2.UsedLora:
    """A used LoRA as a message."""
    return inference_pb2.UsedLora(
        reference=used.reference,
        version=used.version,
        sha256=used.sha256,
        text_encoder_weight=used.text_encoder_weight,
        weight=used.weight,
    )


def progress_message(progress: Progress) -> inference_pb2.GenerationProgress:
    """Progress as a message."""
    left = duration_pb2.Duration()
    left.FromNanoseconds(int(progress.seconds_left * 1e9))
    return inference_pb2.GenerationProgress(
        step=progress.step, total_steps=progress.total_steps, time_left=left
    )


def preview_message(preview: Preview) -> inference_pb2.Preview:
    """A preview as a message."""
    return inference_pb2.Preview(
        index=preview.index,
        step=preview.step,
        png=preview.png,
        width=preview.width,
        height=preview.height,
    )


def picture_message(picture: Picture) -> inference_pb2.GeneratedImage:
    """A picture as a message."""
    return inference_pb2.GeneratedImage(
        index=picture.index,
        png=picture.png,
        width=picture.width,
        height=picture.height,
        seed=picture.seed,
        sha256=picture.sha256,
        withheld=picture.withheld,
    )


def capacity_response(capacity: Capacity, *, show_sources: bool) -> inference_pb2.GetCapacityResponse:
    """Capacity as a message. Sources of base models may be paths of this host: shown where asked for."""
    return inference_pb2.GetCapacityResponse(
        engine_ready=capacity.engine_ready,
        active_rows=capacity.active_rows,
        max_rows=capacity.max_rows,
        queued_requests=capacity.queued_requests,
        max_queued_requests=capacity.limits.max_queued,
        bases=[_base_message(base, show_source=show_sources) for base in capacity.bases],
        caches=[_cache_message(cache) for cache in capacity.caches],
        samplers=[_SAMPLER_NUMBERS[sampler] for sampler in capacity.samplers],
        max_width=capacity.limits.max_side,
        max_height=capacity.limits.max_side,
        active_text_rows=capacity.active_text_rows,
        max_text_rows=capacity.max_text_rows,
        draining=capacity.draining,
        pins=[_pin_message(pin) for pin in capacity.pins],
    )


def pin_request(message: inference_pb2.PinStackRequest) -> PinRequest:
    """The request. Raises InvalidArgument for a parent that is no brand."""
    return PinRequest(
        brand=parse("brands/{brand}", message.parent, field="parent")["brand"],
        stack=tuple(stack_entry(entry) for entry in message.stack),
        base_model=message.base_model,
        time_to_live_seconds=message.time_to_live.ToNanoseconds() / 1e9,
    )


def pin_response(pinned: PinnedStack) -> inference_pb2.PinStackResponse:
    """A pinned stack, or one that is not any more, as the answer to its request."""
    return inference_pb2.PinStackResponse(
        stack=[used_message(used) for used in pinned.stack], expire_time=pinned.expire_time
    )


def _pin_message(pinned: PinnedStack) -> inference_pb2.PinnedStack:
    return inference_pb2.PinnedStack(
        parent=f"brands/{pinned.brand}",
        stack=[used_message(used) for used in pinned.stack],
        base_model_sha256=pinned.base_model_sha256,
        expire_time=pinned.expire_time,
    )


def _base_message(base: LoadedBase, *, show_source: bool) -> inference_pb2.LoadedBase:
    return inference_pb2.LoadedBase(
        sha256=base.sha256,
        family=_FAMILIES.get(base.family, family_pb2.MODEL_FAMILY_UNSPECIFIED),
        source=base.source if show_source else "",
        default=base.default,
    )


def _cache_message(cache: CacheUsage) -> inference_pb2.CacheUsage:
    return inference_pb2.CacheUsage(
        level=cache.level,
        used_bytes=cache.used_bytes,
        budget_bytes=cache.budget_bytes,
        hits=cache.hits,
        misses=cache.misses,
    )
