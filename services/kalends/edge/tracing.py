"""Traces: W3C trace contexts, carried through requests and through the log's headers.

Belongs here: parsing, formatting, the current context, spans and what they are called. Does not belong here: exporters (``app.exporting``);
nobody pays for spans who does not send them anywhere. A newcomer would get wrong: a traceparent that breaks any rule of the W3C is dropped
whole and a new trace begins; it is never an error for the caller. A span has names of ours and counts, and never a word of anybody's, nor
the name of a memory or a session.
"""

import itertools
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from opentelemetry import trace

HEADER = "traceparent"
_TRACEPARENT = re.compile(r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<rest>-.*)?")
_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16
_LINKS = 32
# Not SystemRandom: asking the system for each id gives the interpreter's lock away, and getting it back can take milliseconds.
_RANDOM = random.Random()  # noqa: S311 - trace ids are no secrets

Kind = Literal["internal", "server", "producer", "consumer", "client"]
_KINDS = {
    "internal": trace.SpanKind.INTERNAL,
    "server": trace.SpanKind.SERVER,
    "producer": trace.SpanKind.PRODUCER,
    "consumer": trace.SpanKind.CONSUMER,
    "client": trace.SpanKind.CLIENT,
}

GEN_AI = {
    "events.append": "create_memory",
    "documents.put": "upsert_memory",
    "documents.remove": "delete_memory",
    "erasures.create": "delete_memory",
    "erasures.tenant": "delete_memory",
    "memories.create": "create_memory_store",
    "memories.remove": "delete_memory_store",
    "search": "search_memory",
    "context": "search_memory",
    "model.embedder": "embeddings",
    "model.chat": "chat",
}
"""What OpenTelemetry's conventions for generative AI call some of our operations; their spans have that name and both as attributes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """Where in which trace we are: 32 and 16 lower-case hex digits; ``sampled`` says whether somebody records it.

    ``continued`` says that it came from outside: somebody may look for what follows.
    """

    trace_id: str
    span_id: str
    sampled: bool = False
    continued: bool = field(default=False, compare=False)

    @property
    def traceparent(self) -> str:
        """This context as a header's value."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


current: ContextVar[TraceContext | None] = ContextVar("kalends_trace", default=None)
"""The context of what is being done now; logs name its trace."""


def parse(value: str | None) -> TraceContext | None:
    """A traceparent's value, or None if it is absent or breaks a rule."""
    found = _TRACEPARENT.fullmatch(value) if value else None
    if found is None or found["version"] == "ff" or (found["version"] == "00" and found["rest"]):
        return None
    if found["trace"] == _NO_TRACE or found["span"] == _NO_SPAN:
        return None
    return TraceContext(trace_id=found["trace"], span_id=found["span"], sampled=bool(int(found["flags"], 16) & 1), continued=True)


def begin(parent: TraceContext | None) -> TraceContext:
    """A context below *parent*, or the first of a new trace."""
    span_id = f"{_RANDOM.getrandbits(64) or 1:016x}"
    if parent is None:
        return TraceContext(trace_id=f"{_RANDOM.getrandbits(128) or 1:032x}", span_id=span_id)
    return TraceContext(trace_id=parent.trace_id, span_id=span_id, sampled=parent.sampled, continued=parent.continued)


def headers() -> dict[str, str]:
    """Headers that carry the current context on, into the log or to another service; empty if nobody could look for the trace."""
    context = current.get()
    return {} if context is None or not (context.sampled or context.continued) else {HEADER: context.traceparent}


def linked(carriers: Iterable[Mapping[str, str]]) -> tuple[TraceContext, ...]:
    """The contexts that stored messages' headers carry, each once, at most 32 of them."""
    values = dict.fromkeys(carrier[HEADER] for carrier in carriers if HEADER in carrier)
    found = (parse(value) for value in itertools.islice(values, _LINKS))
    return tuple(context for context in found if context is not None)


class _Local:
    """A span that nobody records: a context, for headers and logs."""

    __slots__ = ("_context", "_token")

    def __init__(self, context: TraceContext) -> None:
        self._context = context

    def __enter__(self) -> TraceContext:
        self._token = current.set(self._context)
        return self._context

    def __exit__(self, *_: object) -> None:
        current.reset(self._token)


@cache
def exporting() -> bool:
    """Whether an OpenTelemetry SDK is installed; it must be before the first span, because to ask each time is dear."""
    return type(trace.get_tracer_provider()) not in (trace.ProxyTracerProvider, trace.NoOpTracerProvider)


def span(
    name: str, *, parent: TraceContext | None = None, links: tuple[TraceContext, ...] = (), kind: Kind = "internal"
) -> AbstractContextManager[TraceContext]:
    """Do something as a span *name* below *parent*; exported only where an OpenTelemetry SDK is installed and configured."""
    return _exported(name, parent, links, kind) if exporting() else _Local(begin(parent))


def ended(outcome: str) -> None:
    """Note how the span that is current ends: ``ok``, or a code of ours."""
    if not exporting():
        return
    recording = trace.get_current_span()
    recording.set_attribute("kalends.outcome", outcome)
    if outcome != "ok":
        recording.set_attribute("error.type", outcome)
        recording.set_status(trace.Status(trace.StatusCode.ERROR))


@contextmanager
def _exported(name: str, parent: TraceContext | None, links: tuple[TraceContext, ...], kind: Kind) -> Iterator[TraceContext]:
    known = GEN_AI.get(name)
    with trace.get_tracer("kalends").start_as_current_span(
        known or name,
        kind=_KINDS[kind],
        attributes={"kalends.operation": name, **({"gen_ai.operation.name": known} if known else {})},
        context=None if parent is None else trace.set_span_in_context(trace.NonRecordingSpan(_foreign(parent))),
        links=[trace.Link(_foreign(link)) for link in links],
        # An exception's message may hold content, so spans learn of failures from their attributes only.
        record_exception=False,
        set_status_on_exception=False,
    ) as recording:
        given = recording.get_span_context()
        context = TraceContext(
            trace_id=trace.format_trace_id(given.trace_id),
            span_id=trace.format_span_id(given.span_id),
            sampled=given.trace_flags.sampled,
            continued=parent is not None and parent.continued,
        )
        token = current.set(context)
        try:
            yield context
        finally:
            current.reset(token)


def _foreign(context: TraceContext) -> trace.SpanContext:
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if context.sampled else trace.TraceFlags.DEFAULT)
    return trace.SpanContext(int(context.trace_id, 16), int(context.span_id, 16), is_remote=True, trace_flags=flags)
