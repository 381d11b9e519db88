"""Log lines: one JSON object each, secrets masked, and no value that could make logging fail."""

from __future__ import annotations

import io
import json

import pytest

from payd import logs


@pytest.fixture
def lines():
    """What is logged, read back."""
    stream = io.StringIO()
    logs.configure_logs(level="info", form="json", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logs._voice = logs._Readable()


def test_a_line_says_who_what_and_when(lines):
    """The part's name, the event, the level, the time in UTC, and the members as they are."""
    log = logs.get_logger("payd.http")

    log.warning("answered", status=204, key_id=None)
    log.debug("not at this level")

    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "answered", "logger": "payd.http", "level": "warning", "status": 204, "key_id": None}


def test_secrets_are_masked_by_name_and_by_shape(lines):
    """Wherever they stand in the line."""
    logs.get_logger("payd.http").info(
        "x", api_key="k" * 40, text="Bearer abcdefghijklmnop", nested={"Authorization": "y", "plain": "z"}
    )

    (line,) = lines()
    assert (line["api_key"], line["text"], line["nested"]) == (
        logs.MASK, logs.MASK, {"Authorization": logs.MASK, "plain": "z"},
    )  # fmt: skip


@pytest.mark.parametrize("value", ["\ud800" * 20, 2**70, {"a": {1, 2}}], ids=["surrogate", "large", "a set"])
def test_no_value_makes_logging_fail(lines, value):
    """Money must not wait for a line: what JSON cannot say is said another way."""
    logs.get_logger("payd.http").error("trouble", value=value)

    (line,) = lines()
    assert line["level"] == "error"
    assert "trouble" in json.dumps(line)


def test_a_logger_follows_the_configuration_that_comes_later(lines):
    """Loggers are made at import, before anybody has configured anything."""
    log = logs.get_logger("payd.http")
    log.info("first")
    second = io.StringIO()
    logs.configure_logs(level="error", form="json", stream=second)

    log.info("not at this level")
    log.error("second")

    assert [line["event"] for line in lines()] == ["first"]
    assert json.loads(second.getvalue())["event"] == "second"
