"""The optimizers that jobs choose from, and their whole state as tensors and plain numbers.

Each is made for one job alone: what its neighbours in the pack use is none of its business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor, nn

from lorakit.families.naming import TEXT_ENCODER, TEXT_ENCODER_2
from lorakit.module_shape import Component
from lorakit.trainable import TrainableAdapter
from services.trainer.engine.fault import OPTIMIZER_UNAVAILABLE, EngineFault
from services.trainer.engine.flat_parameters import FlatParameters
from services.trainer.engine.spec import JobSpec

Groups = list[dict[str, Any]]
Numbers = dict[str, Any]
"""Plain numbers of an optimizer, as JSON holds them: `state` by parameter, `groups` by parameter group."""

_BETAS: Final = (0.9, 0.999)
_NEED_SHAPES: Final = frozenset({"adafactor"})
"""Optimizers that look at rows and columns."""
# Prodigy's own, a tenth of it, takes a hundred steps to grow to what LoRAs want: a third of a short job.
_FIRST_STEP_SIZE: Final = 1e-5
_FIELD: Final = "optimization.optimizer"


def flat_parameters(parameters: TrainableAdapter, spec: JobSpec) -> dict[Component, FlatParameters]:
    """The parameters of each component in one piece, if the job's optimizer may see them so; else nothing."""
    if spec.optimizer in _NEED_SHAPES:
        return {}
    found = {component: parameters.parameters(component) for component in parameters.components}
    return {component: FlatParameters(members) for component, members in found.items() if members}


def build_optimizer(
    parameters: TrainableAdapter, spec: JobSpec, flat: Mapping[Component, FlatParameters]
) -> torch.optim.Optimizer:
    """The optimizer of a job, with `full_lr` in every group: the learning rate before its schedule.

    It steps the parameters, or those of `flat_parameters` that hold them. Raises EngineFault naming the field
    if the optimizer is unknown or its library does not run here.
    """
    maker = _MAKERS.get(spec.optimizer)
    if maker is None:
        raise EngineFault(OPTIMIZER_UNAVAILABLE, f"{_FIELD}: {spec.optimizer!r} is none of {list(_MAKERS)}")
    text_rate = spec.text_encoder_learning_rate if spec.optimizer != "prodigy" else spec.learning_rate
    rates = {TEXT_ENCODER: text_rate, TEXT_ENCODER_2: text_rate}
    groups: Groups = [
        {"params": stepped, "lr": rate, "full_lr": rate}
        for component in parameters.components
        for rate in (rates.get(component, spec.learning_rate),)
        if (stepped := [flat[component].whole] if component in flat else parameters.parameters(component))
    ]
    return maker(groups, spec)


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], Numbers]:
    """Tensors by `<parameter>/<name>`, and all that is a plain number: copies of nothing."""
    tensors: dict[str, Tensor] = {}
    numbers: Numbers = {"state": {}, "groups": [_numbers(group) for group in optimizer.param_groups]}
    for index, parameter in enumerate(stepped_parameters(optimizer)):
        state = optimizer.state.get(parameter, {})
        tensors |= {f"{index}/{name}": value for name, value in state.items() if isinstance(value, Tensor)}
        if plain := _numbers(state):
            numbers["state"][str(index)] = plain
    return tensors, numbers


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], numbers: Numbers
) -> None:
    """Brings a new optimizer to what `optimizer_state` gave; ValueError if that is of another one."""
    parameters = stepped_parameters(optimizer)
    groups = numbers["groups"]
    if len(groups) != len(optimizer.param_groups):
        raise ValueError(f"the optimizer has {len(optimizer.param_groups)} groups, not {len(groups)}")
    for group, plain in zip(optimizer.param_groups, groups, strict=True):
        group.update(_checked(plain))
    for index, plain in numbers["state"].items():
        optimizer.state[parameters[int(index)]].update(_checked(plain))
    for key, value in tensors.items():
        index, _, name = key.partition("/")
        parameter = parameters[int(index)]
        optimizer.state[parameter][name] = value.to(parameter.device)


def _numbers(values: Mapping[str, Any]) -> Numbers:
    return {name: value for name, value in values.items() if _is_number(value)}


def _checked(values: Mapping[str, Any]) -> Numbers:
    strange = sorted(name for name, value in values.items() if not _is_number(value) or name == "params")
    if strange:
        raise ValueError(f"the optimizer's {', '.join(strange)} is no number")
    return dict(values)


def _is_number(value: object) -> bool:
    return isinstance(value, bool | int | float)


def stepped_parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """What it steps, group after group."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _adamw(groups: Groups, spec: JobSpec) -> torch.optim.Optimizer:
    # Fused: one call for hundreds of small tensors.
    return torch.optim.AdamW(groups, betas=_BETAS, weight_decay=spec.weight_decay, fused=True)


def _adamw_8bit(groups: Groups, spec: JobSpec) -> torch.optim.Optimizer:
    device = groups[0]["params"][0].device
    why_not = _fault_of_8bit(device)
    if why_not:
        text = f"{_FIELD}: adamw_8bit does not run on this worker ({why_not}); choose adamw, or a worker on a"
        raise EngineFault(OPTIMIZER_UNAVAILABLE, f"{text} GPU with bitsandbytes")
    return _new_8bit(groups, spec.weight_decay)


def _new_8bit(groups: Groups, weight_decay: float) -> torch.optim.Optimizer:
    from bitsandbytes.optim import AdamW8bit

    made: torch.optim.Optimizer = AdamW8bit(groups, betas=_BETAS, weight_decay=weight_decay)
    return made


@lru_cache(maxsize=8)
def _fault_of_8bit(device: torch.device) -> str:
    """Why 8-bit AdamW cannot be used on a device; empty if a step of it does there what it should."""
    # A library that was built for another driver may fail in any way, at its import or in its first kernel.
    try:
        probe = nn.Parameter(torch.ones(8192, device=device))
        probe.grad = torch.ones_like(probe)
        _new_8bit([{"params": [probe], "lr": 0.5}], 0.0).step()
        moved = float((probe.detach() - 0.5).abs().max())
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return "" if moved < 0.05 else "its first step went wrong"


def _prodigy(groups: Groups, spec: JobSpec) -> torch.optim.Optimizer:
    try:
        from prodigyopt import Prodigy
    except ImportError as error:
        raise EngineFault(
            OPTIMIZER_UNAVAILABLE,
            f"{_FIELD}: prodigy needs the package prodigyopt on the worker ({error}); choose adamw",
        ) from error
    optimizer: torch.optim.Optimizer = Prodigy(
        groups, betas=_BETAS, use_bias_correction=True, safeguard_warmup=True, d0=_FIRST_STEP_SIZE
    )
    for group in optimizer.param_groups:
        # Not through the constructor, which prints that there is a decay.
        group["weight_decay"] = spec.weight_decay
    return optimizer


def _adafactor(groups: Groups, spec: JobSpec) -> torch.optim.Optimizer:
    from transformers.optimization import Adafactor

    made: torch.optim.Optimizer = Adafactor(
        groups, scale_parameter=False, relative_step=False, weight_decay=spec.weight_decay
    )
    return made


_MAKERS: Final[Mapping[str, Callable[[Groups, JobSpec], torch.optim.Optimizer]]] = MappingProxyType(
    {"adamw": _adamw, "adamw_8bit": _adamw_8bit, "prodigy": _prodigy, "adafactor": _adafactor}
)
