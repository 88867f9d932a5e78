"""What a job was trained with: for the record of its version."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import torch

from services.trainer.engine import StepReport
from services.trainer.engine.progress import PackReport

_PACKAGES: Final = ("brandloom", "torch", "diffusers", "transformers", "peft", "safetensors")
_CPU_FACTS: Final = Path("/proc/cpuinfo")
_LONGEST_VALUE: Final = 500


@dataclass(slots=True)
class Tally:
    """What the steps of one attempt of a job were, all together."""

    seconds: float = 0.0
    rows: int = 0
    smallest_pack: int = 0
    largest_pack: int = 0
    companions: set[str] = field(default_factory=set)
    """Names of the other jobs that had steps in common with it."""

    def add(self, report: StepReport, pack: PackReport) -> None:
        """One step of the job."""
        size = len(pack.job_ids)
        self.seconds += pack.step_seconds
        self.rows += report.rows
        self.smallest_pack = min(self.smallest_pack or size, size)
        self.largest_pack = max(self.largest_pack, size)
        self.companions |= pack.job_ids - {report.job_id}

    @property
    def images_per_second(self) -> float:
        """Rows of the job a second of its steps; 0 if there were none."""
        return self.rows / self.seconds if self.seconds else 0.0


def environment(
    tally: Tally, *, device: torch.device, precision: str, worker: str, attempt: int
) -> dict[str, str]:
    """Versions, device and pack. Other jobs are counted, not named: they may be another brand's."""
    found = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        **_versions(),
        "device": device.type,
        "device_name": _device_name(device),
        "threads": str(torch.get_num_threads()),
        "precision": precision,
        "worker": worker,
        "attempt": str(attempt),
        "pack_size_least": str(tally.smallest_pack),
        "pack_size_most": str(tally.largest_pack),
        "companions": str(len(tally.companions)),
    }
    if device.type == "cuda" and torch.version.cuda:
        found["cuda"] = torch.version.cuda
    return {key: value[:_LONGEST_VALUE] for key, value in found.items()}


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = _CPU_FACTS.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
