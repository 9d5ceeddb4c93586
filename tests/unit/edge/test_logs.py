"""Logs: JSON lines that cannot hold content."""

import io
import json
import logging

import pytest
import structlog
from tests.support.edge import raised

from kalends.edge import logs, tracing

MARKER = "the-secret-words-of-a-user"


@pytest.fixture
def lines():
    """What was logged, as dictionaries; the process's logging is put back afterwards."""
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    logs.configure(level="info", service="test", stream=stream)

    def read() -> list[dict]:
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    yield read
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def test_a_line_has_level_time_service_and_data(lines):
    """Fields are what log collectors expect."""
    structlog.get_logger("x").info("segment closed", segment="s1", events=12)
    line = lines()[0]
    assert line["event"] == "segment closed"
    assert (line["level"], line["service"], line["segment"], line["events"]) == ("info", "test", "s1", 12)
    assert line["ts"].endswith("Z")


def test_a_line_names_its_request_and_trace(lines):
    """Lines of one request can be found."""
    token = logs.request_id.set("r-1")
    try:
        with tracing.span("x") as context:
            structlog.get_logger("x").info("seen")
    finally:
        logs.request_id.reset(token)
    assert (lines()[0]["request_id"], lines()[0]["trace_id"]) == ("r-1", context.trace_id)


@pytest.mark.parametrize("key", [*sorted(logs.FORBIDDEN), "Authorization", "TEXT"])
def test_forbidden_keys_are_dropped_at_any_depth(lines, key):
    """Content cannot be logged by mistake."""
    structlog.get_logger("x").info("seen", **{key: MARKER}, nested={key: MARKER, "deep": [{key: MARKER}]}, kept=1)
    assert MARKER not in json.dumps(lines())
    assert lines()[0]["kept"] == 1


def test_objects_and_bytes_are_named_not_shown(lines):
    """A value's repr would show its fields."""

    class Event:
        def __repr__(self) -> str:
            return MARKER

    structlog.get_logger("x").info("seen", one=Event(), many=[Event()], raw_bytes=MARKER.encode())
    assert MARKER not in json.dumps(lines())


def test_exceptions_are_told_by_type_and_place(lines):
    """Their messages may quote what they were given."""
    error = raised(ValueError(MARKER))
    structlog.get_logger("x").error("failed", exc_info=error, cause=error)
    line = lines()[0]
    assert MARKER not in json.dumps(line)
    assert line["error_type"] == "ValueError"
    assert "edge.py" in line["places"][0]


def test_lines_of_libraries_lose_their_message(lines):
    """asyncio, for one, prints tasks with their exceptions."""
    logging.getLogger("asyncio").error("task %s failed: the-secret-words-of-a-user", MARKER, exc_info=raised(ValueError(MARKER)))
    line = lines()[0]
    assert MARKER not in json.dumps(line)
    assert (line["logger"], line["level"], line["error_type"]) == ("asyncio", "error", "ValueError")


def test_lines_below_the_level_are_not_written(lines):
    """The level is a setting."""
    structlog.get_logger("x").debug("seen")
    assert lines() == []


def test_a_line_that_has_no_room_ends_nothing_and_is_counted():
    """Whoever had something to say goes on; once there is room, it is said how many lines are missing."""

    class Full(io.StringIO):
        full = True

        def write(self, text: str) -> int:
            if self.full:
                raise OSError(28, "No space left on device")
            return super().write(text)

    stream = Full()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        logs.configure(level="info", service="test", stream=stream)
        log = structlog.get_logger("x")
        log.info("first")
        log.info("second")
        stream.full = False
        log.info("third")
    finally:
        root.handlers, root.level = handlers, level
        structlog.reset_defaults()

    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["event"], line.get("lines")) for line in told] == [("log lines were lost", 2), ("third", None)]
