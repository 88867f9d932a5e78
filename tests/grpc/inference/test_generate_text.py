"""GenerateText over real gRPC, with a real registry, store and engine process."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import struct
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import jsonschema
import pytest
import pytest_asyncio
from prometheus_client import generate_latest

from brandloom.api.inference.v1 import inference_pb2
from brandloom.api.registry.v1 import resources_pb2
from brandloom.cli.plain import visible
from servicekit.channels import open_channel
from tests.fakes.identities import GUEST_TOKEN
from tests.fixtures.tiny_language_loras import write_language_lora
from tests.grpc.inference.text_harness import Texts, running_texts
from tests.grpc.registry.harness import TOKEN, Refusal, read_refusal
from tests.waiting import until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

STOP = inference_pb2.TextFinished.REASON_STOP
LENGTH = inference_pb2.TextFinished.REASON_LENGTH
BOX = inference_pb2.Box(right=1, bottom=1)
SCHEMA = {
    "type": "object",
    "properties": {
        "slogan": {"type": "string", "minLength": 3, "maxLength": 12},
        "year": {"type": "integer", "minimum": 1990, "maximum": 2030},
    },
    "required": ["slogan", "year"],
    "additionalProperties": False,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def texts(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Texts]:
    async with running_texts(
        tmp_path_factory.mktemp("texts"),
        BRANDLOOM_INFERENCE_MAX_TEXT_ROWS="4",
        BRANDLOOM_INFERENCE_BRAND_SHARE="1",
    ) as running:
        yield running


async def refused(texts: Texts, **fields: object) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await texts.generate(**fields)
    return read_refusal(caught.value)


def entry(reference: str, weight: float = 1.0, **more: object) -> inference_pb2.StackEntry:
    return inference_pb2.StackEntry(reference=reference, weight=weight, **more)


async def test_stream_of_queued_pieces_and_the_end(texts: Texts) -> None:
    answer = await texts.generate(prompt="<lora:voice:0.6> What do you sell?", stack=[entry("shout", -0.5)])
    assert answer.messages[0].HasField("queued")
    assert [(used.reference, used.weight) for used in answer.queued.stack] == [
        ("voice", 0.6),
        ("shout", -0.5),
    ]
    assert answer.queued.stack[0].version == "brands/acme/loras/voice/versions/1"
    assert answer.queued.base_model_sha256 == texts.base.sha256
    assert all(answer.pieces)
    finished = answer.finished
    assert finished.prompt_tokens == len(texts.base.tokenizer("What do you sell?").input_ids)
    assert finished.generated_tokens == 8 or finished.reason == STOP


async def test_a_stack_changes_the_text_and_tags_add_to_it(texts: Texts) -> None:
    prompt = "What do you sell?"
    plain = await texts.generate(prompt=prompt)
    tagged = await texts.generate(prompt=f"<lora:voice:0.4> {prompt}", stack=[entry("voice", 0.6)])
    explicit = await texts.generate(prompt=prompt, stack=[entry("voice")])
    cancelled_out = await texts.generate(prompt=f"<lora:voice:1> {prompt}", stack=[entry("voice", -1)])
    assert explicit.text == tagged.text != plain.text
    assert cancelled_out.text == plain.text
    assert (await texts.generate(prompt=prompt, stack=[entry("voice", 0)])).text == plain.text


async def test_conversations_go_through_the_chat_template(texts: Texts) -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What do you sell?"}]
    rendered = texts.base.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    messages = [inference_pb2.ChatMessage(**turn) for turn in turns]
    answer = await texts.generate(messages=messages, stack=[entry("voice")])
    assert answer.text == (await texts.generate(prompt=rendered, stack=[entry("voice")])).text
    assert answer.finished.prompt_tokens == len(
        texts.base.tokenizer(rendered, add_special_tokens=False).input_ids
    )


async def test_a_seed_gives_the_same_text_alone_and_in_company(texts: Texts) -> None:
    settings = {"temperature": 1.2, "top_p": 0.95, "max_tokens": 12}
    alone = await texts.generate(seed=7, **settings)
    company = await asyncio.gather(
        *(texts.generate(seed=seed, stack=[entry("voice", seed / 10)], **settings) for seed in range(5)),
        texts.generate(seed=7, **settings),
    )
    assert company[-1].text == alone.text
    assert alone.queued.seed == 7
    assert (await texts.generate(seed=8, **settings)).text != alone.text
    drawn = await texts.generate(**settings)
    assert (await texts.generate(seed=drawn.queued.seed, **settings)).text == drawn.text


async def test_a_text_ends_before_a_stop_text(texts: Texts) -> None:
    whole = (await texts.generate(max_tokens=12)).text
    stop = whole[3:6]
    answer = await texts.generate(max_tokens=12, stop=["never there", stop])
    assert answer.text == whole[: whole.index(stop)]
    assert answer.finished.reason == STOP
    assert answer.finished.generated_tokens < 12


async def test_json_satisfies_its_schema(texts: Texts) -> None:
    ends = set()
    for seed in range(6):
        answer = await texts.generate(
            json_schema=json.dumps(SCHEMA), temperature=1.0, seed=seed, max_tokens=60, stack=[entry("voice")]
        )
        ends.add(answer.finished.reason)
        if answer.finished.reason == STOP:
            jsonschema.validate(json.loads(answer.text), SCHEMA)
    assert STOP in ends
    cut = await texts.generate(json_schema=json.dumps(SCHEMA), max_tokens=3)
    assert cut.finished.reason == LENGTH


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"prompt": "", "messages": []}, "prompt"),
        ({"prompt": "Hi", "messages": [inference_pb2.ChatMessage(role="user", content="Hi")]}, "prompt"),
        ({"messages": [inference_pb2.ChatMessage(role="assistant", content="Hi")]}, "messages"),
        ({"json_schema": "{"}, "json_schema"),
        ({"json_schema": "[]"}, "json_schema"),
        ({"json_schema": '{"type": "frob"}'}, "json_schema"),
        ({"json_schema": '{"not": {"type": "string"}}'}, "json_schema"),
        ({"json_schema": "{}", "stop": ["x"]}, "stop"),
        ({"prompt": "word " * 200}, "prompt"),
        ({"prompt": "<lora:voice:0.1:0.2> Hi"}, "prompt"),
        ({"stack": [entry("voice", text_encoder_weight=0.5)]}, "stack[0].text_encoder_weight"),
        ({"stack": [entry("voice", window=inference_pb2.StepWindow(start=0, end=0.5))]}, "stack[0].window"),
        (
            {
                "stack": [
                    entry("voice", region=inference_pb2.Region(box=inference_pb2.Box(right=1, bottom=1)))
                ]
            },
            "stack[0].region",
        ),
        ({"stack": [entry("nobody")]}, "stack[0].reference"),
    ],
)
async def test_what_is_wrong_is_named(texts: Texts, fields: dict[str, object], field: str) -> None:
    refusal = await refused(texts, **fields)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(refusal.fields) == [field], refusal


async def test_a_prompt_that_is_too_long_is_refused_with_numbers(texts: Texts) -> None:
    refusal = await refused(texts, prompt="word " * 200)
    assert refusal.reason == "PROMPT_TOO_LONG"
    tokens = len(texts.base.tokenizer("word " * 200).input_ids)
    assert f"{tokens} tokens" in refusal.fields["prompt"]
    assert f"takes {texts.base.max_tokens}" in refusal.fields["prompt"]


async def test_a_text_ends_where_the_model_does(texts: Texts) -> None:
    answer = await texts.generate(prompt="x" * 60, max_tokens=8000)
    finished = answer.finished
    assert finished.reason == LENGTH or finished.reason == STOP
    assert finished.prompt_tokens + finished.generated_tokens <= texts.base.max_tokens


async def test_families_are_told_apart_both_ways(texts: Texts) -> None:
    refusal = await refused(texts, base_model="baseModels/tiny")
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "BASE_FAMILY_UNSUPPORTED",
    )
    assert "sd15 model, which makes no texts" in refusal.fields["base_model"]
    refusal = await refused(texts, stack=[entry("hero")])
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "sd15" in refusal.fields["stack[0].reference"]
    refusals = set()
    for fields in (
        {"base_model": "baseModels/words"},
        {"base_model": "baseModels/tiny", "stack": [entry("voice")]},
    ):
        request = inference_pb2.GenerateImagesRequest(parent="brands/acme", prompt="a fox", **fields)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in texts.stub.GenerateImages(request):
                pass
        refusals.add(caught.value.code())
    assert refusals == {grpc.StatusCode.INVALID_ARGUMENT}


async def test_guests_use_their_own_brand_only(texts: Texts) -> None:
    async with open_channel(f"127.0.0.1:{texts.port}", token=GUEST_TOKEN) as channel:
        call = channel.unary_stream(
            "/brandloom.api.inference.v1.InferenceService/GenerateText",
            request_serializer=inference_pb2.GenerateTextRequest.SerializeToString,
            response_deserializer=inference_pb2.GenerateTextResponse.FromString,
        )
        assert [message async for message in call(texts.request())][-1].HasField("finished")
        for fields in ({"parent": "brands/other"}, {"prompt": "<lora:other/voice> Hi"}):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                async for _ in call(texts.request(**fields)):
                    pass
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_cancelled_and_expired_texts_leave_no_rows(texts: Texts) -> None:
    # So hot, one of three hundred words is the end mark.
    endless = {"max_tokens": 80, "temperature": 10.0}
    calls = [texts.stub.GenerateText(texts.request(seed=seed, **endless)) for seed in range(3)]
    for call in calls:
        async for message in call:
            if message.WhichOneof("message") == "text":
                break
        call.cancel()
    for seed in range(3):
        with pytest.raises(grpc.aio.AioRpcError):
            async for _ in texts.stub.GenerateText(texts.request(seed=seed, **endless), timeout=0.02):
                pass
    await until(lambda: _none(texts), seconds=5.0)
    answer = await texts.generate()
    assert answer.messages[-1].HasField("finished")


async def _none(texts: Texts) -> bool:
    return await texts.rows() == 0


async def test_a_broken_file_fails_its_own_requests_alone(texts: Texts) -> None:
    file = write_language_lora(texts.base, texts.folder / "broken", seed=9)
    # The header is sound, and so the registry takes it; the last of its numbers is none.
    data = file.read_bytes()[:-4] + struct.pack("<f", math.nan)
    version = resources_pb2.LoraVersion(base_model="baseModels/words")
    await texts.registry.upload(data, "brands/acme/loras/broken", version=version)
    bad, good = await asyncio.gather(
        refused(texts, stack=[entry("voice"), entry("broken")]), texts.generate(stack=[entry("voice")])
    )
    assert (bad.code, bad.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "LORA_FILE_INVALID")
    assert "broken" in bad.message
    assert "not finite" in bad.message
    assert good.messages[-1].HasField("finished")


async def test_metrics_and_capacity_tell_of_texts(texts: Texts) -> None:
    await texts.generate(max_tokens=5)
    capacity = await texts.stub.GetCapacity(inference_pb2.GetCapacityRequest())
    assert capacity.max_text_rows == 4
    assert [(base.sha256, base.default) for base in capacity.bases] == [(texts.base.sha256, True)]
    assert {"text_memory", "text_device", "text_keys_values"} <= {cache.level for cache in capacity.caches}
    exposed = generate_latest(texts.app.metrics.registry).decode()
    assert 'brandloom_inference_generated_tokens_total{brand="acme"}' in exposed
    assert "brandloom_inference_text_step_rows_count" in exposed


async def test_the_command_writes_as_it_goes(texts: Texts, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "array", "items": {"type": "boolean"}, "maxItems": 2}')

    async def run(*arguments: str) -> tuple[int | None, str, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "brandloom", "--inference", f"127.0.0.1:{texts.port}"),
            *("complete", "acme", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "BRANDLOOM_TOKEN": TOKEN},
        )
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    settings = ("--temperature", "0", "--max-tokens", "8", "--lora", "voice:0.5")
    code, out, err = await run("What do you sell?", *settings)
    expected = await texts.generate(stack=[entry("voice", 0.5)])
    assert code == 0, err
    assert out == visible(expected.text) + "\n"
    assert "with acme/voice@1 at 0.5" in err
    code, out, err = await run("--json", "--message", "user=Hi", "--seed", "3", "--json-schema", str(schema))
    document = json.loads(out)
    assert document["finished"]["reason"] == "STOP"
    assert document["request"]["seed"] == 3
    assert len(json.loads(document["text"])) <= 2
    code, out, err = await run("Hi", "--message", "robot=Hi")
    assert (code, "ROLE=TEXT" in err) == (2, True)


@pytest.mark.slow
async def test_an_engine_that_dies_is_told_of_and_comes_back(texts: Texts) -> None:
    call = texts.stub.GenerateText(texts.request(max_tokens=80, temperature=10.0, seed=1))
    async for message in call:
        if message.HasField("queued"):
            break
    pid = texts.app.engine.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    await texts.engine_ready()
    assert (await texts.generate()).messages[-1].HasField("finished")


async def test_a_stack_of_texts_is_exported_for_peft(texts: Texts) -> None:
    stack = [
        inference_pb2.StackEntry(reference="voice", weight=0.5),
        inference_pb2.StackEntry(reference="shout"),
    ]
    request = inference_pb2.ExportStackRequest(parent="brands/acme", stack=stack)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await anext(aiter(texts.stub.ExportStack(request)))
    # What names no base is for pictures.
    assert "base" in read_refusal(caught.value).message
    request.base_model = "baseModels/words"
    chunks = [chunk async for chunk in texts.stub.ExportStack(request)]
    assert chunks[0].file_name == "adapter_model.safetensors"
    data = b"".join(chunk.data for chunk in chunks)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    config = json.loads(header["__metadata__"]["lora_adapter_metadata"])
    assert (config["peft_type"], config["base_model_name_or_path"]) == ("LORA", "baseModels/words")
    assert config["r"] == 12
    assert any(name.endswith("lora_A.weight") for name in header)
