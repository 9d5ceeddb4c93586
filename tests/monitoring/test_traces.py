"""Traces of a real instance, as a receiver of OTLP gets them over the wire."""

import json
import shutil
import uuid
from collections.abc import Iterator

import pytest
from tests.support.api import Api
from tests.support.instance import Instance, NotStarted, wait_until
from tests.support.otlp import Receiver, Span

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SERVER, CLIENT, PRODUCER, CONSUMER = 2, 3, 4, 5
FAILED = 2
MEMORY, SESSION = "secret-diary", "secret-session"
TEXT = "we buried the golden anchor behind the mill"
QUESTION = "where is the golden anchor?"
WAIT_S = 30.0


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """A receiver that refuses at first, as one does that has just been started."""
    with Receiver(refusals=1) as started:
        yield started


@pytest.fixture(scope="module")
def told(receiver, models, tmp_path_factory) -> Iterator[Instance]:
    """An instance that sends its traces there, after an event was stored and found by a caller who traces."""
    folder = tmp_path_factory.mktemp("traced")
    data = folder / "data"
    data.mkdir()
    (folder / "headers").write_text("x-api-key: k3y\n", encoding="utf-8")
    settings = {
        "KALENDS_TELEMETRY__OTLP_URL": receiver.url,
        "KALENDS_TELEMETRY__OTLP_HEADERS_FILE": str(folder / "headers"),
        "KALENDS_TELEMETRY__LOG_FILE": str(folder / "kalends.log"),
        "KALENDS_TELEMETRY__LEVELS": "kalends.app.host=error",
        "KALENDS_NETWORK__LOCAL_ONLY": "true",
        # an address of the environment must have no effect
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
    }
    shutil.copytree(models, data / "models")
    with Instance(data, settings=settings) as instance:
        instance.start()
        with Api(lambda: instance.url, lambda: instance.token) as api:
            api.make_memory(MEMORY)
            event = {"event_id": str(uuid.uuid4()), "session_id": SESSION, "kind": "message", "text": TEXT}
            traced = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
            assert api.ask("POST", f"/memories/{MEMORY}/events", {"events": [event]}, traced).status == 202
            api.quiet()
            assert api.ask("POST", f"/memories/{MEMORY}/search", {"query": QUESTION}, traced).status == 200
            assert api.ask("POST", f"/memories/{MEMORY}/search", {"no": QUESTION}, traced).status == 422
        assert wait_until(
            lambda: {"index.lexical", "index.vector", "search_memory"} <= {one.name for one in receiver.spans}, seconds=WAIT_S
        )
        yield instance
        assert instance.terminate() == 0


def one(spans, name, **attributes) -> Span:
    """The first span of that name and these attributes."""
    return next(span for span in spans if span.name == name and attributes.items() <= span.attributes.items())


def below(spans, above: Span) -> list[Span]:
    """Everything under a span, at any depth."""
    direct = [span for span in spans if span.parent_id == above.span_id and span.trace_id == above.trace_id]
    return direct + [span for child in direct for span in below(spans, child)]


def test_an_append_is_one_trace_from_the_caller_to_the_log(told, receiver):
    """The conventions' names, and the kinds that show what is whose."""
    append = one(receiver.spans, "create_memory", **{"kalends.operation": "events.append"})
    [log] = [span for span in below(receiver.spans, append) if span.name == "log.append"]

    assert (append.trace_id, append.parent_id, append.kind) == (TRACE, CALLER, SERVER)
    assert append.attributes["gen_ai.operation.name"] == "create_memory"
    assert append.attributes["kalends.outcome"] == "ok"
    assert (log.kind, log.parent_id) == (PRODUCER, append.span_id)
    assert 0 < log.seconds < append.seconds


def test_the_trace_goes_through_nats_to_both_stores_and_the_model(told, receiver):
    """Whoever indexes has a trace of its own, linked to the one in which the event was stored."""
    log = one(receiver.spans, "log.append")
    for name in ("index.lexical", "index.vector"):
        linked = [span for span in receiver.spans if span.name == name and (TRACE, log.span_id) in span.links]
        assert len(linked) == 1, name
        assert linked[0].kind == CONSUMER
    vector = one([span for span in receiver.spans if (TRACE, log.span_id) in span.links], "index.vector")
    embedded = [span for span in below(receiver.spans, vector) if span.name == "embeddings"]

    assert [(span.kind, span.attributes["kalends.outcome"]) for span in embedded] == [(CLIENT, "ok")]


def test_a_search_shows_each_arm_and_the_model(told, receiver):
    """So that one sees which of them took the time."""
    search = next(span for span in receiver.spans if span.name == "search_memory" and span.attributes["kalends.outcome"] == "ok")
    inside = below(receiver.spans, search)

    assert {"search.lexical", "search.vector", "embeddings"} <= {span.name for span in inside}
    assert (search.trace_id, search.parent_id, search.kind) == (TRACE, CALLER, SERVER)
    assert all(span.seconds <= search.seconds for span in inside)


def test_a_refused_call_is_an_error_with_its_code_and_no_words(told, receiver):
    """What was wrong with it is for the caller only."""
    [refused] = [span for span in receiver.spans if span.name == "search_memory" and span.status == FAILED]

    assert refused.attributes["error.type"] in {"invalid", "malformed"}
    assert refused.attributes.keys() == {"kalends.operation", "gen_ai.operation.name", "kalends.outcome", "error.type"}


def test_the_receiver_gets_its_headers_and_decodes_everything(told, receiver):
    """Also what it refused at first; and the instance says who it is."""
    assert receiver.broken == 0
    assert receiver.refusals == 0
    assert {headers.get("x-api-key") for headers in receiver.requests} == {"k3y"}
    assert {span.resource["service.name"] for span in receiver.spans} == {"kalends"}


def test_no_word_of_anybody_is_in_a_trace(told, receiver):
    """Neither what was said and asked, nor the names of memory, session, tenant and token."""
    everything = b"".join(receiver.bodies)
    planted = [MEMORY, SESSION, TEXT, QUESTION, "anchor", "local", told.token]

    assert b"create_memory" in everything
    assert [word for word in planted if word.encode() in everything] == []


def test_lines_go_to_the_file_and_a_modules_level_holds(told):
    """Nothing is left for standard error; the line of a quiet module is in neither."""
    lines = [json.loads(line) for line in told.data.with_name("kalends.log").read_text(encoding="utf-8").splitlines()]

    assert lines
    assert {line["level"] for line in lines} <= {"info", "warning"}
    assert "ready" not in {line["event"] for line in lines}
    assert '"event"' not in told.logs


def test_nothing_is_sent_unless_an_address_is_set(receiver, prepared, tmp_path):
    """The variables of OpenTelemetry's own exporters say nothing to Kalends."""
    before = len(receiver.requests)
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_TRACES_EXPORTER": "otlp"}
    with Instance(prepared(tmp_path / "data")) as instance:
        instance.start(variables)
        with Api(lambda: instance.url, lambda: instance.token) as api:
            api.make_memory("m")
        assert instance.terminate() == 0

    assert len(receiver.requests) == before


def test_local_only_refuses_a_receiver_elsewhere(prepared, tmp_path):
    """Before anything is sent; the setting is named."""
    settings = {"KALENDS_NETWORK__LOCAL_ONLY": "true", "KALENDS_TELEMETRY__OTLP_URL": "http://traces.example:4318"}
    with Instance(prepared(tmp_path / "data"), settings=settings) as instance, pytest.raises(NotStarted) as refused:
        instance.start()

    assert "telemetry.otlp_url: traces.example:4318" in refused.value.words
