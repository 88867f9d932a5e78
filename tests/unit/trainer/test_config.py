from __future__ import annotations

from pathlib import Path

import pytest

from servicekit.settings import ConfigError
from services.trainer.accelerators import count_accelerators, visible_accelerator
from services.trainer.config import read_config


def test_defaults_follow_the_home(tmp_path: Path) -> None:
    config = read_config({"BRANDLOOM_HOME": str(tmp_path)})
    assert config.database_url == f"sqlite+aiosqlite:///{tmp_path}/trainer.db"
    assert (config.common.listen, config.common.metrics_listen) == ("127.0.0.1:50053", "127.0.0.1:9103")
    assert config.pack_size == 8
    assert config.workers >= 1
    assert config.max_retries == 3


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(
            {
                "BRANDLOOM_HOME": str(tmp_path),
                "BRANDLOOM_TRAINER_LISTEN": "nowhere",
                "BRANDLOOM_TRAINER_WORKERS": "many",
                "BRANDLOOM_TRAINER_PACK_SIZE": "0",
                "BRANDLOOM_TRAINER_LEASE_TIMEOUT_SECONDS": "0.5",
            }
        )
    assert len(caught.value.faults) == 4


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    config = read_config({"BRANDLOOM_HOME": str(tmp_path), "BRANDLOOM_TOKEN": "hush"})
    assert "hush" not in repr(config)


def test_accelerators_are_counted_by_their_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "null"):
        (tmp_path / name).touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert count_accelerators(tmp_path) == 2
    for visible, count in (("1", 1), ("", 0), ("-1", 0), ("0,1,2", 2)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert count_accelerators(tmp_path) == count


def test_without_accelerators_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_accelerator(0) == ""
