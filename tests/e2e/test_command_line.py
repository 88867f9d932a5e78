"""The command against real services."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from brandloom._names import short
from tests.e2e.conftest import Done, World
from tests.fixtures.pictures import png

pytestmark = pytest.mark.timeout(600)
Run = Callable[..., Done]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "City Nights"
    folder.mkdir()
    rows = ["file_name,text"]
    for seed in range(4):
        (folder / f"{seed}.png").write_bytes(png(seed))
        rows.append(f"{seed}.png,picture number {seed}")
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_all_services_serve(brandloom_command: Run) -> None:
    done = brandloom_command("services", "status", "--json")
    assert done.status == 0
    assert {item["status"] for item in json.loads(done.stdout)} == {"SERVING"}


def test_a_yaml_file_is_all_it_takes(
    brandloom_command: Run, world: World, pictures: Path, tmp_path: Path
) -> None:
    config = tmp_path / "my_lora.yaml"
    config.write_text(
        f"train_data_dir: {pictures}\nmetadata_path: {pictures}/metadata.csv\nbase_model: {world.base}\n"
        f"lora_rank: 4\nalpha: 4\ndropout: 0.1\nbatch_size: 2\nepochs: 1\nlearning_rate: 1e-4\n"
        f"output_dir: {tmp_path}/out\nsave_steps: 100\ntrigger_word: c1ty\n"
    )
    done = brandloom_command("train", "--config", str(config))
    assert done.status == 0, done.stderr
    assert (tmp_path / "out" / "city-nights.safetensors").stat().st_size > 1000
    assert "city-nights: step 2 of 2" in done.stderr
    assert "advice:" in done.stderr
    images = json.loads(brandloom_command("images", "list", "default/city-nights", "--json").stdout)
    assert {image["caption"] for image in images} == {f"c1ty, picture number {seed}" for seed in range(4)}

    again = brandloom_command("train", "--config", str(config), "--json")
    assert again.status == 0, again.stderr
    assert json.loads(again.stdout)["lora_version"] == "brands/default/loras/city-nights/versions/2"
    assert again.stderr == ""
    versions = brandloom_command("versions", "list", "default/city-nights", "--json")
    assert len(json.loads(versions.stdout)) == 2

    assert brandloom_command("alias", "set", "default/city-nights", "prod", "1").status == 0
    shown = brandloom_command("versions", "get", "default/city-nights@prod")
    assert "brands/default/loras/city-nights/versions/1" in shown.stdout
    assert "c1ty" in shown.stdout
    for fact in ("environment", "torch", "pack_size_most", "trained", "loss plot", "learning rate", "advice"):
        assert fact in shown.stdout
    saved = brandloom_command(
        "versions", "download", "default/city-nights@prod", str(tmp_path / "shown"), "--previews"
    )
    assert (tmp_path / "shown" / "city-nights-v1-loss-plot.png").stat().st_size > 1000, saved.stderr
    original = json.loads(brandloom_command("jobs", "list", "default", "--json").stdout)[-1]
    for source in (short(original["name"]), "default/city-nights@1"):
        repeated = brandloom_command("jobs", "replicate", source, "--dry-run", "--json")
        assert json.loads(repeated.stdout)["spec"] == original["spec"]
    lineage = brandloom_command("versions", "lineage", "default/city-nights@prod")
    assert "trained on brands/default/datasets/city-nights/revisions/1" in lineage.stdout
    resolved = brandloom_command("stack", "resolve", "default", "city-nights@prod")
    assert "versions/1" in resolved.stdout
    made = brandloom_command(
        "generate", "default", "<lora:city-nights:0.5> a street", "--count", "2", "--seed", "3",
        "--steps", "2", "--output", str(tmp_path / "made"), "--json",
    )  # fmt: skip
    assert [image["seed"] for image in json.loads(made.stdout)["images"]] == [3, 4]
    assert len(list((tmp_path / "made").glob("*.png"))) == 2
    path = tmp_path / "copy.safetensors"
    assert brandloom_command("versions", "download", "default/city-nights@prod", str(path)).status == 0
    uploaded = brandloom_command("versions", "upload", "default/copied", str(path), "--json")
    assert json.loads(uploaded.stdout)["format"] == "KOHYA"


def test_a_yaml_file_chooses_optimizer_and_evaluations(
    brandloom_command: Run, world: World, pictures: Path, tmp_path: Path
) -> None:
    config = tmp_path / "my_lora.yaml"
    config.write_text(
        f"train_data_dir: {pictures}\nmetadata_path: {pictures}/metadata.csv\nbase_model: {world.base}\n"
        f"name: evaluated\noutput_dir: {tmp_path}/out\nlora_rank: 4\nmax_steps: 4\noptimizer: prodigy\n"
        "ema_decay: 0.5\nvalidation_split: 0.25\nvalidation_interval: 2\nkeep_best: true\n"
    )
    done = brandloom_command("train", "--config", str(config))
    assert done.status == 0, done.stderr
    assert "pictures held out for validation: 1" in done.stderr
    [job] = json.loads(brandloom_command("jobs", "list", "default", "--json").stdout)[:1]
    assert (job["spec"]["optimization"]["optimizer"], job["spec"]["validation"]["interval_steps"]) == (
        "PRODIGY",
        2,
    )
    points = json.loads(brandloom_command("jobs", "metrics", job["name"], "--json").stdout)
    assert [point["step"] for point in points if point["validation_loss"] is not None] == [2, 4]
    version = json.loads(brandloom_command("versions", "get", "default/evaluated", "--json").stdout)
    assert version["evaluation"]["validation_loss"] == min(
        point["validation_loss"] for point in points if point["validation_loss"] is not None
    )


def test_captions_are_labelled_edited_and_exported(
    brandloom_command: Run, pictures: Path, tmp_path: Path
) -> None:
    assert brandloom_command("brands", "create", "cli-brand").status == 0
    assert brandloom_command("datasets", "create", "cli-brand/night").status == 0
    (pictures / "broken.png").write_bytes(b"\x89PNG no more")
    done = brandloom_command("datasets", "upload", "cli-brand/night", str(pictures))
    assert done.status == 1
    assert "broken.png" in done.stdout
    assert "4 added, 1 rejected" in done.stderr
    labeled = brandloom_command("datasets", "label", "cli-brand/night")
    assert labeled.status == 0, labeled.stderr
    assert "succeeded" in labeled.stdout
    edited = brandloom_command("datasets", "edit-captions", "cli-brand/night", "--trigger-word", "n1ght")
    assert edited.status == 0, edited.stderr
    assert edited.stdout.startswith("4 of ")
    images = json.loads(
        brandloom_command(
            "images", "list", "cli-brand/night", "--filter", "excluded = false", "--json"
        ).stdout
    )
    set_caption = brandloom_command("images", "caption", images[0]["name"], "n1ght, a quiet street")
    assert "reviewer" in set_caption.stdout
    sealed = brandloom_command("datasets", "seal", "cli-brand/night", "--trigger-word", "n1ght", "--json")
    assert json.loads(sealed.stdout)["image_count"] == 4
    exported = brandloom_command(
        "datasets", "export", "cli-brand/night@1", str(tmp_path), "--format", "jsonl"
    )
    assert exported.status == 0, exported.stderr
    lines = Path(exported.stdout.strip()).read_text().splitlines()
    assert {"file_name", "text"} == set(json.loads(lines[0]))
    assert any("a quiet street" in line for line in lines)


def test_everything_can_be_corrected(
    brandloom_command: Run, world: World, pictures: Path, tmp_path: Path
) -> None:
    def told(*arguments: str) -> Any:
        done = brandloom_command(*arguments, "--json")
        assert done.status == 0, done.stderr
        return json.loads(done.stdout)

    told("base-models", "register", "to-correct", str(world.base))
    model = told("base-models", "update", "to-correct", "--license", "cc0")
    assert (model["license"], model["source"]) == ("cc0", str(world.base.resolve()))
    assert told("base-models", "delete", "to-correct", "--yes") == {"deleted": "to-correct"}

    told("brands", "create", "right", "--label", "team=web")
    assert told("brands", "update", "right", "--no-labels")["labels"] == {}
    told("loras", "create", "right/hero", "--tag", "old")
    stale = told("loras", "get", "right/hero")["etag"]
    assert told("loras", "update", "right/hero", "--tag", "new", "--etag", stale)["tags"] == ["new"]
    assert brandloom_command("loras", "update", "right/hero", "--no-tags", "--etag", stale).status == 6
    assert told("alias", "list", "right/hero") == []
    changes = brandloom_command("loras", "watch", "right", "--after", "0", "--limit", "4", "--json")
    kinds = [json.loads(line)["kind"] for line in changes.stdout.splitlines()]
    assert kinds == ["BASE_MODEL_UPDATED", "BASE_MODEL_DELETED", "LORA_CREATED", "LORA_UPDATED"]

    told("datasets", "create", "right/set")
    assert told("datasets", "update", "right/set", "--description", "four")["description"] == "four"
    told("datasets", "upload", "right/set", str(pictures))
    name = told("images", "list", "right/set")[0]["name"]
    image = told("images", "update", name, "--exclude", "--split", "validation", "--tag", "night")
    assert (image["excluded"], image["split"], image["tags"]) == (True, "validation", ["night"])
    path = Path(told("images", "download", name, str(tmp_path / "copy.png"))["path"])
    assert path.read_bytes().startswith(b"\x89PNG")
    told("images", "delete", short(name), "--yes")
    assert len(told("images", "list", "right/set")) == 3


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("brands", "get", "nobody"), 3, "NOT_FOUND"),
        (("brands", "create", "Bad_Id"), 2, "brand_id"),
        (("brands", "list", "--filter", "x ==="), 2, "filter"),
        (("jobs", "get", "nobody/0190"), 3, "NOT_FOUND"),
        (("jobs", "create", "acme/x", "--dataset", "acme/none", "--base-model", "none"), 2, "spec."),
        (("images", "list", "acme"), 2, "dataset"),
        (("generate", "nobody", "x"), 3, "brands/nobody"),
    ],
)
def test_errors_end_with_their_status(
    brandloom_command: Run, arguments: tuple[str, ...], status: int, words: str
) -> None:
    done = brandloom_command(*arguments)
    assert (done.status, done.stdout) == (status, ""), done.stderr
    assert words in done.stderr


def test_an_unknown_lora_is_named(brandloom_command: Run) -> None:
    assert brandloom_command("brands", "create", "stackless").status == 0
    done = brandloom_command("generate", "stackless", "<lora:none:1> x")
    assert (done.status, done.stdout) == (2, ""), done.stderr
    assert "none" in done.stderr


def test_what_exists_already_is_a_conflict(brandloom_command: Run) -> None:
    assert brandloom_command("brands", "create", "twice").status == 0
    assert brandloom_command("brands", "create", "twice").status == 6


def test_a_wrong_token_is_not_permitted(brandloom_command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRANDLOOM_TOKEN", "wrong")
    assert brandloom_command("brands", "list").status == 4


def test_nothing_to_watch(brandloom_command: Run) -> None:
    done = brandloom_command("jobs", "watch")
    assert (done.status, done.stderr) == (0, "no job is running\n")


def test_the_capacity_is_told(brandloom_command: Run) -> None:
    told = json.loads(brandloom_command("capacity", "--json").stdout)
    assert told["engine_ready"] is True
    assert "DPMPP_2M" in told["samplers"]
