"""Protocol buffers to the domain and back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from brandloom.api.inference.v1 import inference_pb2
from servicekit.errors import InvalidArgument
from services.inference import convert
from services.inference.domain import Limits, Sampler, StackEntry
from services.inference.domain_capacity import CacheUsage, Capacity, LoadedBase
from services.inference.domain_jobs import Picture, Progress, Queued, UsedLora
from services.inference.domain_pins import PinnedStack


def test_what_is_left_out_gets_its_default() -> None:
    request = convert.image_request(inference_pb2.GenerateImagesRequest(parent="brands/acme"))
    assert (request.brand, request.steps, request.guidance, request.count) == ("acme", 25, 5.0, 1)
    assert (request.sampler, request.karras, request.seed) == (Sampler.DPMPP_2M, None, None)


def test_what_is_given_counts_even_when_it_is_zero() -> None:
    message = inference_pb2.GenerateImagesRequest(
        parent="brands/acme",
        prompt="a",
        negative_prompt="b",
        stack=[
            inference_pb2.StackEntry(reference="hero", weight=0.0),
            inference_pb2.StackEntry(reference="neon", weight=0.5, text_encoder_weight=0.0),
            inference_pb2.StackEntry(reference="dusk"),
        ],
        base_model="baseModels/tiny",
        steps=9,
        guidance_scale=0.0,
        sampler=inference_pb2.SAMPLER_EULER_ANCESTRAL,
        sigma_schedule=inference_pb2.SIGMA_SCHEDULE_KARRAS,
        seed=0,
        width=64,
        height=32,
        count=3,
        clip_skip=1,
    )
    request = convert.image_request(message)
    assert request.stack == (
        StackEntry(reference="hero", weight=0.0, text_encoder_weight=0.0),
        StackEntry(reference="neon", weight=0.5, text_encoder_weight=0.0),
        StackEntry(reference="dusk", weight=1.0, text_encoder_weight=1.0),
    )
    assert (request.guidance, request.seed, request.karras) == (0.0, 0, True)
    assert (request.steps, request.width, request.height, request.count, request.clip_skip) == (
        9,
        64,
        32,
        3,
        1,
    )
    assert (request.sampler, request.base_model) == (Sampler.EULER_ANCESTRAL, "baseModels/tiny")


def test_a_parent_must_be_a_brand() -> None:
    with pytest.raises(InvalidArgument):
        convert.image_request(inference_pb2.GenerateImagesRequest(parent="acme"))


def test_every_sampler_has_a_number_and_a_name() -> None:
    assert set(convert._SAMPLERS) == set(inference_pb2.Sampler.values())
    assert set(convert._SAMPLER_NUMBERS) == set(Sampler)


def test_events_become_messages() -> None:
    used = UsedLora(reference="hero", version="v", sha256="ab", text_encoder_weight=0.5, weight=0.25)
    queued = convert.image_response(Queued(position=2, stack=(used,), seed=5, base_model_sha256="cd")).queued
    assert (queued.position, queued.seed, queued.base_model_sha256) == (2, 5, "cd")
    assert (queued.stack[0].text_encoder_weight, queued.stack[0].weight) == (0.5, 0.25)
    progress = convert.image_response(Progress(step=1, total_steps=4, seconds_left=1.5)).progress
    assert (progress.step, progress.total_steps) == (1, 4)
    assert progress.time_left.ToMilliseconds() == 1500
    picture = Picture(index=1, seed=6, width=8, height=16, png=b"png", sha256="ef")
    image = convert.image_response(picture).image
    assert (image.index, image.seed, image.width, image.height, image.png) == (1, 6, 8, 16, b"png")


def test_capacity_becomes_a_message() -> None:
    capacity = Capacity(
        engine_ready=True,
        active_rows=3,
        max_rows=8,
        queued_requests=1,
        limits=Limits(max_side=256, max_queued=9),
        bases=(LoadedBase(sha256="ab", family="sd15", source="/x", default=True),),
        caches=(CacheUsage(level="disk", used_bytes=1, budget_bytes=2, hits=3, misses=4),),
    )
    message = convert.capacity_response(capacity, show_sources=True)
    assert (message.active_rows, message.max_rows, message.max_width, message.max_queued_requests) == (
        3,
        8,
        256,
        9,
    )
    assert message.bases[0].default
    assert (message.caches[0].level, message.caches[0].hits, message.caches[0].misses) == ("disk", 3, 4)
    assert len(message.samplers) == 4


def test_pins_come_and_go_with_their_times() -> None:
    message = inference_pb2.PinStackRequest(
        parent="brands/acme",
        stack=[inference_pb2.StackEntry(reference="hero", weight=0.5)],
        time_to_live=timedelta(minutes=1.5),
    )
    request = convert.pin_request(message)
    assert (request.brand, request.base_model, request.time_to_live_seconds) == ("acme", "", 90.0)
    assert request.stack == (StackEntry(reference="hero", weight=0.5, text_encoder_weight=0.5),)
    assert convert.pin_request(inference_pb2.PinStackRequest(parent="brands/acme")).time_to_live_seconds == 0
    used = UsedLora(reference="hero", version="v", sha256="ab", text_encoder_weight=0.5, weight=0.5)
    moment = datetime(2026, 5, 1, tzinfo=UTC)
    pinned = PinnedStack(brand="acme", stack=(used,), base_model_sha256="cd", expire_time=moment)
    answer = convert.pin_response(pinned)
    assert (answer.expire_time.ToDatetime(UTC), answer.stack[0].sha256) == (moment, "ab")
    assert not convert.pin_response(replace(pinned, expire_time=None)).HasField("expire_time")
