"""Frames between the service and its engine."""

from __future__ import annotations

import pytest

from services.inference import engine_messages as messages
from services.inference.domain import Box, Composition, InitialImage, Mask, Sampler, StepWindow
from services.inference.domain_jobs import BaseRef, ImageJob, LoraFile, Preview, Progress, RawPicture, Started

JOB = ImageJob(
    job_id="j",
    brand="acme",
    base=BaseRef(name="baseModels/tiny", source="/tiny", sha256="ab"),
    prompt="ein Füchslein",
    negative_prompt="",
    loras=(
        LoraFile(reference="hero", sha256="cd", path="/x", text_encoder_weight=0.5, weight=1.0),
        LoraFile(
            reference="neon",
            sha256="ef",
            path="/y",
            text_encoder_weight=1.0,
            weight=-1.0,
            window=StepWindow(start=0.2, end=0.8),
            region=Mask(png=b"mask"),
        ),
        LoraFile(
            reference="left",
            sha256="01",
            path="/z",
            text_encoder_weight=1.0,
            weight=1.0,
            region=Box(left=0.0, top=0.0, right=0.5, bottom=1.0),
        ),
    ),
    steps=3,
    guidance=5.0,
    sampler=Sampler.EULER_ANCESTRAL,
    karras=None,
    seed=1,
    width=0,
    height=0,
    count=1,
    clip_skip=0,
    composition=Composition.SWITCH,
    switch_every=2,
    initial_image=InitialImage(image=b"picture", strength=0.5, mask_png=b"\xff"),
    preview_every=5,
    priority=-3,
)


def unpack(frame: bytes) -> tuple[dict[str, object], bytes]:
    text, body = messages.LENGTHS.unpack(frame[:8])
    assert len(frame) == 8 + text + body
    return messages.decode_json(frame[8 : 8 + text]), frame[8 + text :]


def test_a_job_comes_out_as_it_went_in() -> None:
    message, body = unpack(messages.encode_frame(*messages.encode_job(JOB)))
    assert body == b"maskpicture\xff"
    assert messages.decode_job(message, body) == JOB


@pytest.mark.parametrize(
    "event",
    [
        Started(width=8, height=16, karras=True),
        Progress(step=1, total_steps=2, seconds_left=0.5),
        Preview(index=1, step=3, width=8, height=16, png=b"\x89PNG"),
        RawPicture(index=1, seed=2, width=8, height=16, png=b"\x89PNG"),
        RawPicture(index=1, seed=2, width=8, height=16, png=b"", withheld=True),
    ],
)
def test_an_event_comes_out_as_it_went_in(event: messages.EngineEvent) -> None:
    message, body = unpack(messages.encode_frame(*messages.encode_event("j", event)))
    assert message["job_id"] == "j"
    assert messages.decode_event(message, body) == event


def test_a_pin_is_a_job_of_another_kind() -> None:
    message, body = unpack(messages.encode_frame(*messages.encode_job(JOB, messages.PIN)))
    assert message["type"] == messages.PIN != messages.GENERATE
    assert messages.decode_job(message, body) == JOB


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"{}", b'{"type": 3}', b"\xff", b"\x80\x04N."])
def test_what_is_no_message_is_refused(text: bytes) -> None:
    with pytest.raises(messages.FrameError):
        messages.decode_json(text)


@pytest.mark.parametrize("change", [{"sampler": "Warp"}, {"base": None}, {"loras": [{}]}, {"extra": 1}])
def test_a_job_that_cannot_be_read_is_refused(change: dict[str, object]) -> None:
    message, body = messages.encode_job(JOB)
    message["job"] |= change
    with pytest.raises(messages.FrameError):
        messages.decode_job(message, body)


def test_frames_have_a_limit() -> None:
    with pytest.raises(messages.FrameError):
        messages.encode_frame({"type": "x", "text": "a" * (messages.MAX_JSON_BYTES + 1)})
    with pytest.raises(messages.FrameError):
        messages.check_lengths(1, messages.MAX_BODY_BYTES + 1)
