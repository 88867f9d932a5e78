"""`python -m services.inference`: reads the configuration, wires the service, serves."""

from __future__ import annotations

import sys

from servicekit.bootstrap import run_main, serve_until_stopped
from services.inference.app import inference_app
from services.inference.config import InferenceConfig, read_config


async def serve(config: InferenceConfig) -> None:
    """Serves until SIGTERM or SIGINT."""
    async with inference_app(config) as app:
        await serve_until_stopped(app.server, config.common, app.metrics)


if __name__ == "__main__":
    sys.exit(run_main(read_config, serve, common=lambda config: config.common))
