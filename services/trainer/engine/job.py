"""One job of a pack: its parameters, optimizer, chance and place in the data. Nothing here is shared."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lorakit.adapter import Adapter
from lorakit.errors import LoraMismatchError
from lorakit.families.naming import TEXT_ENCODER, TEXT_ENCODER_2
from lorakit.trainable import TrainableAdapter
from services.trainer.engine.data_order import DataOrder
from services.trainer.engine.fault import (
    GRADIENT_NOT_FINITE,
    NOTHING_TO_TRAIN,
    PARENT_MISMATCH,
    EngineFault,
)
from services.trainer.engine.generators import Generators, derived_generator
from services.trainer.engine.learning_rate import learning_rate_factor
from services.trainer.engine.port import Data, Family, Member
from services.trainer.engine.spec import JobSpec

_BETAS = (0.9, 0.999)


class Job:
    """The state of one training job between steps."""

    def __init__(
        self, job_id: str, spec: JobSpec, family: Family[Any, Any], data: Data, start_from: Adapter | None
    ) -> None:
        self.job_id = job_id
        self.spec = spec
        self.data = data
        self.step = 0
        self.fault: EngineFault | None = None
        self._family = family
        self.shapes = {
            component: family.modules(component, spec.targets) for component in family.trained(spec)
        }
        if not self.shapes[next(iter(family.components))]:
            raise EngineFault(NOTHING_TO_TRAIN, "the base model has no layers of the chosen targets")
        self.parameters = TrainableAdapter.create(
            self.shapes,
            rank=spec.rank,
            alpha=spec.alpha,
            generator=derived_generator(spec.seed, "parameters"),
            device=family.device,
        )
        if start_from is not None:
            try:
                self.parameters.start_from(start_from)
            except LoraMismatchError as error:
                raise EngineFault(
                    PARENT_MISMATCH, f"the LoRA to continue from does not fit: {error}"
                ) from error
        self.generators = Generators.seeded(spec.seed)
        self.order = DataOrder(len(data), spec.batch_size, self.generators.order)
        self.optimizer = _optimizer(self.parameters, spec)

    @property
    def finished(self) -> bool:
        """Whether every step is done."""
        return self.step >= self.spec.total_steps

    @property
    def learning_rate(self) -> float:
        """For the next step; that of text encoders may be another."""
        return self.spec.learning_rate * self._factor()

    def draw(self) -> list[Member[Any, Any]]:
        """The rows of the next step, of one shape each."""
        drawn = self._family.draw(self.spec, self.data, self.order.next_batch(), self.generators)
        return [
            Member(self.spec, self.data, self.parameters, self.generators.dropout, rows) for rows in drawn
        ]

    def update(self) -> None:
        """One optimizer step from the gradients that are there; raises EngineFault if they are not finite."""
        parameters = self.parameters.parameters()
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if not math.isfinite(float(norm)):
            raise EngineFault(
                GRADIENT_NOT_FINITE,
                f"the gradient was not finite in step {self.step + 1}; try a lower learning rate",
            )
        if self.spec.max_gradient_norm > 0.0:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.spec.max_gradient_norm, norm)
        factor = self._factor()
        for group in self.optimizer.param_groups:
            group["lr"] = group["full_lr"] * factor
        self.optimizer.step()
        self.step += 1

    def clear_gradients(self) -> None:
        """Forgets what a pass has left."""
        self.optimizer.zero_grad(set_to_none=True)

    def adapter(self) -> Adapter:
        """A copy of the parameters as they are now."""
        return Adapter(self.parameters.to_components(self.shapes), self._family.name)

    def _factor(self) -> float:
        return learning_rate_factor(
            self.spec.schedule,
            self.step,
            warmup_steps=self.spec.warmup_steps,
            total_steps=self.spec.total_steps,
        )


def _optimizer(parameters: TrainableAdapter, spec: JobSpec) -> torch.optim.AdamW:
    rates = {TEXT_ENCODER: spec.text_encoder_learning_rate, TEXT_ENCODER_2: spec.text_encoder_learning_rate}
    groups: list[dict[str, list[Tensor] | float]] = [
        {"params": list[Tensor](parameters.parameters(component)), "lr": rate, "full_lr": rate}
        for component in parameters.components
        for rate in (rates.get(component, spec.learning_rate),)
    ]
    # Fused: one call for hundreds of small tensors.
    return torch.optim.AdamW(groups, betas=_BETAS, weight_decay=spec.weight_decay, fused=True)
