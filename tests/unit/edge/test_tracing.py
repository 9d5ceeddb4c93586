"""Tracing: W3C trace contexts."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace

from kalends.edge import tracing
from kalends.edge.tracing import TraceContext

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_traceparent_is_read_and_written_back():
    """Ids and the sampled flag survive."""
    found = tracing.parse(f"00-{TRACE}-{SPAN}-01")
    assert found == TraceContext(trace_id=TRACE, span_id=SPAN, sampled=True)
    assert found.traceparent == f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-1",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_a_traceparent_that_breaks_a_rule_is_dropped(value):
    """It is no error for the caller; a new trace begins."""
    assert tracing.parse(value) is None


def test_later_versions_may_say_more():
    """The W3C asks to read what is known of a later version."""
    assert tracing.parse(f"01-{TRACE}-{SPAN}-01-more") is not None


@given(st.text())
def test_any_text_is_a_context_or_nothing(value):
    """Callers send what they like."""
    found = tracing.parse(value)
    assert found is None or tracing.parse(found.traceparent) == found


def test_a_span_is_a_child_in_the_same_trace():
    """The log's headers carry the child on."""
    parent = TraceContext(trace_id=TRACE, span_id=SPAN, sampled=True)
    with tracing.span("x", parent=parent) as inner:
        assert inner.trace_id == TRACE
        assert inner.span_id != SPAN
        assert tracing.linked([tracing.headers()]) == (inner,)
    assert tracing.headers() == {}


def test_a_trace_that_nobody_can_look_for_is_not_carried_on():
    """It would make every message of the log longer for nothing; one that came from outside is, whether it is sampled or not."""
    with tracing.span("x"):
        assert tracing.headers() == {}
    with tracing.span("x", parent=tracing.parse(f"00-{TRACE}-{SPAN}-00")) as outer, tracing.span("y", parent=outer) as inner:
        assert tracing.headers() == {"traceparent": f"00-{TRACE}-{inner.span_id}-00"}


def test_the_links_of_a_batch_are_each_told_once():
    """Messages of one request share theirs; many requests are cut short."""
    shared = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    many = [{"traceparent": f"00-{TRACE}-{number:016x}-01"} for number in range(1, 100)]

    assert len(tracing.linked([shared, shared, {}, {"traceparent": "nonsense"}])) == 1
    assert len(tracing.linked(many)) == 32


class _Span(trace.NonRecordingSpan):
    pass


class _Tracer(trace.Tracer):
    """Makes spans as an SDK would, with ids of its own."""

    def __init__(self) -> None:
        self.made: list[tuple[str, trace.SpanContext, list[trace.Link]]] = []
        self.attributes: list[dict[str, str]] = []
        self.kinds: list[trace.SpanKind] = []

    def start_span(self, name, context=None, *args, links=None, **rest):
        parent = trace.get_current_span(context).get_span_context()
        own = trace.SpanContext(parent.trace_id or 7, 99, is_remote=False, trace_flags=parent.trace_flags)
        self.made.append((name, parent, list(links or [])))
        return _Span(own)

    @contextmanager
    def start_as_current_span(self, name, context=None, *args, links=None, **rest) -> Iterator[trace.Span]:
        self.attributes.append(rest["attributes"])
        self.kinds.append(rest["kind"])
        with trace.use_span(self.start_span(name, context, links=links)) as made:
            yield made


class _Provider(trace.TracerProvider):
    def __init__(self) -> None:
        self.tracer = _Tracer()

    def get_tracer(self, *args, **rest):
        return self.tracer


def test_an_installed_provider_gets_the_span_its_parent_and_its_links(monkeypatch):
    """Whoever configures an SDK sees spans; nobody else pays for them."""
    provider = _Provider()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    monkeypatch.setattr(tracing, "exporting", lambda: True)
    parent = TraceContext(trace_id=TRACE, span_id=SPAN, sampled=True)
    with tracing.span("events.append", parent=parent, links=(parent,)) as inner:
        assert (inner.trace_id, inner.span_id, inner.sampled) == (TRACE, f"{99:016x}", True)
    name, seen, links = provider.tracer.made[0]
    assert name == "create_memory"
    assert provider.tracer.attributes == [{"kalends.operation": "events.append", "gen_ai.operation.name": "create_memory"}]
    assert provider.tracer.kinds == [trace.SpanKind.INTERNAL]
    assert trace.format_span_id(seen.span_id) == SPAN
    assert len(links) == 1
