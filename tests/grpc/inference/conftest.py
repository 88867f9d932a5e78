"""One service with one engine process for all the tests of a module: an engine takes seconds to start."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.grpc.inference.harness import Inference, running_inference


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def inference(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Inference]:
    async with running_inference(
        tmp_path_factory.mktemp("inference"),
        BRANDLOOM_INFERENCE_MAX_SIDE="64",
        BRANDLOOM_INFERENCE_MAX_QUEUED="2",
        BRANDLOOM_INFERENCE_BRAND_SHARE="1",
        BRANDLOOM_INFERENCE_MAX_ROWS="4",
    ) as running:
        yield running
