"""The shape of a layer that an adapter can sit on; free of torch, so that files can be checked anywhere."""

from __future__ import annotations

from dataclasses import dataclass

Component = str
"""Which model of a pipeline a module belongs to: "unet", "text_encoder", "text_encoder_2" or
"language_model"."""


@dataclass(frozen=True, slots=True)
class ModuleShape:
    """A Linear (no kernel) or a convolution (kernel height and width) of the base model."""

    in_features: int
    """Input features of a Linear, input channels of a convolution."""
    out_features: int
    """Output features of a Linear, output channels of a convolution."""
    kernel_size: tuple[int, int] | None = None
    """None for a Linear, (1, 1) and so on for a convolution."""
