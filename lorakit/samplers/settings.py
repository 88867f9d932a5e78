"""What a base model's scheduler configuration means for each sampler.

A stock pipeline changes its sampler with ``SchedulerClass.from_config(pipeline.scheduler.config)``. That call
has rules of its own (which keys count, which fall back to the class's default), so they are not repeated
here: the scheduler is built by the same call, and its resolved configuration is read.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
)

from lorakit.samplers.names import Sampler

PredictionType = Literal["epsilon", "v_prediction"]

SCHEDULERS: Mapping[Sampler, type[Any]] = {
    Sampler.EULER: EulerDiscreteScheduler,
    Sampler.EULER_ANCESTRAL: EulerAncestralDiscreteScheduler,
    Sampler.DDIM: DDIMScheduler,
    Sampler.DPMPP_2M: DPMSolverMultistepScheduler,
}

# Settings that would make a sampler compute something else than the tables of plan.py: key -> the values it
# may have.
_SUPPORTED: Mapping[str, tuple[object, ...]] = {
    "prediction_type": ("epsilon", "v_prediction"),
    "timestep_spacing": ("linspace", "leading", "trailing"),
    "thresholding": (False,),
    "use_exponential_sigmas": (False,),
    "use_beta_sigmas": (False,),
    "use_lu_lambdas": (False,),
    "use_flow_sigmas": (False,),
    "interpolation_type": ("linear",),
    "timestep_type": ("discrete",),
    "algorithm_type": ("dpmsolver++",),
    "solver_order": (2,),
    "solver_type": ("midpoint", "heun"),
    "variance_type": (None,),
    "lambda_min_clipped": (-float("inf"),),
    "final_sigmas_type": ("zero", "sigma_min"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplerSettings:
    """Everything about a base model that a sampler's schedule depends on."""

    sampler: Sampler
    alphas_cumprod_T: np.ndarray
    """float32, one for each training timestep."""
    prediction_type: PredictionType
    timestep_spacing: Literal["linspace", "leading", "trailing"]
    steps_offset: int
    final_sigma_is_zero: bool = True
    final_alpha_is_one: bool = True
    """DDIM only: what follows the last step."""
    clip_range: float | None = None
    """DDIM only: the predicted clean sample is clamped to +- this; None for no clamp."""
    sigma_min: float | None = None
    sigma_max: float | None = None
    second_order: Literal["midpoint", "heun"] = "midpoint"
    first_order_at_end: bool = False
    """DPM++ only: the last step is of first order whatever the step count."""
    first_order_at_end_of_few: bool = True
    """DPM++ only: the same below fifteen steps."""
    whole_karras_timesteps: bool = True
    """DPM++ only: with Karras noise levels the model is asked at rounded timesteps."""

    @classmethod
    def from_scheduler_config(cls, sampler: Sampler, config: Mapping[str, Any]) -> SamplerSettings:
        """Settings of ``sampler`` for a base whose pipeline has the scheduler configuration ``config``.

        Raises:
            ValueError: the configuration asks for something that this sampler does not do; the setting is
            named.
        """
        # Whether the noise levels are Karras' is each row's own choice, never the base model's.
        neutral = {key: value for key, value in config.items() if key != "use_karras_sigmas"}
        with warnings.catch_warnings():
            # The schedulers hand tensors to numpy in a way that newer numpy versions remark on.
            warnings.simplefilter("ignore", DeprecationWarning)
            scheduler = SCHEDULERS[sampler].from_config(neutral)
        resolved = cast("Mapping[str, Any]", scheduler.config)
        for key, allowed in _SUPPORTED.items():
            if key in resolved and resolved[key] not in allowed:
                raise ValueError(
                    f"the scheduler setting {key}={resolved[key]!r} is not supported by {sampler.value}"
                )
        return cls(
            sampler=sampler,
            alphas_cumprod_T=scheduler.alphas_cumprod.numpy().astype(np.float32),
            prediction_type=resolved["prediction_type"],
            timestep_spacing=resolved["timestep_spacing"],
            steps_offset=int(resolved["steps_offset"]),
            final_sigma_is_zero=resolved.get("final_sigmas_type", "zero") == "zero",
            final_alpha_is_one=bool(resolved.get("set_alpha_to_one", True)),
            clip_range=float(resolved["clip_sample_range"]) if resolved.get("clip_sample", False) else None,
            sigma_min=resolved.get("sigma_min"),
            sigma_max=resolved.get("sigma_max"),
            second_order=resolved.get("solver_type", "midpoint"),
            first_order_at_end=bool(resolved.get("euler_at_final", False)),
            first_order_at_end_of_few=bool(resolved.get("lower_order_final", True)),
            whole_karras_timesteps=resolved["beta_schedule"] != "squaredcos_cap_v2",
        )
