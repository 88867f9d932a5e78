"""One job of a pack: its parameters, optimizer, chance and place in the data. Nothing here is shared."""

from __future__ import annotations

import math
from typing import Any

import torch

from lorakit.adapter import Adapter
from lorakit.errors import LoraMismatchError
from lorakit.trainable import TrainableAdapter
from services.trainer.engine.averaging import MovingAverage
from services.trainer.engine.data_order import DataOrder
from services.trainer.engine.fault import (
    GRADIENT_NOT_FINITE,
    NOTHING_TO_TRAIN,
    NOTHING_TO_VALIDATE,
    PARENT_MISMATCH,
    EngineFault,
)
from services.trainer.engine.generators import Generators, derived_generator
from services.trainer.engine.learning_rate import learning_rate_factor
from services.trainer.engine.optimizers import build_optimizer, flat_parameters, stepped_parameters
from services.trainer.engine.port import Data, Family, Member
from services.trainer.engine.spec import JobSpec, Outcome, ValidationReport
from services.trainer.engine.validation import Validation


class Job:
    """The state of one training job between steps."""

    def __init__(
        self,
        job_id: str,
        spec: JobSpec,
        family: Family[Any, Any],
        data: Data,
        start_from: Adapter | None,
        held_out: Data | None = None,
        prior: Data | None = None,
    ) -> None:
        """Raises EngineFault if the job cannot be trained as its spec says; `held_out` is validated on,
        `prior` are class pictures.
        """
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
        self.parameters = self._first_parameters(start_from)
        self.size = sum(parameter.numel() for parameter in self.parameters.parameters())
        """Numbers that are trained."""
        self.generators = Generators.seeded(spec.seed)
        self.order = DataOrder(family.groups(data), spec.batch_size, self.generators.order)
        self.prior = prior
        self.prior_order = (
            None
            if prior is None
            else DataOrder(family.groups(prior), spec.prior_batch_size, self.generators.order, whole=True)
        )
        self._flat = flat_parameters(self.parameters, spec)
        self.optimizer = build_optimizer(self.parameters, spec, self._flat)
        self.average = MovingAverage(self.parameters, spec.ema_decay) if spec.ema_decay > 0.0 else None
        self.validation = self._validation_on(held_out)

    @property
    def finished(self) -> bool:
        """Whether every step is done, or the job's patience over."""
        return self.step >= self.spec.total_steps or self._stopped_early

    @property
    def current(self) -> TrainableAdapter:
        """The weights that are evaluated: the moving average, if there is one."""
        return self.parameters if self.average is None else self.average.parameters

    @property
    def result(self) -> TrainableAdapter:
        """The weights that are registered: the current ones or, if the spec says so, the best."""
        best = self.validation.best if self.validation else None
        return self.current if best is None else best

    @property
    def shown(self) -> TrainableAdapter:
        """The weights that samples are made with."""
        return self.result if self.finished else self.current

    @property
    def outcome(self) -> Outcome:
        """What the result is, as it stands."""
        last = self.validation.last if self.validation else None
        of_result = None if last is None else last.best_loss if self.spec.keep_best else last.loss
        return Outcome(
            step=self.step,
            result_step=last.best_step if last is not None and self.spec.keep_best else self.step,
            stopped_early=self.step < self.spec.total_steps and self._stopped_early,
            validation=last,
            validation_loss=of_result,
        )

    @property
    def learning_rate(self) -> float:
        """For the next step; that of text encoders may be another."""
        return self.spec.learning_rate * self._factor()

    def draw(self) -> list[Member[Any, Any]]:
        """The rows of the next step, of one shape each."""
        members = self._drawn(self.data, self.order, 1.0)
        if self.prior is not None and self.prior_order is not None:
            members += self._drawn(self.prior, self.prior_order, self.spec.prior_weight)
        return members

    def update(self) -> None:
        """One optimizer step from the gradients that are there; raises EngineFault if they are not finite."""
        for flat in self._flat.values():
            flat.gather_gradients()
        parameters = stepped_parameters(self.optimizer)
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
        if self.average is not None:
            self.average.update(self.step)

    def validate(self, autocast: torch.dtype | None) -> ValidationReport | None:
        """Evaluates the job if that is due after the step that it has done."""
        if self.validation is None or not self.validation.due(self.step):
            return None
        return self.validation.evaluate(self.current, self.step, autocast)

    def clear_gradients(self) -> None:
        """Forgets what a pass has left."""
        for parameter in (*self.parameters.parameters(), *stepped_parameters(self.optimizer)):
            parameter.grad = None

    def adapter(self) -> Adapter:
        """A copy of the result as it is now."""
        return Adapter(self.result.to_components(self.shapes), self._family.name)

    def _drawn(self, data: Data, order: DataOrder, weight: float) -> list[Member[Any, Any]]:
        drawn = self._family.draw(self.spec, data, order.next_batch(), self.generators)
        seeds = torch.randint(2**62, (len(drawn),), generator=self.generators.dropout).tolist()
        return [
            Member(self.spec, data, self.parameters, seed, rows, weight)
            for seed, rows in zip(seeds, drawn, strict=True)
        ]

    @property
    def _stopped_early(self) -> bool:
        return self.validation is not None and self.validation.patience_is_over

    def _factor(self) -> float:
        return learning_rate_factor(
            self.spec.schedule,
            self.step,
            warmup_steps=self.spec.warmup_steps,
            total_steps=self.spec.total_steps,
        )

    def _first_parameters(self, start_from: Adapter | None) -> TrainableAdapter:
        parameters = TrainableAdapter.create(
            self.shapes,
            rank=self.spec.rank,
            alpha=self.spec.alpha,
            generator=derived_generator(self.spec.seed, "parameters"),
            device=self._family.device,
        )
        if start_from is not None:
            try:
                parameters.start_from(start_from)
            except LoraMismatchError as error:
                raise EngineFault(
                    PARENT_MISMATCH, f"the LoRA to continue from does not fit: {error}"
                ) from error
        return parameters

    def _validation_on(self, held_out: Data | None) -> Validation | None:
        if self.spec.validation_interval <= 0:
            return None
        if held_out is None:
            raise EngineFault(NOTHING_TO_VALIDATE, "validation: there are no items to validate on")
        return Validation(self._family, self.spec, held_out)
