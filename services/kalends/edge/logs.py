"""Logs: JSON lines on stderr that cannot hold content.

Belongs here: how a line is made. Does not belong here: what is worth a line. A newcomer would get wrong: lines of other libraries are
cut down to where they came from and which error type they carry, because their messages quote what they were given.
"""

import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, ClassVar, Protocol

import structlog

from kalends.edge import tracing
from kalends.edge.problems import places
from kalends.kit.behind import Behind

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

_SEVERITY = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "msg": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "exception": logging.ERROR,
}
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_MOST_WAITING = 10_000
_LAST_LINES_S = 5.0


class Sink(Protocol):
    """Where lines go."""

    def write(self, text: str, /) -> object:
        """Take *text*, which is one whole line."""
        ...


def configure(*, level: str, service: str, stream: Sink | None = None, levels: Mapping[str, str] | None = None) -> None:
    """Send every log line of the process, ours and other libraries', to *stream* (stderr if None) as JSON.

    *level* is the least severe that is written: debug, info, warning or error; *levels* says otherwise for modules and what is below them.
    """
    chosen = {module: _LEVELS[name] for module, name in (levels or {}).items()}
    least = min([_LEVELS[level], *chosen.values()])
    structlog.configure(
        processors=[
            _Levels(chosen, otherwise=_LEVELS[level]),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
            _Context(service=service),
            without_exceptions,
            without_content,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=_Lines.factory(stream),
        # A cached logger would keep the stream and level of its first use.
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_Foreign()]
    # Other libraries chatter below warning, and what they say is cut away here anyway.
    root.setLevel(max(_LEVELS[level], logging.WARNING))


@contextmanager
def behind() -> Iterator[None]:
    """Have a thread of its own write the lines for as long as the block runs; its end waits a few seconds for what is left.

    Where lines go to a disk or a pipe that hangs, whoever has something to say would otherwise hang too, and with it the event loop. Lines
    beyond what may wait are counted, and the count is told. A kill loses the lines that wait, usually none.
    """
    writer = Behind(most=_MOST_WAITING, lost=_Lines.lose, name="logs")
    _Lines.behind = writer
    try:
        yield
    finally:
        _Lines.behind = None
        writer.close(seconds=_LAST_LINES_S)


def _lost(count: int) -> str:
    return f'{{"event": "log lines were lost", "level": "warning", "lines": {count}}}\n'


class _Patient:
    """Standard error as a stream of lines that a full disk cannot stop: what has no room is counted, and told once there is room again.

    A line that could not be written would otherwise end the loop that had something to say, and with it the process.
    """

    def __init__(self) -> None:
        self._lost = 0

    def write(self, line: str) -> None:
        """Write the whole *line*, or count it as lost."""
        try:
            if self._lost:
                sys.stderr.write(_lost(self._lost))
                sys.stderr.flush()
                self._lost = 0
            sys.stderr.write(line)
            sys.stderr.flush()
        except OSError:
            self._lost += 1

    def lose(self, count: int) -> None:
        """Count lines that never got here."""
        self._lost += count


class _Lines:
    """The logger of one module: writes whole lines, to standard error where the sink refuses them."""

    _writing = threading.Lock()
    _standard_error = _Patient()
    behind: ClassVar[Behind | None] = None

    def __init__(self, name: str, sink: Sink | None) -> None:
        self.name = name
        self._sink = sink

    @classmethod
    def factory(cls, sink: Sink | None) -> "_Factory":
        """What makes one for each module."""

        def make(*names: Any) -> _Lines:
            return cls(str(names[0]) if names else "", sink)

        return make

    @classmethod
    def lose(cls, count: int) -> None:
        """Have the next line on standard error say that *count* are missing."""
        cls._standard_error.lose(count)

    def msg(self, line: str) -> None:
        """Write *line*, or have it written."""
        if self.behind is None:
            self._write(line)
        else:
            self.behind.put(partial(self._write, line))

    def _write(self, line: str) -> None:
        with self._writing:
            try:
                (self._sink or self._standard_error).write(line + "\n")
            except OSError:  # the disk of the file is full: whoever reads standard error sees it
                self._standard_error.write(line + "\n")

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


_Factory = Callable[..., _Lines]


class _Levels:
    """Drops lines that are less severe than their module's level: that of the longest name that it is, or is below of."""

    def __init__(self, chosen: Mapping[str, int], *, otherwise: int) -> None:
        self._chosen = sorted(chosen.items(), key=lambda one: -len(one[0]))
        self._otherwise = otherwise

    def __call__(self, logger: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if self._chosen:
            name = getattr(logger, "name", "")
            found = (level for module, level in self._chosen if name == module or name.startswith(f"{module}."))
            if _SEVERITY.get(method, logging.CRITICAL) < next(found, self._otherwise):
                raise structlog.DropEvent
        if getattr(logger, "name", ""):
            line.setdefault("logger", getattr(logger, "name", ""))
        return line


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
