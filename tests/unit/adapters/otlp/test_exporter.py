"""Delivering traces: what is tried again, what is given up, and what the settings must be."""

import io
import json
import logging

import httpx
import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from tests.support.instance import free_port
from tests.support.otlp import Receiver

from kalends.adapters.otlp.exporter import HTTP_ERRORS, OtlpExporter, open_provider, reason
from kalends.app import host
from kalends.domain.errors import Misconfigured
from kalends.edge import logs
from kalends.settings import TelemetrySettings


@pytest.fixture
def spans():
    """Two spans that have ended."""
    tracer = TracerProvider().get_tracer("test")
    made = [tracer.start_span(name) for name in ("one", "two")]
    for span in made:
        span.end()
    return made


@pytest.fixture
def lines():
    """What is logged meanwhile; the process's logging is put back afterwards."""
    stream, root = io.StringIO(), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    logs.configure(level="info", service="test", stream=stream)
    yield lambda: [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def exporter(url, *, deadline_s=5.0) -> OtlpExporter:
    """One without headers."""
    return OtlpExporter(url, headers={}, verify=True, deadline_s=deadline_s)


def test_a_receiver_that_is_overloaded_is_asked_again(spans):
    """Within the deadline, and nothing comes twice."""
    with Receiver(refusals=1) as receiver:
        sending = exporter(receiver.url + "/")
        assert sending.export(spans) is SpanExportResult.SUCCESS
        sending.shutdown()

        assert [span.name for span in receiver.spans] == ["one", "two"]
        assert len(receiver.requests) == 2


def test_what_cannot_be_delivered_is_lost_and_said_once(spans, lines):
    """Nobody waits for ever, and the log is not filled; that it is over is said, too."""
    port = free_port()
    sending = exporter(f"http://127.0.0.1:{port}", deadline_s=0.1)
    assert [sending.export(spans) for _ in range(3)] == [SpanExportResult.FAILURE] * 3
    with Receiver() as receiver:
        sending._url = f"{receiver.url}/v1/traces"
        assert sending.export(spans) is SpanExportResult.SUCCESS
    sending.shutdown()

    assert lines() == ["traces cannot be delivered and are lost", "traces are delivered again"]


def test_an_answer_that_says_no_is_not_asked_again(spans):
    """A wrong path stays wrong."""
    with Receiver() as receiver:
        sending = exporter(f"{receiver.url}/elsewhere")
        assert sending.export(spans) is SpanExportResult.FAILURE
        sending.shutdown()

        assert len(receiver.requests) == 1


def test_nothing_is_tried_again_once_it_ends(spans):
    """A process that stops does not wait for a receiver that is away, however much is left to send."""
    with Receiver(refusals=9) as receiver:
        sending = exporter(receiver.url, deadline_s=3600.0)
        sending.end()
        assert [sending.export(spans) for _ in range(5)] == [SpanExportResult.FAILURE] * 5
        sending.shutdown()

        assert len(receiver.requests) == 1


def test_what_is_left_is_sent_when_the_process_ends():
    """The last spans are those of what was done last."""
    with Receiver() as receiver:
        provider = open_provider(TelemetrySettings(otlp_url=receiver.url), version="1", service="test")
        for number in range(1000):
            provider.get_tracer("test").start_span(f"span {number}").end()
        provider.shutdown()

        assert len(receiver.spans) == 1000


def test_a_provider_ends_while_its_receiver_is_away():
    """One try for all that is left, though the queue holds several batches and each would have an hour."""
    with Receiver(refusals=99) as receiver:
        provider = open_provider(TelemetrySettings(otlp_url=receiver.url, otlp_deadline_s=3600.0), version="1", service="test")
        for number in range(2000):
            provider.get_tracer("test").start_span(f"span {number}").end()
        provider.shutdown()

        assert 1 <= len(receiver.requests) <= 3
        assert receiver.spans == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (httpx.ConnectTimeout("secret"), "no answer in time"),
        (httpx.ConnectError("secret"), "cannot be reached"),
        (httpx.TooManyRedirects("secret"), "no answer"),
        (httpx.ResponseNotRead(), "no answer"),
        (ConnectionResetError("secret"), "cannot be reached"),
        (RuntimeError("secret"), "the process ends"),
    ],
)
def test_an_exception_of_the_client_has_words_of_ours(error, words):
    """All that it raises is in the table, and none is quoted."""
    assert isinstance(error, tuple(HTTP_ERRORS))
    assert reason(error) == words


def test_the_environments_proxy_is_not_asked(spans, monkeypatch):
    """Spans go to the address of the settings and nowhere else."""
    with Receiver() as receiver:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
        sending = exporter(receiver.url)
        assert sending.export(spans) is SpanExportResult.SUCCESS
        sending.shutdown()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"otlp_url": "ftp://127.0.0.1"}, "telemetry.otlp_url"),
        ({"otlp_url": "http://user:word@127.0.0.1"}, "telemetry.otlp_url"),
        ({"otlp_url": "http://[::1"}, "telemetry.otlp_url"),
        ({"otlp_headers_file": "absent"}, "telemetry.otlp_headers_file"),
        ({"otlp_ca_file": "absent"}, "telemetry.otlp_ca_file"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(given, said):
    """At the start, and not when the first trace is lost."""
    settings = TelemetrySettings(**{"otlp_url": "http://127.0.0.1:4318", **given})
    with pytest.raises(Misconfigured, match=said):
        open_provider(settings, version="1", service="test")


def test_a_file_of_headers_must_hold_pairs(tmp_path):
    """A key without a name would be sent as nothing."""
    path = tmp_path / "headers"
    path.write_text("only-a-key\n", encoding="utf-8")
    with pytest.raises(Misconfigured, match="name: value"):
        open_provider(TelemetrySettings(otlp_url="http://127.0.0.1:1", otlp_headers_file=str(path)), version="1", service="test")


def test_a_log_file_that_cannot_be_written_is_named(tmp_path):
    """Rather than a process that says nothing."""
    with pytest.raises(Misconfigured, match=r"telemetry\.log_file"):
        host.configure_logs(TelemetrySettings(log_file=str(tmp_path / "absent" / "kalends.log")), service="test")
