"""The samplers on offer."""

from __future__ import annotations

from enum import StrEnum


class Sampler(StrEnum):
    """A sampler; the value is the name that pictures and user interfaces show."""

    EULER = "Euler"
    EULER_ANCESTRAL = "Euler a"
    DDIM = "DDIM"
    DPMPP_2M = "DPM++ 2M"
