"""What the service and its engine process say to each other: frames of JSON and bytes over a socket.

A frame is two big-endian 32-bit lengths, a JSON object and a body. Nothing is ever unpickled, and both sides
refuse frames beyond a limit. Free of torch, for the service's own process imports it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from services.inference.domain import Box, Composition, InitialImage, Mask, Sampler, StepWindow
from services.inference.domain_jobs import (
    BaseRef,
    EngineEvent,
    ImageJob,
    LoraFile,
    Preview,
    Progress,
    RawPicture,
    Started,
)

LENGTHS = struct.Struct(">II")
MAX_JSON_BYTES = 4 << 20
MAX_BODY_BYTES = 128 << 20

GENERATE = "generate"
CANCEL = "cancel"
PIN = "pin"
"""Carries a job whose stack is to stay loaded; its job_id is the pin's key. FINISHED or FAILED answers."""
UNPIN = "unpin"
READY = "ready"
STARTED = "started"
PROGRESS = "progress"
PREVIEW = "preview"
PICTURE = "picture"
FINISHED = "finished"
FAILED = "failed"
STATE = "state"


_BYTES = "$bytes"
"""Stands in a message for bytes of its body, from here to there."""


class FrameError(Exception):
    """The other side sent something that is no frame."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSettings:
    """How the engine process is to run."""

    device: str
    """`auto`, `cpu`, `cuda`, `cuda:1` ..."""
    dtype: str
    """`float32`, `bfloat16` or `float16`."""
    threads: int
    """CPU threads for torch."""
    max_rows: int
    """Rows in the denoising batch."""
    row_memory_bytes: int
    """What rows may take while they pass the model; 0: most of what is free when the engine starts."""
    lora_memory_bytes: int
    """LoRA files in the host's memory."""
    stack_memory_bytes: int
    """Folded stacks on the device."""
    text_memory_bytes: int
    max_bases: int
    """Base models held at once, for pictures and for texts each."""
    max_text_rows: int = 16
    """Rows in the batches of language models."""
    text_cache_bytes: int = 512 << 20
    """For keys and values of these rows."""
    language_lora_memory_bytes: int = 256 << 20
    compile_backend: str = ""
    """torch.compile's backend for denoising models; empty: they are not compiled."""
    preload_text: str = ""
    """A language model to load before the first request."""
    preload: str = ""
    """A base model to load before the first request."""
    configs: str = ""
    """Pipeline directory with the configurations for single-file checkpoints; empty: worked out."""
    tokenizer: str = ""
    """Where single-file checkpoints get CLIP's tokenizer; empty: the hub's cache."""
    safety_checker: str = ""
    """Directory of the checker that finished pictures must pass; empty: none."""
    log_level: str = "INFO"
    log_format: str = "console"


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why the engine could not do a job; ``kind`` is the name of an error class of servicekit."""

    kind: str
    reason: str
    message: str
    field: str = ""
    metadata: Mapping[str, str]


def encode_frame(message: Mapping[str, Any], body: bytes = b"") -> bytes:
    """One frame. Raises FrameError if it is larger than the other side takes."""
    text = json.dumps(message, allow_nan=False).encode()
    check_lengths(len(text), len(body))
    return LENGTHS.pack(len(text), len(body)) + text + body


def check_lengths(text: int, body: int) -> None:
    """Raises FrameError for lengths beyond the limits."""
    if text > MAX_JSON_BYTES or body > MAX_BODY_BYTES:
        raise FrameError(f"a frame of {text} and {body} bytes is too large")


def decode_json(text: bytes) -> dict[str, Any]:
    """The JSON object of a frame, which has a type. Raises FrameError."""
    try:
        message = json.loads(text)
    except ValueError as error:
        raise FrameError(f"a frame does not hold JSON: {error}") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise FrameError("a frame holds no message with a type")
    return message


def encode_job(job: ImageJob, kind: str = GENERATE) -> tuple[dict[str, Any], bytes]:
    """A job as a message (GENERATE or PIN) and its body, which holds its pictures and masks one after
    another.
    """
    body = bytearray()

    def out_of_line(value: Any) -> Any:
        if isinstance(value, bytes):
            body.extend(value)
            return {_BYTES: [len(body) - len(value), len(body)]}
        if isinstance(value, dict):
            return {name: out_of_line(part) for name, part in value.items()}
        return [out_of_line(part) for part in value] if isinstance(value, list | tuple) else value

    return {"type": kind, "job": out_of_line(asdict(job))}, bytes(body)


def decode_job(message: Mapping[str, Any], body: bytes) -> ImageJob:
    """The job of a message. Raises FrameError."""

    def in_line(value: Any) -> Any:
        if isinstance(value, dict):
            if _BYTES in value:
                start, end = value[_BYTES]
                return body[start:end]
            return {name: in_line(part) for name, part in value.items()}
        return [in_line(part) for part in value] if isinstance(value, list) else value

    try:
        fields = in_line(message["job"])
        fields["base"] = BaseRef(**fields["base"])
        fields["loras"] = tuple(_lora_file(lora) for lora in fields["loras"])
        fields["sampler"] = Sampler(fields["sampler"])
        fields["composition"] = Composition(fields["composition"])
        if fields["initial_image"] is not None:
            fields["initial_image"] = InitialImage(**fields["initial_image"])
        return ImageJob(**fields)
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError(f"a job cannot be read: {error}") from error


def _lora_file(fields: dict[str, Any]) -> LoraFile:
    region = fields["region"]
    if region is not None:
        region = Mask(**region) if "png" in region else Box(**region)
    return LoraFile(**fields | {"window": StepWindow(**fields["window"]), "region": region})


def encode_event(job_id: str, event: EngineEvent) -> tuple[dict[str, Any], bytes]:
    """An event of a job as a message and its body."""
    if isinstance(event, RawPicture | Preview):
        kind = PICTURE if isinstance(event, RawPicture) else PREVIEW
        fields = asdict(event)
        return {"type": kind, "job_id": job_id, "event": fields}, fields.pop("png")
    kind = STARTED if isinstance(event, Started) else PROGRESS
    return {"type": kind, "job_id": job_id, "event": asdict(event)}, b""


def decode_event(message: Mapping[str, Any], body: bytes) -> EngineEvent:
    """The event of a message. Raises FrameError."""
    try:
        fields = dict(message["event"])
        if message["type"] == PICTURE:
            return RawPicture(**fields, png=body)
        if message["type"] == PREVIEW:
            return Preview(**fields, png=body)
        if message["type"] == PROGRESS:
            return Progress(**fields)
        return Started(**fields)
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError(f"an event cannot be read: {error}") from error
