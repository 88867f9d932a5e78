"""LoRA adapters as tensors: read from kohya and diffusers files, written as kohya files.

Legend: R rank, D input features, O output features. A module's weight change is alpha / R * up_OR @ down_RD.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from lorakit.errors import LoraFormatError, LoraMismatchError, quote_all
from lorakit.families.naming import (
    LANGUAGE_MODEL,
    diffusers_lookup,
    kohya_lookup,
    peft_lookup,
    written_kohya_name,
)
from lorakit.formats import (
    FileFormat,
    LoraDescription,
    ModuleDescription,
    ModuleKind,
    inspect,
    read_alphas,
    read_lora_header,
)
from lorakit.hashes import legacy_hash_of_bytes
from lorakit.module_shape import Component, ModuleShape
from lorakit.peft_config import CONFIG_FILE
from lorakit.safetensors_writer import RawTensor, header_bytes, in_file_order, write_atomically
from lorakit.tensor_bytes import to_raw
from lorakit.tensor_file import is_finite, read_tensors

BaseModules = Mapping[Component, Mapping[str, ModuleShape]]
"""What an adapter may sit on: component -> module path -> shape."""

_LOOKUPS = {
    FileFormat.KOHYA: kohya_lookup,
    FileFormat.DIFFUSERS: diffusers_lookup,
    FileFormat.PEFT: peft_lookup,
}
_PLAIN_KINDS = frozenset({ModuleKind.LINEAR, ModuleKind.CONV1X1, ModuleKind.CONV3X3})


@dataclass(frozen=True, slots=True)
class LoraWeights:
    """One module's adapter: down `[R, D]`, up `[O, R]`; on a convolution `[R, D, k, k]`, `[O, R, 1, 1]`."""

    down_RD: Tensor
    up_OR: Tensor
    alpha: float

    @property
    def rank(self) -> int:
        """R."""
        return self.down_RD.shape[0]

    @property
    def scale(self) -> float:
        """alpha / R."""
        return self.alpha / self.rank

    @property
    def nbytes(self) -> int:
        """Bytes that both tensors take."""
        return self.down_RD.nbytes + self.up_OR.nbytes

    def delta(self) -> Tensor:
        """The change of the base weight, float32, in the shape of that weight."""
        product = self.up_OR.flatten(1).float() @ self.down_RD.flatten(1).float()
        return (product * self.scale).reshape(self.up_OR.shape[0], *self.down_RD.shape[1:])


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA: component -> module path in the base model -> weights."""

    components: Mapping[Component, Mapping[str, LoraWeights]]
    family: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    digest: str | None = None
    """SHA-256 of the file it came from, if it came from one and the caller knew."""

    @property
    def nbytes(self) -> int:
        """Bytes that all weights take: what a cache counts."""
        return sum(weights.nbytes for _, _, weights in self.each())

    def each(self) -> Iterator[tuple[Component, str, LoraWeights]]:
        """Every (component, module path, weights)."""
        for component, modules in self.components.items():
            for path, weights in modules.items():
                yield component, path, weights


@dataclass(frozen=True, slots=True)
class SavedLora:
    """What `save_kohya` wrote."""

    sha256: str
    size_bytes: int
    model_hash: str
    metadata: Mapping[str, str]


def load_adapter(path: Path, *, base_modules: BaseModules, digest: str | None = None) -> Adapter:
    """Reads a kohya, diffusers or PEFT LoRA file for a base model that has `base_modules`.

    Tensors are on the CPU in the file's dtype. Raises LoraFormatError for a file that is broken or of a kind
    that is not read (DoRA, LoHa, LoKr), LoraMismatchError if any module is not in the base model
    or has another shape there; the keys are named. Nothing is ever skipped.
    """
    header = read_lora_header(path)
    description = inspect(header, alphas=read_alphas(path, header), file=path.name)
    places = _places(description, base_modules, path.name)
    components: dict[Component, dict[str, LoraWeights]] = {}
    tensors = read_tensors(path, header)
    for module, (component, module_path) in zip(description.modules, places, strict=True):
        shape = base_modules[component][module_path]
        components.setdefault(component, {})[module_path] = _weights(tensors, module, shape, path.name)
    return Adapter(components, description.family, description.metadata, digest)


def save_kohya(
    adapter: Adapter, path: Path, metadata: Mapping[str, str], *, dtype: torch.dtype = torch.float16
) -> SavedLora:
    """Writes the adapter as a kohya file, atomically, with the hashes added to `metadata`.

    Equal adapters and metadata give equal bytes. alpha is written in float32 whatever `dtype` is, for float16
    rounds it. Raises LoraFormatError if a weight is not finite, or not in `dtype`, or if there are none.
    """
    tensors = in_file_order(_kohya_tensors(adapter, dtype))
    if not tensors:
        raise LoraFormatError("the adapter has no modules, there is nothing to write", file=path.name)
    data = b"".join(tensor.data for tensor in tensors)
    digest = hashlib.sha256(data).hexdigest()
    plain = {key: value for key, value in metadata.items() if key.startswith("ss_")}
    full = {
        **metadata,
        "sshs_model_hash": digest,
        "sshs_legacy_hash": legacy_hash_of_bytes(header_bytes(tensors, plain) + data),
        "modelspec.hash_sha256": f"0x{digest}",
    }
    header = header_bytes(tensors, full)
    return SavedLora(write_atomically(path, [header, data]), len(header) + len(data), digest, full)


def _places(
    description: LoraDescription, base_modules: BaseModules, file: str
) -> list[tuple[Component, str]]:
    if description.format is FileFormat.PEFT and LANGUAGE_MODEL not in base_modules:
        raise LoraFormatError(
            "is a PEFT file without components (a text LoRA), not one for pictures", file=file
        )
    if description.format is FileFormat.PEFT and any(module.alpha is None for module in description.modules):
        raise LoraFormatError(
            f"does not say its alpha: PEFT keeps it in {CONFIG_FILE}, which is neither beside it nor in its "
            "header",
            file=file,
        )
    odd = [
        module for module in description.modules if module.kind not in _PLAIN_KINDS or "mid" in module.keys
    ]
    if odd:
        kinds = ", ".join(sorted({module.kind for module in odd}))
        names = quote_all([module.prefix + module.name for module in odd])
        raise LoraFormatError(f"holds modules of a kind that cannot be stacked ({kinds}): {names}", file=file)
    known = _LOOKUPS[description.format](base_modules)
    found = [known.get(module.prefix + module.name) for module in description.modules]
    unknown = [
        module.prefix + module.name
        for module, place in zip(description.modules, found, strict=True)
        if place is None
    ]
    if unknown:
        raise LoraMismatchError(
            f"{len(unknown)} of {len(found)} modules are not in the base model (the file looks like "
            f"{description.family}): {quote_all(unknown)}",
            keys=unknown,
            file=file,
        )
    places = [place for place in found if place is not None]
    _check_shapes(description, places, base_modules, file)
    return places


def _check_shapes(
    description: LoraDescription, places: list[tuple[Component, str]], base_modules: BaseModules, file: str
) -> None:
    if len(set(places)) != len(places):
        double = next(place for place in places if places.count(place) > 1)
        raise LoraFormatError("is adapted twice under different names", file=file, key=".".join(double))
    misfits, keys = [], []
    for module, (component, path) in zip(description.modules, places, strict=True):
        base = base_modules[component][path]
        if (module.in_features, module.out_features) != (base.in_features, base.out_features):
            keys.append(module.prefix + module.name)
            misfits.append(
                f"{keys[-1]} is for {module.in_features} -> {module.out_features} features, "
                f"the base model has {base.in_features} -> {base.out_features}"
            )
    if misfits:
        raise LoraMismatchError(
            f"{len(misfits)} modules have other shapes in the base model (the file looks like "
            f"{description.family}): {'; '.join(misfits[:4])}",
            keys=keys,
            file=file,
        )


def _weights(
    tensors: Mapping[str, Tensor], module: ModuleDescription, shape: ModuleShape, file: str
) -> LoraWeights:
    down, up = tensors[module.keys["down"]], tensors[module.keys["up"]]
    # A 1x1 convolution and a Linear over channels are the same numbers; tools differ in which they write.
    kernel = shape.kernel_size
    if kernel is None and down.shape[2:] in ((), (1, 1)):
        down, up = down.flatten(1), up.flatten(1)
    elif kernel == (1, 1) and down.dim() == 2:
        down, up = down[:, :, None, None], up[:, :, None, None]
    if tuple(down.shape[2:]) != (kernel or ()):
        raise LoraMismatchError(
            f"has the kernel {list(down.shape[2:])}, the base model's is {list(kernel or ())}",
            keys=[module.keys["down"]],
            file=file,
        )
    rank = down.shape[0]
    return LoraWeights(down, up, float(rank) if module.alpha is None else module.alpha)


def _kohya_tensors(adapter: Adapter, dtype: torch.dtype) -> Iterator[RawTensor]:
    for component, path, weights in adapter.each():
        name = written_kohya_name(component, path, adapter.family)
        for part, tensor in (("lora_down", weights.down_RD), ("lora_up", weights.up_OR)):
            cast = tensor.detach().to(dtype)
            if not is_finite(cast):
                raise LoraFormatError(
                    f"holds numbers that are not finite in {dtype}", key=f"{name}.{part}.weight"
                )
            yield to_raw(f"{name}.{part}.weight", cast)
        yield RawTensor(f"{name}.alpha", "F32", (), struct.pack("<f", weights.alpha))
