"""One labeler for each module; every test makes a dataset of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.grpc.labeler.harness import Labeler, running_labeler


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def labeler(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Labeler]:
    async with running_labeler(tmp_path_factory.mktemp("labeler")) as running:
        yield running
