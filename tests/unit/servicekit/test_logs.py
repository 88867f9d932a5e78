from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextvars import copy_context

import pytest
import structlog

from servicekit.logs import adopt_request_id, configure_logs


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def configured(log_format: str = "json", level: str = "INFO") -> io.StringIO:
    stream = io.StringIO()
    configure_logs(service="registry", level=level, log_format=log_format, stream=stream)
    return stream


def test_a_line_is_json_with_service_time_and_level() -> None:
    stream = configured()
    structlog.get_logger("area").info("lora published", lora="brands/a/loras/b")
    line = json.loads(stream.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "lora published",
        "lora": "brands/a/loras/b",
        "service": "registry",
        "level": "info",
        "logger": "area",
    }


def test_libraries_write_the_same_lines() -> None:
    stream = configured()
    logging.getLogger("some.library").warning("took %d s", 7)
    line = json.loads(stream.getvalue())
    assert (line["event"], line["logger"], line["service"]) == ("took 7 s", "some.library", "registry")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_tracebacks_are_written_without_local_variables(log_format: str) -> None:
    stream = configured(log_format)
    token = "".join(("t", "0", "p"))
    try:
        raise RuntimeError(f"broken {len(token)}")
    except RuntimeError:
        structlog.get_logger().exception("failed")
    assert "RuntimeError: broken 3" in stream.getvalue()
    assert token not in stream.getvalue()


def test_secrets_are_masked() -> None:
    stream = configured()
    structlog.get_logger().info(
        "x", token="t0p", s3_secret_key="t0p", Authorization="t0p", tokens_per_second=5
    )
    line = json.loads(stream.getvalue())
    assert "t0p" not in stream.getvalue()
    assert line["token"] == "***"
    assert line["tokens_per_second"] == 5


def test_lines_of_a_call_carry_its_request_id() -> None:
    stream = configured()

    def call() -> None:
        assert adopt_request_id("trace-1") == "trace-1"
        structlog.get_logger().info("x")

    copy_context().run(call)
    structlog.get_logger().info("y")
    inside, outside = (json.loads(line) for line in stream.getvalue().splitlines())
    assert inside["request_id"] == "trace-1"
    assert "request_id" not in outside


def test_levels_and_console() -> None:
    stream = configured("console", "WARNING")
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud", count=3)
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()
    assert "count=3" in stream.getvalue()
