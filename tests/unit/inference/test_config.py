"""Configuration from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from servicekit.settings import ConfigError
from services.inference.config import read_config


def test_defaults(tmp_path: Path) -> None:
    config = read_config({"BRANDLOOM_HOME": str(tmp_path)})
    assert (config.common.listen, config.common.metrics_listen) == ("127.0.0.1:50054", "127.0.0.1:9104")
    assert (config.default_base, config.engine.dtype, config.engine.preload) == ("", "float32", "")
    assert config.cache_directory == tmp_path / "cache" / "inference"
    assert config.engine.threads >= 1
    assert (config.engine.safety_checker, config.signing) == ("", None)


def test_a_local_base_is_loaded_before_the_first_request(tmp_path: Path) -> None:
    config = read_config({"BRANDLOOM_HOME": str(tmp_path), "BRANDLOOM_INFERENCE_BASE_MODEL": str(tmp_path)})
    assert config.default_base == config.engine.preload == str(tmp_path)
    named = read_config({"BRANDLOOM_HOME": str(tmp_path), "BRANDLOOM_INFERENCE_BASE_MODEL": "baseModels/x"})
    assert (named.default_base, named.engine.preload) == ("baseModels/x", "")


def test_a_safety_checker_and_a_signer_that_are_not_there_are_faults(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(
            {
                "BRANDLOOM_HOME": str(tmp_path),
                "BRANDLOOM_INFERENCE_SAFETY_CHECKER": str(tmp_path / "checker"),
                "BRANDLOOM_INFERENCE_SIGNING_CERT": str(tmp_path / "signer.pem"),
            }
        )
    assert [fault.split()[0] for fault in caught.value.faults] == [
        "BRANDLOOM_INFERENCE_SAFETY_CHECKER",
        "BRANDLOOM_INFERENCE_SIGNING_CERT",
        "BRANDLOOM_INFERENCE_SIGNING_KEY",
    ]


def test_all_faults_are_reported_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(
            {
                "BRANDLOOM_HOME": str(tmp_path),
                "BRANDLOOM_INFERENCE_BASE_MODEL": str(tmp_path / "nothing"),
                "BRANDLOOM_INFERENCE_DTYPE": "int4",
                "BRANDLOOM_INFERENCE_MAX_ROWS": "0",
                "BRANDLOOM_INFERENCE_LISTEN": "nowhere",
            }
        )
    assert len(caught.value.faults) == 4


def test_stacks_to_load_at_the_start(tmp_path: Path) -> None:
    written = " acme: <lora:hero:0.6> <lora:neon>;; globex : <lora:acme/city@prod:0.5:1> ; "
    config = read_config({"BRANDLOOM_HOME": str(tmp_path), "BRANDLOOM_INFERENCE_WARM": written})
    assert [(pin.brand, pin.tags) for pin in config.warm] == [
        ("acme", "<lora:hero:0.6> <lora:neon>"),
        ("globex", "<lora:acme/city@prod:0.5:1>"),
    ]


@pytest.mark.parametrize(
    "written",
    [
        "acme",
        "acme: hero",
        "acme: <lora:hero> a fox",
        "Acme: <lora:hero>",
        "<lora:hero>",
        "acme: <lora:hero:x>",
    ],
)
def test_stacks_that_cannot_be_read_are_told(tmp_path: Path, written: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config({"BRANDLOOM_HOME": str(tmp_path), "BRANDLOOM_INFERENCE_WARM": f"ok: <lora:a>; {written}"})
    (fault,) = caught.value.faults
    assert fault.startswith("BRANDLOOM_INFERENCE_WARM ")
    assert repr(written) in fault
