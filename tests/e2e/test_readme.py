"""The README's SDK examples do what it says, word for word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import brandloom
from tests.e2e.conftest import World
from tests.fixtures.pictures import png

pytestmark = pytest.mark.timeout(600)
README = Path(__file__).resolve().parents[2] / "README.md"


def examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.S)


def prepare(world: World) -> None:
    with world.suite.connect() as client:
        if "baseModels/sd-tiny" not in {base.name for base in client.base_models.list()}:
            client.base_models.create(
                "sd-tiny",
                family=brandloom.ModelFamily.SD15,
                source=str(world.base),
                sha256=brandloom.base_model_digest(world.base),
                resolution=16,
            )


def test_the_three_uses(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BRANDLOOM_HOME", str(world.suite.home))
    for service, address in world.suite.addresses.items():
        monkeypatch.setenv(f"BRANDLOOM_{service.upper()}_ADDRESS", address)
    pictures = tmp_path / "pictures" / "hero"
    pictures.mkdir(parents=True)
    for seed in range(2):
        (pictures / f"{seed}.png").write_bytes(png(seed))
    prepare(world)
    train, ask, generate = examples()

    exec(train, {})
    assert capsys.readouterr().out == "brands/acme/loras/hero/versions/1\n"

    with world.suite.connect() as client:
        file = client.versions.download("acme/hero@1", tmp_path / "hero.safetensors")
        client.versions.upload("acme/neon-city", file, base_model="sd-tiny")
        client.loras.update("acme/hero", tags=["mascot"])
    exec(ask, {})
    shown = capsys.readouterr().out
    assert "brands/acme/loras/hero 1 {}" in shown
    assert "neon-city 1" not in shown
    assert " trained_on brands/acme/loras/hero/versions/1" in shown

    exec(generate, {})
    assert {path.name for path in tmp_path.glob("hero-*.png")} == {"hero-7.png", "hero-8.png"}


def test_every_link_of_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8"))
    assert len(links) > 5
    assert [link for link in links if "://" not in link and not (README.parent / link).exists()] == []
