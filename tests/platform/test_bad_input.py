"""Check 6: whatever is sent, the answer is a success or a 4xx problem, and what is valid comes back byte for byte.

Belongs here: a corpus of bodies, headers and bytes on a socket. What types allow is explored by ``test_schemathesis``.
"""

import json
import os
import re
import socket
import subprocess
import sys
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.platform import samples
from tests.platform.people import Person, described
from tests.support.strategies import SENDABLE

MEMORY = "bad-input"
DEEP = 100_000


@pytest.fixture(scope="module")
def memory(admin: Person) -> str:
    """A memory with one event."""
    path = admin.make_memory(MEMORY)
    admin.remember(path, "one good event")
    return path


def event(**members: object) -> bytes:
    """A request with one event, good but for *members*."""
    return json.dumps({"events": [{"session_id": "s", "kind": "note", "text": "t", **members}]}).encode()


RAW_BODIES = {
    "empty": b"",
    "blanks": b"  \n\t ",
    "not json": b"hello",
    "cut": b'{"events": [{"text": "a',
    "trailing": b"{} {}",
    "invalid utf-8": b'{"query": "\xff\xfe"}',
    "overlong utf-8": b'{"query": "\xc0\xaf"}',
    "encoded surrogate": b'{"query": "\xed\xa0\x80"}',
    "escaped lone surrogate": b'{"query": "\\ud800"}',
    "escaped NUL": b'{"query": "a\\u0000b"}',
    "raw NUL": b'{"query": "a\x00b"}',
    "NUL alone": b"\x00",
    "BOM": b'\xef\xbb\xbf{"query": "x"}',
    "UTF-16": '{"query": "x"}'.encode("utf-16"),
    "NaN": b'{"query": "x", "limit": NaN}',
    "Infinity": b'{"query": "x", "limit": -Infinity}',
    "huge integer": b'{"query": "x", "limit": ' + b"9" * 5000 + b"}",
    "huge exponent": b'{"query": "x", "limit": 1e999999}',
    "tiny exponent": b'{"query": "x", "limit": 1e-999999}',
    "leading zero": b'{"query": "x", "limit": 010}',
    "deep arrays": b"[" * DEEP,
    "deep objects": b'{"a":' * DEEP,
    "deep and closed": b'{"query": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "unknown field": b'{"query": "x", "tenant": "other"}',
    "comments": b'{"query": "x" /* no */}',
    "single quotes": b"{'query': 'x'}",
    "array": b"[]",
    "null": b"null",
    "text": b'"query"',
    "number": b"1",
    "1 MiB of text": b'{"query": "' + b"a" * (1 << 20) + b'"}',
    "5 MiB": b'{"query": "' + b"a" * (5 << 20) + b'"}',
    "many keys": b"{" + b",".join(b'"k%d":1' % number for number in range(50_000)) + b"}",
    "wrong types": b'{"query": {}, "limit": "ten", "filter": 1, "events": 3, "text": [], "document_id": null, "rights": "all"}',
}

EVENTS = {
    "naive time": event(occurred_at="2026-01-01T00:00:00"),
    "time as number": event(occurred_at=1700000000),
    "no such day": event(occurred_at="2026-02-30T00:00:00Z"),
    "year 0": event(occurred_at="0000-01-01T00:00:00Z"),
    "before year 1 in UTC": event(occurred_at="0001-01-01T00:00:00+14:00"),
    "after year 9999 in UTC": event(occurred_at="9999-12-31T23:59:59-14:00"),
    "leap second": event(occurred_at="2026-12-31T23:59:60Z"),
    "NUL": event(text="a\0b"),
    "lone surrogate": event(text="a\ud800b"),
    "reversed pair": event(text="\udc00\ud800"),
    "surrogate in a name": event(session_id="\udfff"),
    "NUL in metadata": event(metadata={"a\0": "b"}),
    "surrogate in metadata": event(metadata={"a": "\ud800"}),
    "nested metadata": event(metadata={"a": {"b": 1}}),
    "list in metadata": event(metadata={"a": [1]}),
    "huge number in metadata": event(metadata={"a": 10**30}),
    "33 keys": event(metadata={str(number): 1 for number in range(33)}),
    "1 MiB of text": event(text="a" * (1 << 20)),
    "300 KiB of CJK": event(text="漢" * (100 << 10)),
    "empty text": event(text=""),
    "no such kind": event(kind="thought"),
    "no such role": event(role="god"),
    "no such id": event(event_id="not-an-id"),
    "Kelvin sign in an id": event(event_id="01ARZ3NDE\u212aTSV4RRFFQ69G5FAV"),
    "id above 128 bits": event(event_id="8ZZZZZZZZZZZZZZZZZZZZZZZZZ"),
    "long name": event(session_id="x" * 513),
    "null text": event(text=None),
    "number as text": event(text=5),
    "unknown field": event(tenant="other"),
    "no events": b'{"events": []}',
    "501 events": json.dumps({"events": [{"session_id": "s", "kind": "note", "text": "t"}] * 501}).encode(),
    "events as object": b'{"events": {"0": {}}}',
    "events twice": b'{"events": [], "events": []}',
}


def is_problem(answer: httpx.Response) -> bool:
    """Whether an answer is a whole 4xx problem, without a trace of how we are made."""
    told = answer.json()
    words = re.search(r"Traceback|\.py\b|msgspec|site-packages|0x[0-9a-f]{6}", answer.text)
    described_well = {"type", "title", "status", "detail", "code", "request_id"} <= told.keys() and told["status"] == answer.status_code
    return 400 <= answer.status_code < 500 and answer.headers["content-type"] == "application/problem+json" and described_well and not words


ALL_HAS_DEFAULTS = {
    "exports.read",
    "retention.run",
    "memories.create",
    "memories.change",
    "reindexes.start",
    "toc_rebuilds.start",
    "key_rotations.start",
    "tokens.rotate",
}
"""Operations of whose bodies nothing need be given."""


@pytest.mark.parametrize("name", RAW_BODIES)
def test_a_bad_body_is_a_problem_on_every_operation_that_takes_one(admin: Person, memory: str, name: str) -> None:
    """4xx with a reason; an operation whose members all have defaults may take an empty body."""
    for operation in samples.operations(described(admin)):
        if operation.body is None:
            continue
        answer = admin.ask(operation.method, operation.at(memory=MEMORY), RAW_BODIES[name])
        allowed = answer.is_success and name == "empty" and operation.name in ALL_HAS_DEFAULTS
        good_query = answer.is_success and operation.name == "search" and name == "tiny exponent"

        assert allowed or good_query or is_problem(answer), (operation.name, answer.status_code, answer.text[:500])


@pytest.mark.parametrize("name", EVENTS)
def test_a_bad_event_is_refused_with_its_place(admin: Person, memory: str, name: str) -> None:
    """422 with a pointer, 400 for what is no text, 413 for too many."""
    answer = admin.ask("POST", f"{memory}/events", EVENTS[name])

    assert is_problem(answer), answer.text[:500]
    if answer.status_code == 422:
        assert all(fault["pointer"].startswith("/events") for fault in answer.json()["errors"]), answer.text[:500]


def test_a_bad_event_does_not_refuse_its_neighbours(admin: Person, memory: str) -> None:
    """The good ones are stored; each bad one has its own reason."""
    good = {"session_id": "s", "kind": "note", "text": "good neighbour"}
    events = [
        good,
        {**good, "text": "a\0b"},
        {**good, "kind": "x"},
        {**good, "occurred_at": "2026-01-01T00:00:00"},
        {**good, "event_id": 5},
        good,
    ]
    told = admin.good("POST", f"{memory}/events", {"events": events})

    assert [result["status"] for result in told["results"]] == ["new", "rejected", "rejected", "rejected", "rejected", "new"]
    assert [result["error"]["pointer"] for result in told["results"][1:5]] == [
        "/events/1/text",
        "/events/2/kind",
        "/events/3/occurred_at",
        "/events/4/event_id",
    ]


QUERIES = [
    "limit=0",
    "limit=-1",
    "limit=201",
    "limit=1e3",
    "limit=" + "9" * 400,
    "limit=NaN",
    "limit=",
    "limit=1&limit=2",
    "from=2026-01-01",
]
QUERIES += [
    "from=2026-01-01T00:00:00",
    "from=now",
    "from=1700000000",
    "to=null",
    "order=up",
    "cursor=x",
    "cursor=%00",
    "cursor=" + "A" * 3000,
]
QUERIES += ["cursor=" + quote("[]"), "kind=%FF", "kind=%ZZ", "kind=a%00", "tenant=other", "session_id=", "session_id=" + "x" * 513]
QUERIES += ["%FF=1"]


@pytest.mark.parametrize("query", QUERIES)
def test_a_bad_parameter_is_a_problem(admin: Person, memory: str, query: str) -> None:
    """Neither ignored nor guessed at."""
    assert is_problem(admin.ask("GET", f"{memory}/events?{query}"))


PATHS = [
    "/memories/UPPER",
    "/memories/-a",
    "/memories/a%00b",
    "/memories/%FF",
    "/memories/%ZZ",
    "/memories/" + "a" * 41,
    "/memories/%E6%BC%A2",
]
PATHS += [
    "/memories/*",
    "/memories/a.b",
    "/memories/a%2Fb",
    f"/memories/{MEMORY}/events/not-an-id",
    f"/memories/{MEMORY}/events/%00",
    "/memories//",
]
PATHS += [
    f"/memories/{MEMORY}/sessions/%ED%A0%80",
    f"/memories/{MEMORY}/documents/%00",
    "/dead-letters?limit=x",
    "/operations/%00",
    "/nothing",
    "//",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_bad_path_is_a_problem(admin: Person, memory: str, path: str) -> None:
    """Odd names, broken escapes, NUL, invalid UTF-8."""
    assert is_problem(admin.ask("GET", path))


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/json; charset=latin-1", "application/x-www-form-urlencoded", "*/*", "\xff"]
)
def test_a_body_of_another_type_is_415(admin: Person, memory: str, kind: str | None) -> None:
    """JSON in UTF-8 is all there is."""
    headers = {} if kind is None else {"content-type": kind.encode("latin-1")}
    answer = admin.client.request("POST", f"{memory}/search", content=b'{"query": "x"}', headers=headers)

    assert answer.status_code == 415
    assert is_problem(answer)


HEAD = "POST /v1/memories/bad-input/search HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
SOCKETS = {
    "chunked": (b"Transfer-Encoding: chunked\r\n\r\n7\r\n" + b'{"query' + b'\r\n6\r\n": "x"' + b"\r\n1\r\n}\r\n0\r\n\r\n", {200}),
    "chunk of no size": (b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", {400}),
    "two lengths": (b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", {400}),
    "length and chunked": (b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", {400, 422}),
    "negative length": (b"Content-Length: -1\r\n\r\n{}", {400}),
    "length of words": (b"Content-Length: two\r\n\r\n{}", {400}),
    "huge length": (b"Content-Length: 99999999999999\r\n\r\n{}", {413}),
    "length beyond counting": (b"Content-Length: " + b"9" * 100 + b"\r\n\r\n{}", {400, 413}),
    "no length": (b"\r\n", {400, 422}),
    "NUL in a header": (b"X-Odd: a\0b\r\nContent-Length: 2\r\n\r\n{}", {400, 422}),
    "endless header": (b"X-Long: " + b"a" * 200_000 + b"\r\nContent-Length: 2\r\n\r\n{}", {400, 431}),
    "broken expectation": (b"Expect: 200-maybe\r\nContent-Length: 2\r\n\r\n{}", {400, 417, 422}),
    "unknown encoding": (b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", {415, 422, 400}),
}


@pytest.mark.parametrize("name", SOCKETS)
def test_odd_framing_is_answered_or_refused(admin: Person, memory: str, name: str) -> None:
    """On a socket of its own, where no client library mends anything."""
    rest, allowed = SOCKETS[name]
    with _said(admin, HEAD.format(token=admin.token).encode() + rest) as connection:
        status = int(connection.recv(65536).split(b" ", 2)[1])

    assert status in allowed


HOST = b"HTTP/1.1\r\nHost: x\r\n\r\n"
GARBAGE = [b"\0" * 100, b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/9.9\r\n\r\n", b"GET\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
GARBAGE += [b"GET /v1/../../etc/passwd " + HOST, b"GET http://[::1 " + HOST, b"OPTIONS * " + HOST, b"G\xc3\x89T /v1 " + HOST]
GARBAGE += [b"GET /\xff\xfe " + HOST, b"GET /v1/memories HTTP/1.1\r\nHost: \xff\xff\r\n\r\n"]


@pytest.mark.parametrize("words", GARBAGE)
def test_what_is_no_request_ends_with_a_4xx_or_the_connection(admin: Person, words: bytes) -> None:
    """And the next one is answered."""
    with _said(admin, words) as connection:
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65536)

    assert answer == b"" or 400 <= int(answer.split(b" ", 2)[1]) < 500, answer
    assert admin.ask("GET", "/memories").status_code == 200


def _said(person: Person, words: bytes) -> socket.socket:
    where = urlsplit(person.instance.url)
    connection = socket.create_connection((where.hostname, where.port or 80), timeout=10)
    connection.sendall(words)
    return connection


VALID = {
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇪🇺 \U0001f9d1\u200d\U0001f680",
    "CJK": "漢字 かな カナ 한국어 𠀀𪜶 ㍿",
    "right to left": "שלום עולם مرحبا بالعالم \u202eabc\u202c \u200f",
    "combining": "e\u0301 vs é, a\u0308\u0301, Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢, \u1100\u1161\u11a8",
    "controls": "tab\there, line\nbreak, \r\n, \x01\x1f\x7f\x85 \u2028 \u2029 \ufeff bell\x07",
    "non-characters": "\ufffe \uffff \U0010ffff \ufdd0 \ufffd",
    "case and width": "ǅ ﬁ \u017f \u212a \u212b \uff21\uff22\uff23 ① ²",
    "quotes": "\"'`\\ \\n %s %00 {} ${x} <script>&amp; '; DROP TABLE events; --",
    "long": "word " * 3_000,
}


@pytest.mark.parametrize("name", VALID)
def test_valid_text_comes_back_byte_for_byte(admin: Person, memory: str, name: str) -> None:
    """As event text, names and metadata; by id, in lists and in search."""
    text = VALID[name]
    short = text[:100]
    facets: dict[str, Any] = {"session_id": short, "actor": short, "channel": short, "thread_id": short, "metadata": {short: short}}
    (event_id,) = admin.remember(memory, text, **facets)
    by_id = admin.good("GET", f"{memory}/events/{event_id}")
    (listed,) = admin.good("GET", f"{memory}/events?session_id={quote(short)}")["items"]
    session = admin.good("GET", f"{memory}/sessions/{quote(short, safe='')}")
    hits = admin.good(
        "POST", f"{memory}/search", {"query": "anything", "mode": "vector", "filter": {"session_id": short, "metadata": {short: short}}}
    )

    for found in (by_id, listed):
        assert found["text"] == text
        assert {member: found[member] for member in facets} == facets
    assert [hit["text"] for hit in hits["hits"]] == [text]
    assert hits["hits"][0]["session_id"] == session["session_id"] == short


@pytest.mark.parametrize("name", ["emoji", "CJK", "right to left", "combining", "quotes"])
def test_valid_text_comes_back_through_documents_contexts_and_the_command_line(admin: Person, memory: str, name: str) -> None:
    """Blanks may be joined in a context, which is lines; all else is as it was."""
    text = VALID[name]
    kept = admin.ask("POST", f"{memory}/documents", {"document_id": text, "title": text, "text": text}, headers={"prefer": "wait=30"})
    assert kept.status_code == 200, kept.text
    document = admin.good("GET", f"{memory}/documents/{quote(text, safe='')}")
    chunk = admin.good("GET", f"{memory}/events/{document['chunk_ids'][0]}")
    context = admin.good("POST", f"{memory}/context", {"max_tokens": 4000, "recent": 200})
    command = [sys.executable, "-m", "kalends.app.cli", "--url", admin.instance.url, "--token-file", str(admin.instance.token_file)]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}

    def run(*words: str) -> Any:
        done = subprocess.run(
            [*command, "--memory", MEMORY, *words, "--json"], capture_output=True, check=True, timeout=60, env=environment
        )
        return json.loads(done.stdout)

    added = run("add", text)

    assert document["document_id"] == document["title"] == text
    assert chunk["text"] == text
    assert " ".join(text.split()) in context["text"]
    assert run("event", added["event_id"])["text"] == text


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(texts=st.lists(st.text(SENDABLE, min_size=1, max_size=60), min_size=1, max_size=20))
def test_any_text_without_nul_and_surrogates_round_trips(admin: Person, memory: str, texts: list[str]) -> None:
    """Twenty at a time."""
    events = [{"session_id": "any", "kind": "note", "text": text} for text in texts]
    told = admin.ask("POST", f"{memory}/events", {"events": events}, headers={"prefer": "wait=30"}).json()

    for text, result in zip(texts, told["results"], strict=True):
        assert admin.good("GET", f"{memory}/events/{result['event_id']}")["text"] == text


def test_afterwards_everything_is_well(admin: Person, memory: str) -> None:
    """Nothing of all that left a dead letter, a lag or a degraded part."""
    assert admin.good("GET", "/status")["state"] == "up"
    assert admin.good("GET", "/dead-letters")["items"] == []
    assert admin.found(memory, "one good event")[0] == "one good event"
