"""The registry and the inference service, for R10: prints where they listen, ends when its input does."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import replace

from servicekit.logs import configure_logs
from servicekit.metrics import ServiceMetrics
from services.inference.app import inference_app
from services.inference.config import read_config as read_inference
from services.registry.__main__ import opened_server
from services.registry.config import read_config as read_registry

_POLL_SECONDS = 0.1


async def _serve() -> None:
    async with opened_server(read_registry(os.environ), ServiceMetrics("registry")) as registry:
        registry_address = f"127.0.0.1:{await registry.start()}"
        config = replace(read_inference(os.environ), registry_address=registry_address)
        async with inference_app(config) as app:
            address = f"127.0.0.1:{await app.server.start()}"
            while not await app.engine.ready():  # noqa: ASYNC110 (another process's state)
                await asyncio.sleep(_POLL_SECONDS)
            print(json.dumps({"registry": registry_address, "inference": address}), flush=True)
            await asyncio.to_thread(sys.stdin.read)
            await app.server.stop(0.0)
        await registry.stop(0.0)


if __name__ == "__main__":
    configure_logs(service="bench", level="WARNING", log_format="console")
    asyncio.run(_serve())
