"""Short names, connection settings, training settings, base digests."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import get_type_hints

import pytest

from brandloom import TrainingOptions, TrainingSpec, _names, base_model_digest, errors
from brandloom._settings import connection_settings
from lorakit.base_digest import base_digest


@pytest.mark.parametrize(
    ("function", "given", "full"),
    [
        (_names.brand, "acme", "brands/acme"),
        (_names.brand, "brands/acme", "brands/acme"),
        (_names.brand, "-", "brands/-"),
        (_names.base_model, "sd-tiny", "baseModels/sd-tiny"),
        (_names.dataset, "acme/heroes", "brands/acme/datasets/heroes"),
        (_names.lora, "acme/hero", "brands/acme/loras/hero"),
        (_names.lora, "brands/acme/loras/hero", "brands/acme/loras/hero"),
        (_names.image, "acme/heroes/01", "brands/acme/datasets/heroes/images/01"),
        (
            _names.image,
            "brands/a/datasets/b/images/1",
            "brands/a/datasets/b/images/1",
        ),
        (_names.text, "acme/voice/01", "brands/acme/datasets/voice/texts/01"),
        (_names.label_job, "acme/heroes/01", "brands/acme/datasets/heroes/labelJobs/01"),
        (_names.training_job, "acme/01", "brands/acme/trainingJobs/01"),
        (_names.revision, "acme/heroes", "brands/acme/datasets/heroes/revisions/latest"),
        (_names.revision, "acme/heroes@3", "brands/acme/datasets/heroes/revisions/3"),
        (_names.revision, "brands/acme/datasets/heroes", "brands/acme/datasets/heroes/revisions/latest"),
        (_names.version, "acme/hero@prod", "brands/acme/loras/hero/versions/prod"),
        (_names.version, "acme/hero", "brands/acme/loras/hero/versions/latest"),
        (_names.version, SimpleNamespace(name="brands/a/loras/b/versions/2"), "brands/a/loras/b/versions/2"),
    ],
)
def test_short_names(function: object, given: object, full: str) -> None:
    assert function(given) == full  # type: ignore[operator]


@pytest.mark.parametrize("given", ["acme", "/hero", "acme/", ""])
def test_a_name_that_cannot_be_is_refused_with_its_field(given: str) -> None:
    with pytest.raises(errors.InvalidArgument) as caught:
        _names.lora(given)
    assert caught.value.violations[0].field == "lora"


@pytest.mark.parametrize(("function", "given"), [(_names.brand, "acme/hero"), (_names.base_model, "")])
def test_a_name_of_one_part_is_refused_here(function: object, given: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="must "):
        function(given)  # type: ignore[operator]


@pytest.mark.parametrize("given", ["01", "acme/01", "acme//01", ""])
def test_a_picture_goes_by_brand_dataset_and_id(given: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="must look like brand/dataset/image"):
        _names.image(given)


def test_names_for_people() -> None:
    for name in (
        "brands/a/datasets/b/images/1",
        "brands/a/datasets/b/texts/1",
        "brands/a/datasets/b/labelJobs/1",
    ):
        assert _names.short(name) == "a/b/1"
    assert _names.short("brands/acme/loras/hero") == "acme/hero"
    assert _names.short("brands/acme/loras/hero/versions/3") == "acme/hero@3"
    assert _names.short("brands/acme/datasets/x/revisions/2") == "acme/x@2"
    assert _names.short("baseModels/sd") == "sd"
    assert _names.short("something else") == "something else"


def test_arguments_win_over_the_environment_and_that_over_defaults(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    environment = {"BRANDLOOM_TRAINER_ADDRESS": "there:1", "BRANDLOOM_HOME": str(tmp_path)}
    found = connection_settings(
        {"registry": "here:2"}, token=None, home=None, timeout_seconds=5, environment=environment
    )
    assert found.addresses == {
        "registry": "here:2",
        "labeler": "127.0.0.1:50052",
        "trainer": "there:1",
        "inference": "127.0.0.1:50054",
    }
    assert found.token == "from-file"
    given = connection_settings(
        {}, token="mine", home=None, timeout_seconds=5, environment={**environment, "BRANDLOOM_TOKEN": "x"}
    )
    assert given.token == "mine"


def test_no_token_says_where_to_put_one(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigurationError, match="BRANDLOOM_TOKEN"):
        connection_settings({}, token=None, home=tmp_path, timeout_seconds=5, environment={})


def test_flat_settings_find_their_section() -> None:
    spec = TrainingSpec.build(
        "acme/hero",
        "acme/heroes@2",
        base_model="sd-tiny",
        rank=4,
        max_steps=10,
        caption_dropout=0.1,
        sample_prompts=("a cat",),
        sample_steps=5,
        early_stopping_patience=3,
        keep_best=True,
        aspect_ratio_buckets=True,
        bucket_step=32,
        shuffle_tags=True,
        prior_dataset="acme/people",
        prior_weight=0.5,
        gradient_checkpointing=True,
        seed=3,
        parent_version="acme/hero@1",
    )
    assert spec.lora == "brands/acme/loras/hero"
    assert spec.dataset_revision == "brands/acme/datasets/heroes/revisions/2"
    assert (spec.adapter.rank, spec.optimization.max_steps, spec.loss.caption_dropout) == (4, 10, 0.1)
    assert (spec.validation.patience, spec.validation.keep_best) == (3, True)
    assert (spec.samples.prompts, spec.samples.steps, spec.seed) == (("a cat",), 5, 3)
    assert spec.parent_version == "brands/acme/loras/hero/versions/1"
    assert (spec.aspect_ratio_buckets.enabled, spec.aspect_ratio_buckets.step) == (True, 32)
    assert (spec.caption.shuffle_tags, spec.caption.keep_tokens) == (True, None)
    assert spec.prior_preservation.dataset_revision == "brands/acme/datasets/people/revisions/latest"
    assert (spec.prior_preservation.weight, spec.gradient_checkpointing) == (0.5, True)


def test_every_setting_of_the_api_has_a_flat_name() -> None:
    sections = {
        "adapter": "",
        "optimization": "",
        "loss": "",
        "samples": "sample_",
        "validation": "validation_",
        "aspect_ratio_buckets": "bucket_",
        "caption": "",
        "prior_preservation": "prior_",
    }
    hints = get_type_hints(TrainingSpec)
    flat = set(hints) - set(sections) - {"base_model", "dataset_revision", "lora"}
    for section, prefix in sections.items():
        flat |= {f"{prefix}{name}" for name in get_type_hints(hints[section])}
    flat |= {"early_stopping_patience", "keep_best", "aspect_ratio_buckets", "prior_dataset"}
    flat -= {"validation_patience", "validation_keep_best", "bucket_enabled", "prior_dataset_revision"}
    assert flat == set(TrainingOptions.__annotations__)


def test_an_unknown_setting_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="rnk"):
        TrainingSpec.build("a/b", "a/c", base_model="sd", rnk=4)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="epochs and max_steps exclude each other"):
        TrainingSpec.build("a/b", "a/c", base_model="sd", epochs=2, max_steps=9)


def test_the_digest_of_a_base_model_is_the_engines(tmp_path: Path) -> None:
    weights = "unet/diffusion_pytorch_model.safetensors"
    more = "vae/diffusion_pytorch_model-00001-of-00002.safetensors"
    for name in ("model_index.json", "unet/config.json", weights, more, "tokenizer/merges.txt"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(name)
    for ignored in (
        "README.md",
        "unet/.hidden.json",
        "unet/picture.png",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "safety_checker/model.safetensors",
    ):
        (tmp_path / ignored).parent.mkdir(exist_ok=True)
        (tmp_path / ignored).write_text("x")
    (tmp_path / "unet" / "deeper").mkdir()
    (tmp_path / "unet" / "deeper" / "x.json").write_text("x")
    assert base_model_digest(tmp_path) == base_digest(tmp_path)
    counted = base_digest(tmp_path)
    (tmp_path / more).write_text("other")
    assert base_model_digest(tmp_path) == base_digest(tmp_path) != counted
    language_model = tmp_path / "lm"
    language_model.mkdir()
    for name in ("config.json", "model.safetensors", "chat_template.jinja", "tokenizer.model"):
        before = base_model_digest(language_model) if (language_model / "config.json").is_file() else ""
        (language_model / name).write_text(name)
        assert base_model_digest(language_model) == base_digest(language_model) != before
    single = tmp_path / weights
    assert base_model_digest(single) == base_digest(single)
    with pytest.raises(errors.ConfigurationError, match="model_index"):
        base_model_digest(tmp_path / "unet" / "deeper")
