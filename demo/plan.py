"""What the demo trains and draws. Numbers were found by trying them on the demo's base model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from brandloom import AdapterTarget, LearningRateSchedule, TrainingOptions
from demo.story import Mix, Scene

# A character is spoilt by a rate that a style or a place still needs.
_RATES: Final = {"hoot-robotics": 3e-3, "lumen-signs": 5e-3, "akari-travel": 4e-3}
TRAINING: Final[Mapping[str, TrainingOptions]] = {
    name: {
        "rank": 16,
        "alpha": 16.0,
        "targets": (AdapterTarget.ATTENTION, AdapterTarget.FEED_FORWARD, AdapterTarget.CONV_1X1),
        "learning_rate": rate,
        "warmup_steps": 20,
        "max_steps": 500,
        "batch_size": 8,
        "caption_dropout": 0.1,
        "seed": seed,
    }
    for seed, (name, rate) in enumerate(_RATES.items())
}
VOICE_TRAINING: Final[TrainingOptions] = {
    "rank": 8,
    "alpha": 16.0,
    "learning_rate": 5e-3,
    "schedule": LearningRateSchedule.CONSTANT,
    "batch_size": 8,
    "max_steps": 60,
    "seed": 1,
}
QUESTIONS: Final = ("How much is the boat?", "Write a line about a red cat in space.")
COLOURS: Final[Mapping[str, str]] = {
    "hoot-robotics": "#2f9e5b",
    "lumen-signs": "#d6249f",
    "akari-travel": "#e8622c",
}
SCENES: Final = (
    Scene(prompt="a green cat in a meadow", seed=11),
    Scene(prompt="a red cat in space", seed=11),
    Scene(prompt="a yellow car in a forest", seed=11),
    Scene(prompt="a blue boat in a desert", seed=11),
)
MIXES: Final = (
    Mix(title="no LoRA", weights={}),
    Mix(title="hootbot", weights={"hoot-robotics": 1.0}),
    Mix(title="neon", weights={"lumen-signs": 1.0}),
    Mix(title="pagoda", weights={"akari-travel": 1.0}),
    Mix(title="hootbot + neon", weights={"hoot-robotics": 0.8, "lumen-signs": 0.8}),
    Mix(title="hootbot + pagoda", weights={"hoot-robotics": 0.8, "akari-travel": 0.8}),
)
GENERATION_STEPS: Final = 25
GUIDANCE_SCALE: Final = 4.5
