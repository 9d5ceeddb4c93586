"""Logs: JSON lines on stderr that cannot hold content.

Belongs here: how a line is made. Does not belong here: what is worth a line. A newcomer would get wrong: lines of other libraries are
cut down to where they came from and which error type they carry, because their messages quote what they were given.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any, TextIO, cast

import structlog

from kalends.edge import tracing
from kalends.edge.problems import places

FORBIDDEN = frozenset(
    {
        "text",
        "query",
        "body",
        "raw",
        "token",
        "authorization",
        "metadata",
        "content",
        "prompt",
        "snippet",
        "password",
        "secret",
        "cookie",
    }
)
"""Keys whose values are somebody's words or secrets; they are dropped wherever they stand in a line."""

request_id: ContextVar[str] = ContextVar("kalends_request_id", default="")
"""The id of the request that is being answered."""

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(*, level: str, service: str, stream: TextIO | None = None) -> None:
    """Send every log line of the process, ours and other libraries', to *stream* (stderr if None) as JSON.

    *level* is the least severe that is written: debug, info, warning or error.
    """
    target = stream or sys.stderr
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
            _Context(service=service),
            without_exceptions,
            without_content,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(file=cast("TextIO", _Patient(target))),
        # A cached logger would keep the stream and level of its first use.
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_Foreign()]
    # Other libraries chatter below warning, and what they say is cut away here anyway.
    root.setLevel(max(_LEVELS[level], logging.WARNING))


class _Patient:
    """A stream of lines that a full disk cannot stop: what has no room is counted, and told once there is room again.

    A line that could not be written would otherwise end the loop that had something to say, and with it the process.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._line = ""
        self._lost = 0

    def write(self, text: str) -> None:
        """Gather *text* until its line ends; write the line then, or count it as lost."""
        self._line += text
        if not text.endswith("\n"):
            return
        line, self._line = self._line, ""
        try:
            if self._lost:
                self._stream.write(f'{{"event": "log lines were lost", "level": "warning", "lines": {self._lost}}}\n')
                self._stream.flush()
                self._lost = 0
            self._stream.write(line)
            self._stream.flush()
        except OSError:
            self._lost += 1

    def flush(self) -> None:
        """Nothing waits: every line is flushed when it is written."""


class _Context:
    """Adds the service and the ids by which lines of one request are found."""

    def __init__(self, *, service: str) -> None:
        self._service = service

    def __call__(self, _logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        line.setdefault("service", self._service)
        if request_id.get():
            line.setdefault("request_id", request_id.get())
        context = tracing.current.get()
        if context is not None:
            line.setdefault("trace_id", context.trace_id)
        return line


def without_exceptions(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace exceptions by their type and where they came from; their messages may quote content."""
    info = line.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        line["error_type"] = type(error).__name__
        line["places"] = places(error)
    for name, value in line.items():
        if isinstance(value, BaseException):
            line[name] = type(value).__name__
    return line


def without_content(_logger: object, _method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Drop forbidden keys at any depth, and bytes wherever they stand."""
    return {name: _kept(value) for name, value in line.items() if name.lower() not in FORBIDDEN}


def _kept(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _kept(member) for name, member in value.items() if str(name).lower() not in FORBIDDEN}
    if isinstance(value, list | tuple | set | frozenset):
        return [_kept(member) for member in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if value is None or isinstance(value, str | int | float | bool):
        return value
    # The repr of any other object may show its fields.
    return f"<{type(value).__name__}>"


class _Foreign(logging.Handler):
    """Lines of other libraries: logger, level, place and error type, never the message."""

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"logger": record.name, "where": f"{record.module}:{record.lineno}"}
        if record.exc_info:
            fields["exc_info"] = record.exc_info
        structlog.get_logger(record.name).log(record.levelno, "library message", **fields)
