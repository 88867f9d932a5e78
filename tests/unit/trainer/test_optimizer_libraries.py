from __future__ import annotations

import pytest

from services.trainer import optimizer_libraries
from services.trainer.optimizer_libraries import missing_libraries
from services.trainer.spec import Optimizer


@pytest.mark.parametrize(
    ("installed", "missing"),
    [
        ({"bitsandbytes", "prodigyopt"}, {}),
        ({"prodigyopt"}, {Optimizer.ADAMW_8BIT: "bitsandbytes"}),
        (set(), {Optimizer.ADAMW_8BIT: "bitsandbytes", Optimizer.PRODIGY: "prodigyopt"}),
    ],
)
def test_the_library_that_an_optimizer_lacks_is_told(
    installed: set[str], missing: dict[Optimizer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {name: object() for name in installed}
    monkeypatch.setattr(optimizer_libraries, "find_spec", found.get)
    assert missing_libraries() == missing
