"""Configuration, words, page weights, and who may do what."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.artifacts.local import LocalStore
from servicekit.clock import SystemClock
from servicekit.database import Database, migrate
from servicekit.errors import InvalidArgument, PermissionDenied
from servicekit.identity import Principal, set_principal
from servicekit.metrics import ServiceMetrics
from servicekit.settings import ConfigError
from services.registry.__main__ import MIGRATIONS
from services.registry.config import read_config
from services.registry.domain import (
    ListQuery,
    LoraKey,
    LoraOrigin,
    RequestId,
    VersionDraft,
    VersionKey,
)
from services.registry.domain_files import StoredFile
from services.registry.domain_search_words import MAX_WORD_LENGTH, MAX_WORDS, words_of
from services.registry.figures import PrometheusFigures
from services.registry.files import ArtifactFiles
from services.registry.inspection import LoraHeaderReader
from services.registry.paging import text_bytes
from services.registry.repository import SqlRecordStore
from services.registry.service import RegistryService
from services.registry.service_versions import UploadHeader
from tests.grpc.registry.lora_files import kohya_file

ACME = Principal(subject="ada", brands=frozenset({"acme"}))
BOTH = Principal(subject="bob", brands=frozenset({"acme", "globex"}))
ADMINISTRATOR = Principal(subject="root", brands=None, administrator=True)
NO_ID = RequestId("", "")
CITY = LoraKey("globex", "city")
HERO = LoraKey("acme", "hero")


def test_the_configuration_has_defaults(tmp_path: Path) -> None:
    config = read_config({"BRANDLOOM_HOME": str(tmp_path), "BRANDLOOM_TOKEN": "secret-word"})
    assert config.common.listen == "127.0.0.1:50051"
    assert config.common.metrics_listen == "127.0.0.1:9101"
    assert config.database_url == f"sqlite+aiosqlite:///{tmp_path}/registry.db"
    assert config.common.store.url == f"file://{tmp_path}/store"
    assert "secret-word" not in repr(config)


def test_faults_of_the_configuration_come_together() -> None:
    with pytest.raises(ConfigError) as refused:
        read_config(
            {
                "BRANDLOOM_REGISTRY_LISTEN": "nowhere",
                "BRANDLOOM_REGISTRY_CHANGE_POLL_SECONDS": "60",
                "BRANDLOOM_LOG_LEVEL": "LOUD",
            }
        )
    assert len(refused.value.faults) == 3


def test_words() -> None:
    assert words_of("Neon-City, NEON", "straße") == ("neon", "city", "strasse")
    assert words_of("", "--") == ()


@given(st.lists(st.text(max_size=300), max_size=4))
def test_words_are_bounded_and_found_again(texts: list[str]) -> None:
    words = words_of(*texts)
    assert len(words) == len(set(words)) <= MAX_WORDS
    for word in words:
        assert 0 < len(word) <= MAX_WORD_LENGTH
        assert words_of(word)[0].startswith(word[:1])


@given(st.text())
def test_weights_are_never_too_small(text: str) -> None:
    assert text_bytes(text) >= len(text.encode("utf-8", "surrogatepass"))


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[RegistryService]:
    url = f"sqlite+aiosqlite:///{tmp_path}/registry.db"
    migrate(url, MIGRATIONS)
    database = Database(url)
    yield RegistryService(
        store=SqlRecordStore(database, SystemClock()),
        files=ArtifactFiles(LocalStore(tmp_path / "store")),
        headers=LoraHeaderReader(),
        figures=PrometheusFigures(ServiceMetrics("registry")),
        clock=SystemClock(),
        max_upload_bytes=1 << 20,
        change_poll_seconds=0.05,
    )
    set_principal(None)
    await database.dispose()


async def fill(service: RegistryService) -> None:
    """Both brands, a LoRA in each, the second made from the first."""
    set_principal(ADMINISTRATOR)
    for brand in ("acme", "globex"):
        await service.brands.create(brand, display_name="", description="", labels={}, request=NO_ID)
    for key, parent in ((CITY, None), (HERO, VersionKey(CITY, "1"))):
        draft = VersionDraft(origin=LoraOrigin(parent_version=parent))
        header = UploadHeader(key=key, draft=draft, file_name="", sha256="", size_bytes=0, request=NO_ID)
        await service.versions.upload(header, _chunks(kohya_file()))


async def _chunks(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def test_a_stack_and_a_parent_of_a_closed_brand_are_refused_whether_they_exist_or_not(
    service: RegistryService,
) -> None:
    await fill(service)
    set_principal(ACME)
    for other in ("globex", "nobody"):
        with pytest.raises(PermissionDenied):
            await service.stacks.resolve("acme", ["hero", f"{other}/x"], "")
        parent = VersionKey(LoraKey(other, "city"), "1")
        draft = VersionDraft(origin=LoraOrigin(parent_version=parent))
        header = UploadHeader(key=HERO, draft=draft, file_name="", sha256="", size_bytes=0, request=NO_ID)
        with pytest.raises(PermissionDenied):
            await service.versions.upload(header, _chunks(kohya_file()))


async def test_only_administrators_name_previews_by_their_digests(service: RegistryService) -> None:
    await fill(service)
    draft = VersionDraft(previews=(StoredFile(sha256="a" * 64, size_bytes=1),))
    header = UploadHeader(key=HERO, draft=draft, file_name="", sha256="", size_bytes=0, request=NO_ID)
    set_principal(ACME)
    with pytest.raises(PermissionDenied):
        await service.versions.upload(header, _chunks(kohya_file()))
    set_principal(ADMINISTRATOR)
    with pytest.raises(InvalidArgument) as missing:
        await service.versions.upload(header, _chunks(kohya_file()))
    assert missing.value.reason == "PREVIEW_NOT_FOUND"


async def test_listings_and_lineage_hide_what_is_closed(service: RegistryService) -> None:
    await fill(service)
    set_principal(ACME)
    assert [brand.brand_id for brand in (await service.brands.list(ListQuery())).items] == ["acme"]
    assert [lora.key for lora in (await service.loras.search("", ListQuery())).items] == [HERO]
    assert (
        "brands/globex/loras/city/versions/1"
        not in (await service.lineage.walk(VersionKey(HERO, "1"), 0)).nodes
    )
    changes = await service.changes.open("", 0)
    seen = [await anext(changes) for _ in range(2)]  # type: ignore[call-overload]
    assert {change.lora for change in seen} == {HERO}
    await changes.aclose()  # type: ignore[attr-defined]
    set_principal(BOTH)
    assert (
        "brands/globex/loras/city/versions/1" in (await service.lineage.walk(VersionKey(HERO, "1"), 0)).nodes
    )


async def test_too_large_a_file_is_refused_on_the_way(service: RegistryService) -> None:
    await fill(service)
    data = kohya_file(blocks=100, rank=8)
    for size in (0, len(data)):
        header = UploadHeader(
            key=HERO, draft=VersionDraft(), file_name="", sha256="", size_bytes=size, request=NO_ID
        )
        with pytest.raises(InvalidArgument) as refused:
            await service.versions.upload(header, _pieces(data))
        assert refused.value.reason == "ARTIFACT_TOO_LARGE"


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 1 << 16):
        yield data[start : start + (1 << 16)]
