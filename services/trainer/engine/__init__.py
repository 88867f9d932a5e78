"""The training engine: LoRA training of packs of jobs. Knows tensors and paths, nothing of services."""

from services.trainer.engine.causal_lm.family import LanguageFamily
from services.trainer.engine.diffusion.family import DiffusionFamily
from services.trainer.engine.fault import EngineFault
from services.trainer.engine.items import Message, SampleSettings, TrainingItem, TrainingText
from services.trainer.engine.memory import MemoryBook
from services.trainer.engine.pack import Pack, choose_precision
from services.trainer.engine.port import Family, Sample
from services.trainer.engine.spec import JobSpec, Outcome, StepReport, TrainingImage

__all__ = [
    "DiffusionFamily",
    "EngineFault",
    "Family",
    "JobSpec",
    "Outcome",
    "LanguageFamily",
    "MemoryBook",
    "Message",
    "Pack",
    "Sample",
    "SampleSettings",
    "StepReport",
    "TrainingImage",
    "TrainingItem",
    "TrainingText",
    "choose_precision",
]
