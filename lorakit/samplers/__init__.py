"""Denoising samplers whose whole state belongs to one row, so that one batch can mix them freely.

Every sampler offered here is affine in what the model says, once its schedule is fixed. So a row's schedule
is computed once, as a small table of coefficients with one line for each step (:class:`RowPlan`), and a step
of a batch is one expression over all its rows, whatever sampler, step count or noise level each of them has.
"""

from lorakit.samplers.beginning import Beginning, cut_plan
from lorakit.samplers.names import Sampler
from lorakit.samplers.plan import RowPlan, plan_row
from lorakit.samplers.rows import SamplingRow, advance, model_input
from lorakit.samplers.settings import SamplerSettings

__all__ = [
    "Beginning",
    "RowPlan",
    "Sampler",
    "SamplerSettings",
    "SamplingRow",
    "advance",
    "cut_plan",
    "model_input",
    "plan_row",
]
