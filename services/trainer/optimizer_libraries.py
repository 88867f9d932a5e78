"""Which optimizers need a library that may not be there; asked without loading it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import Final

from services.trainer.spec import Optimizer

LIBRARIES: Final[Mapping[Optimizer, str]] = MappingProxyType(
    {Optimizer.ADAMW_8BIT: "bitsandbytes", Optimizer.PRODIGY: "prodigyopt"}
)


def missing_libraries() -> dict[Optimizer, str]:
    """The optimizers that cannot run with what is installed here, and the library that each lacks."""
    return {optimizer: library for optimizer, library in LIBRARIES.items() if find_spec(library) is None}
