"""Logs: JSON lines that cannot hold content."""

import io
import json
import logging
import threading

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


@pytest.fixture
def chosen():
    """Configures logging with levels of modules; gives what was written. The process's logging is put back afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def configured(**given):
        stream = io.StringIO()
        logs.configure(service="test", stream=stream, **given)
        return lambda: [(line.get("logger"), line["event"]) for line in map(json.loads, stream.getvalue().splitlines())]

    yield configured
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def test_a_module_has_a_level_of_its_own_and_so_has_what_is_below_it(chosen):
    """The longest name wins; what only begins with the same letters is another module."""
    written = chosen(level="warning", levels={"a.index": "debug", "a.index.quiet": "error"})
    for name in ("a", "a.index", "a.index.loud", "a.index.quiet", "a.indexes"):
        structlog.get_logger(name).debug("whispered")
        structlog.get_logger(name).warning("said")
        structlog.get_logger(name).error("shouted")

    assert [name for name, event in written() if event == "whispered"] == ["a.index", "a.index.loud"]
    assert [name for name, event in written() if event == "said"] == ["a", "a.index", "a.index.loud", "a.indexes"]
    assert len([name for name, event in written() if event == "shouted"]) == 5


def test_a_module_can_be_quieter_than_the_others(chosen):
    """One that says too much is no reason to hear nothing of the rest."""
    written = chosen(level="info", levels={"a": "error"})
    structlog.get_logger("a").info("said")
    structlog.get_logger("b").info("said")

    assert written() == [("b", "said")]


def test_a_line_that_the_file_does_not_take_goes_to_standard_error(capsys):
    """A disk that is full must not fail the request that is being answered, nor hide why."""

    class Full:
        def write(self, _):
            raise OSError(28, "No space left on device")

    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    logs.configure(level="info", service="test", stream=Full())
    structlog.get_logger("x").info("seen")
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()

    assert json.loads(capsys.readouterr().err)["event"] == "seen"


def test_a_line_that_has_no_room_ends_nothing_and_is_counted(monkeypatch):
    """Whoever had something to say goes on; once there is room, it is said how many lines are missing."""

    class Full(io.StringIO):
        full = True

        def write(self, text: str) -> int:
            if self.full:
                raise OSError(28, "No space left on device")
            return super().write(text)

    stream = Full()
    monkeypatch.setattr("sys.stderr", stream)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        logs.configure(level="info", service="test")
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


def test_who_has_something_to_say_does_not_wait_for_a_disk_that_hangs():
    """The line is written once the disk goes on, and at the end everything is that waited."""
    go = threading.Event()

    class Hanging(io.StringIO):
        def write(self, text: str) -> int:
            go.wait(20)
            return super().write(text)

    stream = Hanging()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        logs.configure(level="info", service="test", stream=stream)
        with logs.behind():
            for number in range(3):
                structlog.get_logger("x").info("said", number=number)
            assert stream.getvalue() == ""
            go.set()
        structlog.get_logger("x").info("said", number=3)
    finally:
        root.handlers, root.level = handlers, level
        structlog.reset_defaults()

    assert [json.loads(line)["number"] for line in stream.getvalue().splitlines()] == [0, 1, 2, 3]


def test_lines_beyond_what_may_wait_are_counted_and_the_count_is_told(monkeypatch):
    """Memory does not grow with what a hanging disk does not take."""
    go, begun = threading.Event(), threading.Event()

    class Hanging(io.StringIO):
        def write(self, text: str) -> int:
            begun.set()
            go.wait(20)
            return super().write(text)

    stream = Hanging()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(logs, "_MOST_WAITING", 1)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        logs.configure(level="info", service="test")
        log = structlog.get_logger("x")
        with logs.behind():
            log.info("hangs")
            assert begun.wait(20)
            for name in ("waits", "lost", "lost too"):
                log.info(name)
            go.set()
    finally:
        root.handlers, root.level = handlers, level
        structlog.reset_defaults()

    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["event"], line.get("lines")) for line in told] == [("hangs", None), ("log lines were lost", 2), ("waits", None)]
