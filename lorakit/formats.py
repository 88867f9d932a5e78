"""What a LoRA file is, told from its header alone: format, family, and every module's kind, rank and alpha.

Nothing here loads weights or needs torch; the scalar alphas, which live among the tensors' bytes, are read by
`read_alphas`. A file with a key that no format knows is refused with the key named.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from lorakit.errors import LoraFormatError, quote_all
from lorakit.families.detection import detect_family
from lorakit.families.naming import PEFT_PREFIX
from lorakit.key_names import FileFormat, KeyName, Part, split_key
from lorakit.module_shape import Component
from lorakit.peft_config import METADATA_KEY, config_beside, peft_alphas
from lorakit.safetensors_header import SafetensorsHeader, TensorEntry, read_header

__all__ = ["FileFormat", "LoraDescription", "ModuleDescription", "ModuleKind", "inspect", "inspect_file"]

FLOAT_DTYPES = frozenset({"F16", "BF16", "F32", "F64"})


class ModuleKind(StrEnum):
    """How a module's weight change is written down. The first three are plain LoRA."""

    LINEAR = "linear"
    CONV1X1 = "conv1x1"
    CONV3X3 = "conv3x3"
    DORA = "dora"
    LOHA = "loha"
    LOKR = "lokr"


@dataclass(frozen=True, slots=True)
class ModuleDescription:
    """One adapted module. `name` is as the file has it, without the component's prefix."""

    component: Component
    name: str
    prefix: str
    kind: ModuleKind
    rank: int | None
    """None for LoKr with full factors."""
    alpha: float | None
    """None if the file does not say, which means alpha = rank; or if alphas were not read."""
    in_features: int | None
    out_features: int | None
    keys: Mapping[str, str]
    """Part or leaf ("down", "up", "alpha", "hada_w1_a" ...) -> name of the tensor."""


@dataclass(frozen=True, slots=True)
class LoraDescription:
    """What `inspect` found."""

    format: FileFormat
    family: str
    modules: tuple[ModuleDescription, ...]
    metadata: Mapping[str, str]

    @property
    def components(self) -> tuple[Component, ...]:
        """The components that the file adapts, sorted; ("",) for a text LoRA."""
        return tuple(sorted({module.component for module in self.modules}))

    @property
    def kinds(self) -> frozenset[ModuleKind]:
        """Every kind of module that occurs."""
        return frozenset(module.kind for module in self.modules)

    @property
    def rank(self) -> int:
        """The largest rank of any module, 0 if none is known."""
        return max((module.rank or 0 for module in self.modules), default=0)

    @property
    def alpha(self) -> float:
        """The alpha of the first module of the largest rank; its rank where the file gives none."""
        rank = self.rank
        first = next(module for module in self.modules if (module.rank or 0) == rank)
        return float(rank) if first.alpha is None else first.alpha


def inspect_file(path: Path) -> LoraDescription:
    """Describes the file at `path`, alphas included. Raises LoraFormatError, OSError."""
    header = read_lora_header(path)
    return inspect(header, alphas=read_alphas(path, header), file=path.name)


def read_lora_header(path: Path) -> SafetensorsHeader:
    """The checked header of a file, with what PEFT leaves beside it. Raises LoraFormatError, OSError."""
    header = read_header(path)
    if METADATA_KEY in header.metadata or not any(key.startswith(PEFT_PREFIX) for key in header.tensors):
        return header
    return replace(header, metadata={**header.metadata, **config_beside(path)})


def inspect(
    header: SafetensorsHeader, *, alphas: Mapping[str, float] | None = None, file: str | None = None
) -> LoraDescription:
    """Describes a LoRA from its checked header.

    `alphas` are the values of the `.alpha` tensors by key (from `read_alphas`); without them a module's alpha
    is None. Raises LoraFormatError if a key is unknown, a part is missing or shapes do not fit together.
    """
    file_format, grouped = _group_keys(header, file)
    configured = None
    if file_format is not FileFormat.KOHYA:
        by_component = file_format is FileFormat.DIFFUSERS
        configured = peft_alphas(header.metadata, by_component=by_component, file=file)
    modules = []
    for (prefix, name), parts in grouped.items():
        described = _describe(prefix, name, parts, header, alphas or {}, file)
        if configured is not None and described.alpha is None and described.rank is not None:
            alpha = configured.alpha(described.component, described.name, described.rank)
            described = replace(described, alpha=_given(alpha))
        modules.append(described)
    modules.sort(key=lambda module: (module.component, module.name))
    family = detect_family(modules, text_only=file_format is FileFormat.PEFT)
    return LoraDescription(file_format, family, tuple(modules), header.metadata)


def read_alphas(path: Path, header: SafetensorsHeader) -> dict[str, float]:
    """The values of all `.alpha` tensors of a file, by key. Raises LoraFormatError if one is no number."""
    with path.open("rb") as stream:
        found = {}
        for key, entry in header.tensors.items():
            if key.endswith(".alpha"):
                _check_alpha(entry, path.name)
                stream.seek(header.data_offset + entry.begin)
                value = decode_scalar(stream.read(entry.end - entry.begin), entry.dtype)
                if not math.isfinite(value):
                    raise LoraFormatError(f"alpha is {value}", file=path.name, key=key)
                found[key] = value
        return found


def decode_scalar(data: bytes, dtype: str) -> float:
    """One number of a floating or 64-bit integer dtype from its little-endian bytes."""
    if dtype == "BF16":
        # bfloat16 is the upper half of a float32.
        return float(struct.unpack("<f", b"\0\0" + data)[0])
    return float(
        struct.unpack({"F16": "<e", "F32": "<f", "F64": "<d", "I64": "<q", "I32": "<i"}[dtype], data)[0]
    )


def _group_keys(
    header: SafetensorsHeader, file: str | None
) -> tuple[FileFormat, dict[tuple[str, str], dict[str, KeyName]]]:
    split = {key: split_key(key) for key in header.tensors}
    unknown = [key for key, parts in split.items() if parts is None]
    if not split:
        raise LoraFormatError("holds no tensors", file=file)
    if unknown:
        raise LoraFormatError(f"{len(unknown)} keys are of no LoRA format: {quote_all(unknown)}", file=file)
    known = {key: parts for key, parts in split.items() if parts is not None}
    formats = sorted({parts.format for parts in known.values()})
    if len(formats) > 1:
        raise LoraFormatError(f"mixes the formats {' and '.join(formats)}", file=file)
    grouped: dict[tuple[str, str], dict[str, KeyName]] = {}
    for key, parts in known.items():
        grouped.setdefault((parts.prefix, parts.name), {})[key] = parts
    return formats[0], grouped


def _describe(
    prefix: str,
    name: str,
    parts: Mapping[str, KeyName],
    header: SafetensorsHeader,
    alphas: Mapping[str, float],
    file: str | None,
) -> ModuleDescription:
    keys: dict[str, str] = {}
    for key, part in parts.items():
        role = part.leaf if part.part in (Part.HADA, Part.LOKR) else part.part
        if role in keys:
            raise LoraFormatError(f"says the same as {keys[role]!r}", file=file, key=key)
        keys[role] = key
        if part.part is Part.ALPHA:
            _check_alpha(header.tensors[key], file)
        elif header.tensors[key].dtype not in FLOAT_DTYPES:
            raise LoraFormatError(
                f"weights of dtype {header.tensors[key].dtype} are not read", file=file, key=key
            )
    entries = {role: header.tensors[key] for role, key in keys.items()}
    kind, rank, in_features, out_features = _measure(prefix + name, entries, file)
    alpha = _given(alphas.get(keys.get("alpha", "")))
    component = next(iter(parts.values())).component
    return ModuleDescription(component, name, prefix, kind, rank, alpha, in_features, out_features, keys)


def _given(alpha: float | None) -> float | None:
    # 0 means "not given", as in sd-scripts.
    return alpha or None


def _measure(
    name: str, entries: Mapping[str, TensorEntry], file: str | None
) -> tuple[ModuleKind, int | None, int | None, int | None]:
    """(kind, rank, in, out) of one module; refuses parts that are missing or do not fit together."""
    kinds = {role[:5] for role in entries}
    if "hada_" in kinds:
        return _measure_loha(name, entries, file)
    if "lokr_" in kinds:
        factor = entries.get("lokr_w2_a") or entries.get("lokr_w1_a")
        rank = factor.shape[-1] if factor is not None and factor.shape else None
        return ModuleKind.LOKR, rank, None, None
    kind, rank, in_features, out_features = _measure_lora(name, entries, file)
    return (ModuleKind.DORA if "dora" in entries else kind), rank, in_features, out_features


def _measure_lora(
    name: str, entries: Mapping[str, TensorEntry], file: str | None
) -> tuple[ModuleKind, int, int, int]:
    missing = [role for role in ("down", "up") if role not in entries]
    if missing:
        raise LoraFormatError(f"has no {' and no '.join(missing)} weight", file=file, key=name)
    down, up = entries["down"].shape, entries["up"].shape
    if len(down) != len(up) or len(down) not in (2, 4) or 0 in down + up or down[0] != up[1]:
        raise LoraFormatError(f"down {list(down)} and up {list(up)} do not fit together", file=file, key=name)
    kernel = down[2:]
    if "mid" in entries:
        # Tucker form of LoCon: 1x1 down, kxk in the middle.
        kernel = entries["mid"].shape[2:]
    if up[2:] not in ((), (1, 1)) or ("mid" in entries and len(down) != 4):
        raise LoraFormatError(f"up has the kernel {list(up[2:])}, not 1x1", file=file, key=name)
    kind = ModuleKind.LINEAR
    if kernel:
        kind = ModuleKind.CONV1X1 if kernel == (1, 1) else ModuleKind.CONV3X3
    return kind, down[0], down[1], up[0]


def _measure_loha(
    name: str, entries: Mapping[str, TensorEntry], file: str | None
) -> tuple[ModuleKind, int, int, int]:
    needed = [f"hada_{leaf}" for leaf in ("w1_a", "w1_b", "w2_a", "w2_b")]
    missing = [role for role in needed if role not in entries or len(entries[role].shape) < 2]
    if missing:
        raise LoraFormatError(f"lacks {', '.join(missing)} of at least two dimensions", file=file, key=name)
    outer, inner = entries["hada_w1_a"].shape, entries["hada_w1_b"].shape
    return ModuleKind.LOHA, inner[0], inner[1], outer[0]


def _check_alpha(entry: TensorEntry, file: str | None) -> None:
    numbers = 1
    for size in entry.shape:
        numbers *= size
    if numbers != 1 or entry.dtype not in FLOAT_DTYPES | {"I64", "I32"}:
        raise LoraFormatError(
            f"alpha is {entry.dtype} of shape {list(entry.shape)}, not one number", file=file, key=entry.name
        )
