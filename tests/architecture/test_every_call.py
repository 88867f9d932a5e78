"""Every RPC can be called with the SDK and with the command, but for those named here with the reason."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from click.testing import CliRunner, Result
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from brandloom._blocking import LoopThread
from brandloom.api.common.v1 import job_pb2
from brandloom.api.inference.v1 import inference_pb2
from brandloom.api.labeler.v1 import labeler_pb2
from brandloom.api.registry.v1 import registry_pb2
from brandloom.api.trainer.v1 import trainer_pb2, worker_pb2
from brandloom.cli.main import cli
from brandloom.cli.session import Session
from brandloom.errors import BrandloomError

GROUPS = Path(__file__).resolve().parents[2] / "brandloom" / "_groups"
FILES = (registry_pb2, labeler_pb2, trainer_pb2, worker_pb2, inference_pb2)
METHODS: dict[str, MethodDescriptor] = {
    method.name: method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}

NOT_IN_THE_SDK = {
    "LeaseTrainingJobs": "for the trainer's workers",
    "Heartbeat": "for the trainer's workers",
    "ReportTrainingEvents": "for the trainer's workers",
    "CompleteTrainingJob": "for the trainer's workers",
    "ReportMemory": "for the trainer's workers",
    "RegisterVersion": "for services that have put the file into the store themselves",
}
PICTURE, JOB, LABEL_JOB, VERSION = "acme/set/1", "acme/1", "acme/set/1", "acme/hero@1"
COMMANDS = {
    "CreateBrand": "brands create acme",
    "GetBrand": "brands get acme",
    "ListBrands": "brands list",
    "UpdateBrand": "brands update acme --no-labels",
    "DeleteBrand": "brands delete acme --yes",
    "CreateBaseModel": "base-models register sd {model} --family sd15 --resolution 512",
    "GetBaseModel": "base-models get sd",
    "ListBaseModels": "base-models list",
    "UpdateBaseModel": "base-models update sd --license mit",
    "DeleteBaseModel": "base-models delete sd --yes",
    "CreateLora": "loras create acme/hero --tag style",
    "GetLora": "loras get acme/hero",
    "ListLoras": "loras list acme",
    "SearchLoras": "loras search neon",
    "UpdateLora": "loras update acme/hero --no-tags",
    "DeleteLora": "loras delete acme/hero --yes",
    "WatchChanges": "loras watch acme",
    "UploadVersion": "versions upload acme/hero {file}",
    "GetLoraVersion": f"versions get {VERSION}",
    "ListLoraVersions": "versions list acme/hero",
    "UpdateLoraVersion": f"versions update {VERSION} --license mit",
    "DownloadVersion": f"versions download {VERSION} {{folder}}",
    "GetDownloadUrl": f"versions url {VERSION}",
    "GetLineage": f"versions lineage {VERSION}",
    "SetAlias": "alias set acme/hero prod 1",
    "DeleteAlias": "alias delete acme/hero prod",
    "ResolveStack": "stack resolve acme hero",
    "CreateDataset": "datasets create acme/set",
    "GetDataset": "datasets get acme/set",
    "ListDatasets": "datasets list acme",
    "UpdateDataset": "datasets update acme/set --description new",
    "DeleteDataset": "datasets delete acme/set --yes",
    "UploadImages": "datasets upload acme/set {file}",
    "ListImages": "images list acme/set",
    "GetImage": f"images get {PICTURE}",
    "DownloadImage": f"images download {PICTURE} {{folder}}",
    "UpdateImage": f"images update {PICTURE} --exclude",
    "DeleteImage": f"images delete {PICTURE} --yes",
    "UpdateCaption": f"images caption {PICTURE} text",
    "BatchUpdateCaptions": "datasets edit-captions acme/set --prefix a",
    "UploadTexts": "texts upload acme/set {texts}",
    "ListTexts": "texts list acme/set",
    "GetText": f"texts get {PICTURE}",
    "UpdateText": f"texts update {PICTURE} --exclude",
    "DeleteText": f"texts delete {PICTURE} --yes",
    "CreateLabelJob": "datasets label acme/set --no-wait",
    "GetLabelJob": f"label-jobs get {LABEL_JOB}",
    "ListLabelJobs": "label-jobs list acme/set",
    "CancelLabelJob": f"label-jobs cancel {LABEL_JOB}",
    "WatchLabelJob": f"label-jobs watch {LABEL_JOB}",
    "SealRevision": "datasets seal acme/set",
    "GetDatasetRevision": "revisions get acme/set@1",
    "ListDatasetRevisions": "revisions list acme/set",
    "ImportCaptions": "datasets import acme/set {captions}",
    "ExportDataset": "datasets export acme/set {folder}",
    "CreateTrainingJob": "jobs create acme/hero --dataset acme/set --base-model sd",
    "GetTrainingJob": f"jobs get {JOB}",
    "ListTrainingJobs": "jobs list",
    "CancelTrainingJob": f"jobs cancel {JOB}",
    "ResumeTrainingJob": f"jobs resume {JOB}",
    "WatchTrainingJob": f"jobs watch {JOB}",
    "GetMetrics": f"jobs metrics {JOB}",
    "ValidateTrainingSpec": "jobs create acme/hero --dataset acme/set --base-model sd --dry-run",
    "DownloadJobArtifact": f"jobs download {JOB} {{folder}} --file a.png",
    "GenerateImages": "generate acme cat --output {folder}",
    "GenerateText": "complete acme Hello",
    "GenerateSweep": "sweep acme cat --output {folder}",
    "ExportStack": "stack export acme hero --output {folder}",
    "PinStack": "stack pin acme hero --for 1h",
    "GetCapacity": "capacity",
}


class Recorder(grpc.GenericRpcHandler):
    """Takes every RPC of the API: plain calls get an empty answer, streams end as not found."""

    def __init__(self) -> None:
        self.called: set[str] = set()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        method = METHODS[details.method.rpartition("/")[2]]
        self.called.add(method.name)
        handlers: dict[tuple[bool, bool], Callable[..., grpc.RpcMethodHandler[Any, Any]]] = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
        }
        behaviour = _abort if method.server_streaming else _answer(method)
        return handlers[method.client_streaming, method.server_streaming](
            behaviour,
            request_deserializer=GetMessageClass(method.input_type).FromString,
            response_serializer=GetMessageClass(method.output_type).SerializeToString,
        )


def _answer(method: MethodDescriptor) -> Callable[[Any, Any], Any]:
    async def answer(request: Any, context: Any) -> Any:
        if method.client_streaming:
            async for _ in request:
                pass
        message: Any = GetMessageClass(method.output_type)()
        if all("name" in kind.fields_by_name for kind in (method.input_type, method.output_type)):
            message.name = request.name
        if "state" in method.output_type.fields_by_name:
            message.state = job_pb2.JOB_STATE_SUCCEEDED
        return message

    return answer


async def _abort(request: Any, context: Any) -> AsyncIterator[Any]:
    await context.abort(grpc.StatusCode.NOT_FOUND, "nothing is here")
    yield


@pytest.fixture(scope="module")
def recorder() -> Iterator[tuple[Recorder, str]]:
    """A server in a loop of its own, since the command blocks the test's thread; and its address."""
    loop, handler = LoopThread(), Recorder()

    async def start() -> tuple[grpc.aio.Server, int]:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((handler,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port

    server, port = loop.run(start())
    yield handler, f"127.0.0.1:{port}"
    loop.run(server.stop(None))
    loop.close()


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Files that commands can be given."""
    model = tmp_path / "base.safetensors"
    model.write_bytes(b"weights")
    captions = tmp_path / "captions.csv"
    captions.write_text("file_name,text\n")
    texts = tmp_path / "voice.jsonl"
    texts.write_text('{"prompt": "Hello?", "response": "Hello!"}\n')
    picture = tmp_path / "cat.png"
    picture.write_bytes(b"no picture")
    return {"folder": tmp_path, "file": picture, "captions": captions, "model": model, "texts": texts}


@pytest.fixture
def run(
    recorder: tuple[Recorder, str], places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Result]:
    """Runs a command against the recording server."""
    handler, address = recorder
    handler.called.clear()
    monkeypatch.setenv("BRANDLOOM_TOKEN", "t")
    addresses = [
        part
        for service in ("registry", "labeler", "trainer", "inference")
        for part in (f"--{service}", address)
    ]

    def call(command: str) -> Result:
        words = [word.format(**places) for word in command.split()]
        return CliRunner().invoke(cli, [*addresses, *words], obj=Session())

    return call


@pytest.mark.parametrize("method", COMMANDS)
def test_every_rpc_has_its_command(
    method: str, recorder: tuple[Recorder, str], run: Callable[[str], Result]
) -> None:
    done = run(COMMANDS[method])
    assert method in recorder[0].called, done.output
    assert done.exception is None or isinstance(done.exception, BrandloomError), done.output


@pytest.mark.parametrize("method", [name for name in COMMANDS if not METHODS[name].server_streaming])
def test_every_answer_can_be_had_as_json(method: str, run: Callable[[str], Result]) -> None:
    done = run(f"{COMMANDS[method]} --json")
    assert done.exception is None, done.output
    json.loads(done.stdout)
    assert done.stderr == ""


def test_no_reason_is_given_for_what_there_is_not() -> None:
    assert set(COMMANDS) | set(NOT_IN_THE_SDK) == set(METHODS)


def test_the_sdk_calls_every_rpc() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in GROUPS.glob("*.py"))
    called = set(re.findall(r'\.(?:call|items|stream|send)\(\s*"(\w+)"', text))
    assert called == set(METHODS) - set(NOT_IN_THE_SDK)
