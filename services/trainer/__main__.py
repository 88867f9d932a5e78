"""Starts the trainer: `python -m services.trainer`."""

from __future__ import annotations

import asyncio
import sys

from servicekit.logs import configure_logs
from servicekit.settings import ConfigError
from services.trainer.application import TrainerApplication
from services.trainer.config import TrainerConfig, read_config


async def serve(config: TrainerConfig) -> None:
    """Serves until the process is told to stop."""
    application = TrainerApplication(config)
    await application.start()
    await application.run_until_stopped()


def main() -> int:
    """Reads the environment and serves; returns the exit code."""
    try:
        config = read_config()
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    configure_logs(service="trainer", level=config.log_level, log_format=config.log_format)
    asyncio.run(serve(config))
    return 0


if __name__ == "__main__":
    sys.exit(main())
