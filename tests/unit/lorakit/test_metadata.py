"""Metadata of LoRA files."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorakit.errors import LoraFormatError
from lorakit.metadata import BucketFacts, TrainingFacts, build_metadata, read_metadata, without_directories

FACTS = TrainingFacts(
    output_name="hero",
    family="sd15",
    rank=8,
    alpha=4.0,
    title="The hero",
    started_at=datetime(2026, 11, 1, 12, 0, tzinfo=UTC),
    finished_at=datetime(2026, 11, 1, 12, 30, tzinfo=UTC),
    network_args={"dropout": 0.1},
    base_model_name="/home/ada/models/tiny-sd",
    base_model_sha256="ab" * 32,
    resolution=(128, 128),
    train_images=24,
    steps=300,
    epochs=10,
    seed=7,
    batch_size=8,
    learning_rate=1e-4,
    optimizer="adamw",
    dataset_name="hero-set",
    tag_frequency={"hero-set": {"a cat": 3}},
    trigger_words=("heroz", "cape"),
    comment=r"made from C:\Users\ada\sets\hero.zip",
)


def test_what_is_written() -> None:
    metadata = build_metadata(FACTS)
    assert all(isinstance(value, str) for value in metadata.values())
    minimum = ("v2", "base_model_version", "network_module", "network_dim", "network_alpha", "network_args")
    assert all(f"ss_{key}" in metadata for key in minimum)
    assert metadata["ss_v2"] == "False"
    assert json.loads(metadata["ss_network_args"]) == {"dropout": 0.1}
    assert json.loads(metadata["ss_tag_frequency"]) == {"hero-set": {"a cat": 3}}
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/lora"
    assert metadata["modelspec.sai_model_spec"] == "1.0.1"
    assert metadata["modelspec.date"] == "2026-11-01T12:30:00+00:00"
    assert "ss_clip_skip" not in metadata


def test_buckets_are_told_as_sd_scripts_tells_them() -> None:
    assert build_metadata(FACTS)["ss_enable_bucket"] == "False"
    assert "ss_bucket_info" not in build_metadata(FACTS)
    buckets = BucketFacts(
        min_side=64, max_side=256, counts={(128, 128): 3, (96, 160): 2, (160, 96): 0}, mean_aspect_error=0.25
    )
    metadata = build_metadata(replace(FACTS, buckets=buckets))
    assert metadata["ss_enable_bucket"] == "True"
    assert (metadata["ss_min_bucket_reso"], metadata["ss_max_bucket_reso"]) == ("64", "256")
    assert metadata["ss_bucket_no_upscale"] == "False"
    assert json.loads(metadata["ss_bucket_info"]) == {
        "buckets": {
            "0": {"resolution": [96, 160], "count": 2},
            "1": {"resolution": [128, 128], "count": 3},
        },
        "mean_img_ar_error": 0.25,
    }


def test_no_private_paths_go_in() -> None:
    metadata = build_metadata(FACTS)
    assert metadata["ss_sd_model_name"] == "tiny-sd"
    assert metadata["ss_training_comment"] == "made from hero.zip"
    assert not any(mark in value for value in metadata.values() for mark in ("home", "Users"))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/home/ada/x/hero", "hero"),
        ("~/x/hero and more", "hero and more"),
        ('"/srv/data/a.png"', '"a.png"'),
        (r"D:\work\a", "a"),
        ("https://example.com/a/b", "https://example.com/a/b"),
        ("red and/or blue", "red and/or blue"),
        ("stable-diffusion-v1/lora", "stable-diffusion-v1/lora"),
    ],
)
def test_directories_are_cut_off(text: str, left: str) -> None:
    assert without_directories(text) == left


def test_what_is_read_again() -> None:
    found = read_metadata(build_metadata(FACTS))
    assert (found.output_name, found.rank, found.alpha, found.steps, found.seed) == ("hero", 8, 4.0, 300, 7)
    assert found.resolution == (128, 128)
    assert found.trigger_words == ("heroz", "cape")
    assert found.training_finished_at == FACTS.finished_at
    assert found.base_model_sha256 == "ab" * 32


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "ss_network_dim",
                "ss_network_alpha",
                "ss_steps",
                "ss_seed",
                "ss_resolution",
                "ss_training_finished_at",
                "modelspec.trigger_phrase",
            ]
        ),
        st.text() | st.sampled_from(["nan", "inf", "-1e300", "9" * 50, "(512, 512)", "1.5"]),
    )
)
def test_strange_metadata_never_raises(metadata: dict[str, str]) -> None:
    read_metadata(metadata)


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(LoraFormatError, match="hexagon"):
        build_metadata(
            TrainingFacts(
                output_name="x", family="hexagon", rank=1, alpha=1.0, title="x", finished_at=FACTS.finished_at
            )
        )
