"""Starts the trainer: `python -m services.trainer`."""

from __future__ import annotations

import sys

from servicekit.bootstrap import run_main
from services.trainer.application import TrainerApplication
from services.trainer.config import TrainerConfig, read_config


async def serve(config: TrainerConfig) -> None:
    """Serves until the process is told to stop."""
    await TrainerApplication(config).run_until_stopped()


if __name__ == "__main__":
    sys.exit(run_main(read_config, serve, common=lambda config: config.common))
