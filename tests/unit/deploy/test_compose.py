"""compose.yaml starts services when those that they ask are healthy, with settings that they know."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.inference.config import read_config as read_inference
from services.labeler.config import read_config as read_labeler
from services.registry.config import read_config as read_registry
from services.trainer.config import read_config as read_trainer

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
READERS = {
    "registry": read_registry,
    "labeler": read_labeler,
    "trainer": read_trainer,
    "inference": read_inference,
}


def has_health_check(service: str) -> bool:
    if "healthcheck" in COMPOSE[service]:
        return True
    build = COMPOSE[service].get("build")
    return bool(build) and "\nHEALTHCHECK" in (DEPLOY.parent / build["dockerfile"]).read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("service", COMPOSE)
def test_every_service_tells_its_health_and_waits_for_that_of_others(service: str) -> None:
    assert has_health_check(service)
    for other, how in COMPOSE[service].get("depends_on", {}).items():
        assert other in COMPOSE
        assert how == {"condition": "service_healthy"}


@pytest.mark.parametrize("service", READERS)
def test_services_wait_for_those_whose_addresses_they_need(service: str) -> None:
    waits = set(COMPOSE[service]["depends_on"])
    asked = {"trainer": {"labeler", "registry"}, "inference": {"registry"}}.get(service, set())
    database = set() if service == "inference" else {"postgres"}
    assert waits == {"minio", *asked, *database}


@pytest.mark.parametrize("service", READERS)
def test_the_services_take_their_settings(service: str, tmp_path: Path) -> None:
    settings = {name: str(value) for name, value in COMPOSE[service]["environment"].items()}
    # The models' folder is there in the container only.
    settings = {name: value.replace("/models/", f"{tmp_path}/") for name, value in settings.items()}
    for name in ("sd-tiny", "llama-tiny"):
        (tmp_path / name).mkdir()
    READERS[service]({"BRANDLOOM_HOME": str(tmp_path), **settings})


def test_every_setting_in_the_files_is_documented() -> None:
    page = (DEPLOY.parent / "docs/reference/configuration.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`(BRANDLOOM_[A-Z0-9_<>]+)`", page))
    files = [DEPLOY / "compose.yaml", *sorted((DEPLOY / "docker").iterdir())]
    for path in files:
        for name in re.findall(r"\bBRANDLOOM_[A-Z0-9_]+\b", path.read_text(encoding="utf-8")):
            of_each = re.sub(r"_(REGISTRY|LABELER|TRAINER|INFERENCE)_", "_<SERVICE>_", name)
            assert documented & {name, of_each}, f"{path.name}: {name}"
