"""Nothing is collected during large imports, and afterwards only what is new."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from servicekit.large_imports import large_imports


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_collections_wait_and_what_is_imported_is_left_alone() -> None:
    with large_imports():
        assert not gc.isenabled()
        imported = [[] for _ in range(10)]  # type: ignore[var-annotated]
    assert gc.isenabled()
    looked_through = {id(found) for found in gc.get_objects()}
    assert not looked_through & {id(one) for one in imported}


def test_an_import_that_fails_leaves_collections_on() -> None:
    with pytest.raises(ImportError), large_imports():
        raise ImportError("nothing here")
    assert gc.isenabled()


def test_a_process_that_collects_nothing_goes_on_so() -> None:
    gc.disable()
    with large_imports():
        pass
    assert not gc.isenabled()
