"""A job's whole state in one safetensors file: going on from it is, bit for bit, never having stopped.

Tensors `parameters/*`, `average/*`, `best/*`, `optimizer/*`, `generators/*`, `order/*`; the JSON under
`brandloom_checkpoint` in the header holds the plain numbers of the optimizer and of the evaluations, and says
what the state belongs to. Nothing is pickled, nothing is unpickled.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from lorakit.errors import LorakitError
from lorakit.safetensors_header import read_header
from lorakit.safetensors_writer import write_safetensors
from lorakit.tensor_bytes import TORCH_DTYPES, from_raw, to_raw
from services.trainer.engine.fault import CHECKPOINT_MISMATCH, EngineFault
from services.trainer.engine.job import Job
from services.trainer.engine.optimizers import optimizer_state, restore_optimizer
from services.trainer.engine.spec import JobSpec

HEADER_KEY = "brandloom_checkpoint"
_VERSION = 2


def save_checkpoint(job: Job, base_sha256: str, path: Path) -> str:
    """Writes the state of `job` between two steps, atomically; gives the file's SHA-256. Raises OSError."""
    tensors, numbers = optimizer_state(job.optimizer)
    description = {
        **_identity(job, base_sha256),
        "step": job.step,
        "optimizer": numbers,
        "validation": job.validation.numbers() if job.validation else {},
    }
    return write_safetensors(
        path,
        [to_raw(name, tensor) for name, tensor in _tensors(job, tensors).items()],
        {HEADER_KEY: json.dumps(description, sort_keys=True)},
    )


def load_checkpoint(job: Job, base_sha256: str, path: Path) -> None:
    """Brings a new `job` to the state in the file.

    Raises EngineFault if the file is broken or of a job with another base, spec or set of pictures.
    """
    try:
        description, tensors = _read(path)
    except (LorakitError, OSError, ValueError) as error:
        raise EngineFault(CHECKPOINT_MISMATCH, f"the checkpoint cannot be read: {error}") from error
    expected = _identity(job, base_sha256)
    differing = sorted(key for key, value in expected.items() if description.get(key) != value)
    if differing:
        raise EngineFault(
            CHECKPOINT_MISMATCH, f"the checkpoint is of another job: {', '.join(differing)} differ"
        )
    try:
        _restore(job, description, tensors)
    except (AttributeError, LookupError, LorakitError, RuntimeError, TypeError, ValueError) as error:
        raise EngineFault(CHECKPOINT_MISMATCH, f"the checkpoint does not fit: {error}") from error


def _identity(job: Job, base_sha256: str) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "base_sha256": base_sha256,
        "data": job.data.digest,
        "items": len(job.data),
        "prior": job.prior.digest if job.prior else "",
        "held_out": job.validation.data.digest if job.validation else "",
        "spec": _plain(job.spec),
    }


def _plain(spec: JobSpec) -> dict[str, Any]:
    return {**asdict(spec), "targets": sorted(spec.targets)}


def _tensors(job: Job, optimizer: dict[str, Tensor]) -> dict[str, Tensor]:
    groups: dict[str, dict[str, Tensor]] = {
        "parameters": job.parameters.state_dict(),
        "optimizer": optimizer,
        "generators": job.generators.state(),
        "order": job.order.state(),
    }
    if job.prior_order is not None:
        groups["prior_order"] = job.prior_order.state()
    if job.average is not None:
        groups["average"] = job.average.parameters.state_dict()
    if job.validation is not None and job.validation.best is not None:
        groups["best"] = job.validation.best.state_dict()
    return {
        f"{group}/{name}": tensor for group, members in groups.items() for name, tensor in members.items()
    }


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    header = read_header(path)
    description = json.loads(header.metadata.get(HEADER_KEY, "null"))
    if not isinstance(description, dict):
        raise ValueError("it is no checkpoint of this engine")
    tensors: dict[str, Tensor] = {}
    with path.open("rb") as stream:
        for name, entry in header.tensors.items():
            if entry.dtype not in TORCH_DTYPES:
                raise ValueError(f"{name} has the dtype {entry.dtype}")
            stream.seek(header.data_offset + entry.begin)
            tensors[name] = from_raw(stream.read(entry.end - entry.begin), entry.dtype, entry.shape)
    return description, tensors


def _restore(job: Job, description: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        group, _, rest = name.partition("/")
        groups.setdefault(group, {})[rest] = tensor
    job.parameters.load_state_dict(groups["parameters"])
    restore_optimizer(job.optimizer, groups.get("optimizer", {}), description["optimizer"])
    job.generators.restore(groups["generators"])
    job.order.restore(groups["order"])
    if job.prior_order is not None:
        job.prior_order.restore(groups["prior_order"])
    if job.average is not None:
        job.average.parameters.load_state_dict(groups["average"])
    if job.validation is not None:
        job.validation.restore(description["validation"], groups.get("best", {}), job.parameters)
    job.step = int(description["step"])
