"""The training engine: LoRA training of packs of jobs. Knows tensors and paths, nothing of services."""

from services.trainer.engine.fault import EngineFault
from services.trainer.engine.pack import Pack, adaptable_modules, choose_precision
from services.trainer.engine.spec import JobSpec, StepReport, TrainingImage

__all__ = [
    "EngineFault",
    "JobSpec",
    "Pack",
    "StepReport",
    "TrainingImage",
    "adaptable_modules",
    "choose_precision",
]
