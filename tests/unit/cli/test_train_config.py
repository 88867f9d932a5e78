"""The YAML of `brandloom train`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from brandloom import AdapterTarget, LearningRateSchedule, OptimizerKind
from brandloom.cli.train_config import TrainConfig, parse_config, read_config
from brandloom.errors import ConfigurationError

EXISTING = """
train_data_dir: {data}
metadata_path: {data}/metadata.csv
base_model: sd-tiny
lora_rank: 16
alpha: 32
dropout: 0.05
batch_size: 4
epochs: 10
learning_rate: 1e-4
output_dir: out
save_steps: 200
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "My Hero"
    folder.mkdir()
    (folder / "metadata.csv").write_text("file_name,text\n")
    return folder


def parse(text: str, data: Path) -> TrainConfig:
    return parse_config(text.format(data=data), Path("my_lora.yaml"))


def faults(text: str, data: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse(text, data)
    return str(caught.value).splitlines()


def test_the_yaml_that_people_have_works_as_it_is(data: Path) -> None:
    config = parse(EXISTING, data)
    assert config.train_data_dir == data
    assert config.metadata_path == data / "metadata.csv"
    assert (config.base_model, config.output_dir) == ("sd-tiny", Path("out"))
    assert (config.brand, config.name, config.trigger_word) == ("default", "My Hero", "")
    assert config.options == {
        "rank": 16,
        "alpha": 32.0,
        "dropout": 0.05,
        "batch_size": 4,
        "epochs": 10,
        "learning_rate": 1e-4,
        "checkpoint_interval_steps": 200,
    }


def test_more_can_be_said(data: Path) -> None:
    config = parse(
        "train_data_dir: {data}\nbase_model: org/model\nbrand: acme\nname: hero\ntrigger_word: h3ro\n"
        "schedule: cosine\ntargets: [attention, conv_1x1]\nsample_prompts: a cat\nmax_steps: 5\nseed: 0\n",
        data,
    )
    assert (config.brand, config.name, config.trigger_word) == ("acme", "hero", "h3ro")
    assert config.options["schedule"] is LearningRateSchedule.COSINE
    assert config.options["targets"] == (AdapterTarget.ATTENTION, AdapterTarget.CONV_1X1)
    assert config.options["sample_prompts"] == ("a cat",)
    assert config.options["seed"] == 0


def test_optimizers_and_evaluations_can_be_chosen(data: Path) -> None:
    config = parse(
        "train_data_dir: {data}\nbase_model: org/model\noptimizer: adamw_8bit\nema_decay: 0.99\n"
        "validation_split: 0.1\nvalidation_interval: 20\nearly_stopping_patience: 3\nkeep_best: true\n"
        "validation_max_items: 8\n",
        data,
    )
    assert config.validation_split == 0.1
    assert config.options == {
        "optimizer": OptimizerKind.ADAMW_8BIT,
        "ema_decay": 0.99,
        "validation_interval_steps": 20,
        "early_stopping_patience": 3,
        "keep_best": True,
        "validation_max_items": 8,
    }
    assert (
        "must be one of adamw, adamw_8bit, prodigy, adafactor"
        in faults("train_data_dir: {data}\nbase_model: a\noptimizer: sgd\n", data)[0]
    )


def test_what_goes_into_a_step_can_be_chosen(data: Path) -> None:
    config = parse(
        "train_data_dir: {data}\nbase_model: org/model\naspect_ratio_buckets: true\nbucket_min_size: 256\n"
        "bucket_max_size: 1024\nbucket_step: 32\nshuffle_tags: true\nkeep_tokens: 1\n"
        "prior_dataset: acme/people\nprior_weight: 0.5\nprior_batch_size: 2\ngradient_checkpointing: true\n",
        data,
    )
    assert config.options == {
        "aspect_ratio_buckets": True,
        "bucket_min_size": 256,
        "bucket_max_size": 1024,
        "bucket_step": 32,
        "shuffle_tags": True,
        "keep_tokens": 1,
        "prior_dataset": "acme/people",
        "prior_weight": 0.5,
        "prior_batch_size": 2,
        "gradient_checkpointing": True,
    }
    assert (
        "must be true or false"
        in faults("train_data_dir: {data}\nbase_model: a\naspect_ratio_buckets: 64\n", data)[0]
    )


def test_a_share_is_no_count(data: Path) -> None:
    [fault] = faults("train_data_dir: {data}\nbase_model: a\nvalidation_split: 10\n", data)
    assert fault == "my_lora.yaml:3: validation_split: must be a share from 0 to below 1, not 10"


def test_all_faults_are_told_at_once_with_their_lines(data: Path) -> None:
    assert faults(
        "train_data_dir: /nowhere\n"
        "lora_rnk: 4\n"
        "epochs: many\n"
        "learning_rate: fast\n"
        "targets: [heads]\n"
        "horizontal_flip: 'yes'\n",
        data,
    ) == [
        "my_lora.yaml:2: unknown key 'lora_rnk', did you mean 'lora_rank'?",
        "my_lora.yaml:3: epochs: must be a whole number, not 'many'",
        "my_lora.yaml:4: learning_rate: must be a number, not 'fast'",
        "my_lora.yaml:5: targets: must be one of attention, feed_forward, conv_1x1, not 'heads'",
        "my_lora.yaml:6: horizontal_flip: must be true or false, not 'yes'",
        "my_lora.yaml: base_model is missing",
        "my_lora.yaml:1: train_data_dir: /nowhere is no folder",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: [1, 2", "my_lora.yaml:1: expected ',' or ']'"),
        ("a: 1\n  b: 2", "my_lora.yaml:2: mapping values are not allowed here"),
        ("a: !!python/object/apply:os.system [echo]", "could not determine a constructor"),
        ("- a\n- b", "must hold `key: value` lines"),
        ("", "must hold `key: value` lines"),
        ("a: \x01", "special characters are not allowed"),
    ],
)
def test_broken_yaml_is_told_with_its_line(data: Path, text: str, fault: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_config(text, Path("my_lora.yaml"))
    assert fault in str(caught.value)


def test_a_key_given_twice_is_a_fault(data: Path) -> None:
    text = "train_data_dir: {data}\nbase_model: a\nbase_model: b\n"
    assert faults(text, data) == ["my_lora.yaml:3: base_model was given in line 2 already"]


def test_epochs_and_steps_exclude_each_other(data: Path) -> None:
    text = "train_data_dir: {data}\nbase_model: a\nepochs: 1\nmax_steps: 2\n"
    assert faults(text, data) == ["my_lora.yaml:4: max_steps and epochs exclude each other"]


def test_captions_must_be_of_a_known_kind(data: Path) -> None:
    (data / "metadata.xlsx").write_bytes(b"")
    text = "train_data_dir: {data}\nbase_model: a\nmetadata_path: {data}/metadata.xlsx\n"
    assert faults(text, data) == ["my_lora.yaml:3: metadata_path: must be a .csv, .jsonl or .zip"]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        read_config(tmp_path / "nowhere.yaml")
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"name: caf\xe9")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        read_config(path)
    path.write_bytes(b"#" * (1 << 20) + b"##")
    with pytest.raises(ConfigurationError, match="too large"):
        read_config(path)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("yes: 1", "unknown key 'yes'"),
        ("0x10: 1", "unknown key '0x10'"),
        ("null: 1", "unknown key 'null'"),
        ("<<: {alpha: x}", "unknown key '<<'"),
        ("? [a, b]\n: 1", "a key must be a word"),
        ("seed: 2026-13-40", "month must be in 1..12"),
        ("alpha: 1" + "0" * 400, "must be a number"),
        ("alpha: 1" + "0" * 5000, "Exceeds the limit"),
        ("seed: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("precision: [float32]", "must be one of"),
        ("alpha: " + "[" * 5000, "recursion"),
    ],
)
def test_strange_yaml_is_told_with_its_place(tmp_path: Path, line: str, words: str) -> None:
    text = f"train_data_dir: {tmp_path}\nbase_model: tiny\n{line}\n"
    with pytest.raises(ConfigurationError, match=f"(?s)my.yaml.*{re.escape(words)}") as caught:
        parse_config(text, Path("my.yaml"))
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("key", ["alpha", "seed", "precision", "name", "trigger_words", "horizontal_flip"])
def test_a_bomb_of_aliases_does_not_go_off(tmp_path: Path, key: str) -> None:
    levels = [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 30)]
    bomb = "\n".join(["a0: &a0 [x]", *levels, f"{key}: *a29"])
    text = f"train_data_dir: {tmp_path}\nbase_model: tiny\n{bomb}\n"
    with pytest.raises(ConfigurationError, match=f"{key}: must be"):
        parse_config(text, Path("my.yaml"))
