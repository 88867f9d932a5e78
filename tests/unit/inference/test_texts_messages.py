"""What is asked of texts: its limits, its messages to the engine and back, its conversion."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from brandloom.api.inference.v1 import inference_pb2
from servicekit.errors import InvalidArgument
from services.inference import convert_texts
from services.inference.domain import Box, StackEntry, StepWindow
from services.inference.domain_capacity import CacheUsage, LoadedBase, TextState
from services.inference.domain_jobs import BaseRef, LoraFile, Queued
from services.inference.domain_texts import (
    MAX_CHARACTERS,
    ChatMessage,
    FinishReason,
    Sampling,
    TextFinished,
    TextJob,
    TextPiece,
    TextRequest,
    TextStarted,
)
from services.inference.engine_messages import Failure, FrameError, decode_json, encode_frame
from services.inference.engine_text_messages import (
    decode_text_events,
    decode_text_job,
    decode_text_state,
    encode_text_events,
    encode_text_job,
    encode_text_state,
)

LORA = LoraFile(reference="voice", sha256="a" * 64, path="/a", text_encoder_weight=0.5, weight=0.5)
JOB = TextJob(
    job_id="1",
    brand="acme",
    base=BaseRef(name="baseModels/words", source="/base", sha256="b" * 64, family="causal_lm"),
    prompt="Grüße 🦊",
    messages=(ChatMessage(role="user", content="Hi"),),
    loras=(LORA,),
    sampling=Sampling(temperature=0.5, top_k=3, stop=("x", "y"), json_schema="{}", seed=9),
    priority=3,
)


def through_json(message: dict[str, Any]) -> dict[str, Any]:
    return decode_json(encode_frame(message)[8:])


def test_a_job_there_and_back() -> None:
    assert decode_text_job(through_json(encode_text_job(JOB))) == JOB


def test_events_there_and_back() -> None:
    words = [
        ("1", TextStarted(prompt_tokens=4)),
        ("1", TextPiece(text="ü")),
        ("2", TextFinished(reason=FinishReason.STOP, prompt_tokens=1, generated_tokens=2)),
        ("2", None),
        ("3", Failure(kind="InvalidArgument", reason="R", message="m", field="f", metadata={"a": "b"})),
    ]
    assert decode_text_events(through_json(encode_text_events(words))) == words


def test_the_state_there_and_back() -> None:
    state = TextState(
        active_rows=3,
        bases=(LoadedBase(sha256="b" * 64, family="causal_lm", source="/base"),),
        caches=(CacheUsage(level="text_memory", used_bytes=1, budget_bytes=2, hits=3, misses=4),),
    )
    assert decode_text_state(through_json(encode_text_state(state, []))) == state


@pytest.mark.parametrize(
    "message",
    [{}, {"job": {}}, {"job": {"base": {}}}, {"job": []}, {"events": [["1", "odd", 2]]}, {"events": [["1"]]}],
)
def test_what_is_no_message_is_refused(message: dict[str, Any]) -> None:
    for decode in (decode_text_job, decode_text_events, decode_text_state):
        with pytest.raises(FrameError):
            decode({"type": "odd", **message})


def test_defaults_are_filled_in() -> None:
    message = inference_pb2.GenerateTextRequest(parent="brands/acme", prompt="Hi")
    request = convert_texts.text_request(message)
    assert request == TextRequest(brand="acme", prompt="Hi")
    assert request.sampling == Sampling(
        temperature=1.0, top_p=1.0, top_k=0, min_p=0.0, repetition_penalty=1.0, max_tokens=256
    )
    given = inference_pb2.GenerateTextRequest(parent="brands/acme", temperature=0, seed=0, max_tokens=3)
    request = convert_texts.text_request(given)
    assert (request.sampling.temperature, request.seed, request.sampling.max_tokens) == (0.0, 0, 3)


def test_events_become_messages() -> None:
    queued = Queued(position=1, stack=(), seed=2, base_model_sha256="b")
    assert convert_texts.text_response(queued).queued.seed == 2
    assert convert_texts.text_response(TextPiece(text="a")).text == "a"
    finished = TextFinished(reason=FinishReason.LENGTH, prompt_tokens=1, generated_tokens=2)
    message = convert_texts.text_response(finished).finished
    assert message.reason == inference_pb2.TextFinished.REASON_LENGTH
    assert (message.prompt_tokens, message.generated_tokens) == (1, 2)


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"prompt": ""}, ["prompt"]),
        ({"messages": (ChatMessage(role="user", content="Hi"),)}, ["prompt"]),
        (
            {"prompt": "", "messages": (ChatMessage(role="robot", content="Hi"),)},
            ["messages[0].role", "messages"],
        ),
        (
            {"prompt": "", "messages": (ChatMessage(role="user", content="x" * (MAX_CHARACTERS + 1)),)},
            ["messages"],
        ),
        ({"sampling": Sampling(max_tokens=0)}, ["max_tokens"]),
        ({"sampling": Sampling(temperature=float("nan"), top_p=0.0)}, ["temperature", "top_p"]),
        # Scores divided by so little are infinite, and any word is drawn.
        ({"sampling": Sampling(temperature=1e-40)}, ["temperature"]),
        ({"sampling": Sampling(repetition_penalty=1e-40)}, ["repetition_penalty"]),
        ({"sampling": Sampling(repetition_penalty=0.0, min_p=2.0)}, ["min_p", "repetition_penalty"]),
        ({"sampling": Sampling(stop=("",))}, ["stop[0]"]),
        ({"sampling": Sampling(stop=("x",) * 17)}, ["stop"]),
        ({"sampling": Sampling(json_schema="[" * 100_000)}, ["json_schema"]),
        ({"sampling": Sampling(json_schema="true")}, ["json_schema"]),
        ({"sampling": Sampling(json_schema="{}", stop=("x",))}, ["stop"]),
        ({"seed": 2**32}, ["seed"]),
        ({"stack": (StackEntry(reference="a", weight=11, text_encoder_weight=11),)}, ["stack[0].weight"]),
        (
            {
                "stack": (
                    StackEntry(
                        reference="a",
                        text_encoder_weight=0.5,
                        window=StepWindow(end=0.5),
                        region=Box(left=0, top=0, right=1, bottom=1),
                    ),
                )
            },
            ["stack[0].text_encoder_weight", "stack[0].window", "stack[0].region"],
        ),
    ],
)
def test_every_fault_is_named(changes: dict[str, Any], fields: list[str]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        replace(TextRequest(brand="acme", prompt="Hi"), **changes).check()
    assert [violation.field for violation in caught.value.violations] == fields
