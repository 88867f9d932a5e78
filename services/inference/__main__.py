"""`python -m services.inference`: reads the configuration, wires the service, serves."""

from __future__ import annotations

import asyncio
import os
import sys

from servicekit.logs import configure_logs
from servicekit.settings import ConfigError
from services.inference.app import inference_app
from services.inference.config import InferenceConfig, read_config


async def serve(config: InferenceConfig) -> None:
    """Serves until SIGTERM or SIGINT."""
    async with inference_app(config) as app:
        await app.server.start()
        await app.server.run_until_stopped()


def main() -> int:
    """Entry point; 2 for a bad configuration, 1 when the address cannot be had."""
    try:
        config = read_config(os.environ)
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    configure_logs(service="inference", level=config.log_level, log_format=config.log_format)
    try:
        asyncio.run(serve(config))
    except OSError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
