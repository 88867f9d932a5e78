"""What the demo trains and draws. Numbers were found by trying them on the demo's base model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from brandloom import TrainingOptions
from demo.story import Mix, Scene

TRAINING: Final[Mapping[str, TrainingOptions]] = {
    name: {
        "rank": 8,
        "alpha": 8.0,
        "learning_rate": 1e-3,
        "max_steps": 300,
        "batch_size": 4,
        "seed": seed,
    }
    for seed, name in enumerate(("hoot-robotics", "lumen-signs", "akari-travel"))
}
COLOURS: Final[Mapping[str, str]] = {
    "hoot-robotics": "#2f9e5b",
    "lumen-signs": "#d6249f",
    "akari-travel": "#e8622c",
}
SCENES: Final = (
    Scene(prompt="a green duck on a beach", seed=11),
    Scene(prompt="a green rabbit in the snow", seed=23),
    Scene(prompt="a green cat in a meadow", seed=31),
    Scene(prompt="a green turtle in a forest", seed=47),
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
GUIDANCE_SCALE: Final = 5.0
