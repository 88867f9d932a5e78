from __future__ import annotations

from pathlib import Path

import pytest

from servicekit.artifacts.open import open_store, read_store_settings
from servicekit.settings import ConfigError, Settings


def test_reads_every_kind() -> None:
    reader = Settings(
        {"T": " x ", "I": "7", "N": "0.5", "B": "Yes", "C": "json", "P": "~/data", "A": "[::1]:80", "OFF": ""}
    )
    assert reader.text("T") == "x"
    assert reader.integer("I", minimum=7, maximum=7) == 7
    assert reader.number("N") == 0.5
    assert reader.boolean("B") is True
    assert reader.choice("C", ("json", "console")) == "json"
    assert reader.path("P") == Path.home() / "data"
    assert reader.address("A") == "[::1]:80"
    assert reader.address("OFF", "127.0.0.1:1", allow_empty=True) == ""
    reader.check()


def test_defaults_stand_in_for_what_is_unset() -> None:
    reader = Settings({})
    assert reader.text("T", "d") == "d"
    assert reader.integer("I", 3) == 3
    assert reader.boolean("B", False) is False
    assert reader.address("A", "localhost:1") == "localhost:1"
    reader.check()


@pytest.mark.parametrize(
    "address", ["localhost:1", "10.0.0.1:65535", "unix:/run/x", "dns:///a.b:5", "[::]:0"]
)
def test_good_addresses(address: str) -> None:
    reader = Settings({"A": address})
    assert reader.address("A") == address
    reader.check()


@pytest.mark.parametrize(
    "address", ["localhost", ":80", "a:b", "a:65536", "a b:1", "", "unix:", "http://a:1"]
)
def test_bad_addresses(address: str) -> None:
    reader = Settings({"A": address})
    reader.address("A", "x:1")
    with pytest.raises(ConfigError, match="A must be host:port"):
        reader.check()


@pytest.mark.parametrize("number", ["x", "", "nan", "inf", "-1", "101", "1e400"])
def test_bad_numbers(number: str) -> None:
    reader = Settings({"N": number})
    assert reader.number("N", 5.0, minimum=0, maximum=100) == 5.0
    with pytest.raises(ConfigError, match="N must be"):
        reader.check()


def test_all_faults_are_reported_together() -> None:
    reader = Settings({"I": "many", "B": "maybe", "C": "xml", "L": "0"})
    reader.integer("I", 1)
    reader.boolean("B", True)
    reader.choice("C", ("json", "console"), "json")
    reader.integer("L", 5, minimum=1)
    reader.text("MISSING")
    reader.integer("MISSING_NUMBER")
    reader.fault("X", "clashes with Y")
    with pytest.raises(ConfigError) as caught:
        reader.check()
    assert caught.value.faults == (
        "I must be a whole number, not 'many'",
        "B must be true or false, not 'maybe'",
        "C must be one of console, json, not 'xml'",
        "L must be at least 1, not 0",
        "MISSING is required",
        "MISSING_NUMBER is required",
        "X clashes with Y",
    )


def test_the_store_defaults_to_a_directory_at_home(tmp_path: Path) -> None:
    reader = Settings({})
    settings = read_store_settings(reader, tmp_path)
    reader.check()
    open_store(settings.url, settings)
    assert (tmp_path / "store").is_dir()


def test_a_store_in_a_directory_with_odd_characters(tmp_path: Path) -> None:
    home = tmp_path / "a b#c%20d"
    settings = read_store_settings(Settings({}), home)
    open_store(settings.url, settings)
    assert (home / "store").is_dir()


def test_an_s3_store_needs_its_endpoint_and_keys() -> None:
    reader = Settings({"BRANDLOOM_STORE_URL": "s3://artifacts", "BRANDLOOM_S3_ACCESS_KEY": "a"})
    read_store_settings(reader, Path("/x"))
    with pytest.raises(ConfigError) as caught:
        reader.check()
    assert [fault.split()[0] for fault in caught.value.faults] == [
        "BRANDLOOM_S3_ENDPOINT",
        "BRANDLOOM_S3_SECRET_KEY",
    ]


@pytest.mark.parametrize(
    "url", ["ftp://x", "s3://UPPER", "s3://b/prefix", "file://relative", "nonsense", "s3://"]
)
def test_unusable_store_urls(url: str) -> None:
    reader = Settings({"BRANDLOOM_STORE_URL": url})
    read_store_settings(reader, Path("/x"))
    with pytest.raises(ConfigError, match="BRANDLOOM_STORE_URL"):
        reader.check()


def test_secrets_stay_out_of_the_representation() -> None:
    reader = Settings(
        {
            "BRANDLOOM_STORE_URL": "s3://artifacts",
            "BRANDLOOM_S3_ENDPOINT": "minio:9000",
            "BRANDLOOM_S3_ACCESS_KEY": "me",
            "BRANDLOOM_S3_SECRET_KEY": "hush",
        }
    )
    settings = read_store_settings(reader, Path("/x"))
    reader.check()
    assert settings.secret_key == "hush"
    assert "hush" not in repr(settings)
