"""Whatever is sent to whichever operation, the answer is a success or a 4xx problem, never an internal error."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import structlog
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.support.edge import Edge, hosted

QUIET = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
SLOW = {"stall", "away"}

_names = st.sampled_from(["text", "count", "at", "rights", "memories", "x"]) | st.text(max_size=5)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_names, inner, max_size=4),
    max_leaves=12,
)
_bodies = st.one_of(
    st.binary(max_size=300),
    _json.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")),
    st.text(st.characters(), max_size=50).map(lambda text: b'{"text":"' + text.encode("utf-8", "surrogatepass") + b'"}'),
    st.integers(0, 20_000).map(lambda depth: b'{"text":"x","anything":' + b"[" * depth + b"]" * depth + b"}"),
)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    """One loop for all examples, so that the server outlives each of them."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def edge(loop: asyncio.Runner) -> Iterator[Edge]:
    """The served table."""
    hosting = hosted()
    yield loop.run(hosting.__aenter__())
    loop.run(hosting.__aexit__(None, None, None))


async def exchange(edge: Edge, method: str, target: bytes, body: bytes, declared: bytes) -> tuple[int, bytes]:
    """One request as it is, over a connection of its own: status and body."""
    head = b"%s %s HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer %s\r\n" % (
        method.encode(),
        target,
        edge.admin.encode(),
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    async with asyncio.timeout(20):
        writer.write(head + b"content-type: %s\r\ncontent-length: %d\r\n\r\n" % (declared, len(body)) + body)
        answer = await reader.read()
    writer.close()
    status, _, rest = answer.partition(b"\r\n")
    return int(status.split()[1]), rest.partition(b"\r\n\r\n")[2]


def check(status: int, answer: bytes) -> None:
    """A success, or a problem that is the caller's fault."""
    assert status < 500
    if status >= 400 and answer != b"Invalid HTTP request received.":
        told = msgspec.json.decode(answer)
        assert told["status"] == status
        assert told["type"] == f"urn:kalends:problem:{told['code']}"


def rows(edge: Edge) -> list[Any]:
    """Operations that answer at once."""
    return [row for service in edge.services for row in service.operations if row.name not in SLOW]


@QUIET
@given(body=_bodies, which=st.integers(0, 99), declared=st.sampled_from([b"application/json"] * 4 + [b"text/plain"]))
@example(body=b'{"text":"\\ud800"}', which=0, declared=b"application/json")
@example(body=b'{"text":"\xed\xa0\x80"}', which=0, declared=b"application/json")
@example(body=b'{"text":"x","anything":' + b"[" * 20_000, which=0, declared=b"application/json")
@example(body=b'{"text":"x","count":' + b"9" * 5_000 + b"}", which=0, declared=b"application/json")
@example(body=b'{"text":"x","count":' + b"9" * 25 + b"}", which=0, declared=b"application/json")
def test_any_body_to_any_operation_is_answered_below_500(loop, edge, body, which, declared):
    """Bytes from outside are never our error."""
    row = rows(edge)[which % len(rows(edge))]
    target = b"/v1" + row.path.replace("{memory}", "m").replace("{id}", "i").replace("{name}", "n").replace("{token_id}", "t").encode()
    with structlog.testing.capture_logs() as lines:
        check(*loop.run(exchange(edge, row.method, target, body, declared)))
    assert lines == []


@QUIET
@given(
    tail=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#"), max_size=60),
    start=st.sampled_from(["/v1/memories/m/notes?", "/v1/memories/m/notes/", "/v1/memories/", "/v1/", "/"]),
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]),
)
@example(tail="limit=%EF%BF", start="/v1/memories/m/notes?", method="GET")
@example(tail="from=9999-12-31T23:59:59-14:00", start="/v1/memories/m/notes?", method="GET")
def test_any_target_is_answered_below_500(loop, edge, tail, start, method):
    """Nor are URLs."""
    with structlog.testing.capture_logs() as lines:
        check(*loop.run(exchange(edge, method, (start + tail).encode(), b"", b"application/json")))
    assert lines == []
