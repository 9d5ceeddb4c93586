"""Every operation answers, over HTTP and over NATS alike; and what the contract promises of events, sessions, documents and contexts.

Belongs here: the plain truth of the contract on a running instance. Not here: what is refused (``test_bad_input``, ``test_isolation``).
"""

import contextlib
import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import nats.errors
import pytest
from tests.platform import samples
from tests.platform.people import Person, described
from tests.platform.test_isolation_nats import platform_bus
from tests.support.instance import Instance, wait_until

from kalends.adapters.embedded.tokens import MiniLmTokenizer

MEMORY = "operations"
LONG_AGO, NODE = "2021-06-07T12:00:00Z", "toc:year:2021"
VOLATILE = {"took_ms", "lag", "recorded_at", "visibility", "updated_at"}


@pytest.fixture(scope="module")
def memory(admin: Person) -> str:
    """A memory with a session of five events and a document."""
    path = admin.make_memory(MEMORY)
    admin.remember(path, *[f"step {number} of the recipe" for number in range(5)], session_id="cooking", actor="cook")
    admin.remember(path, "the oven was bought", session_id="long-ago", occurred_at=LONG_AGO)
    assert wait_until(lambda: admin.ask("GET", f"{path}/toc/{NODE}").status_code == 200, seconds=60), admin.good("GET", "/status")
    kept = admin.ask("POST", f"{path}/documents", {"document_id": "plan", "text": "# Plan\n\nBuy flour"}, headers={"prefer": "wait=30"})
    assert kept.status_code == 200
    return path


def stable(value: Any) -> Any:
    """A body without what differs between two calls."""
    if isinstance(value, Mapping):
        return {name: stable(member) for name, member in value.items() if name not in VOLATILE}
    return [stable(member) for member in value] if isinstance(value, list) else value


def test_every_operation_answers(admin: Person) -> None:
    """With a success, or 404 where the sample names nothing that exists."""
    admin.make_memory("samples")  # of its own: what is written here is indexed while the next tests compare answers
    for operation in samples.operations(described(admin)):
        answer = admin.ask(operation.method, operation.at(memory="samples"), operation.body)
        names = {
            "event_id",
            "session_id",
            "document_id",
            "token_id",
            "agent_id",
            "approval_id",
            "backup_id",
            "operation_id",
            "erasure_id",
            "hold",
            "canary",
            "dead_letter_id",
            "node",
            "grip_id",
            "name",
        }
        named = any(f"{{{name}}}" in operation.path for name in names)

        unsigned = operation.name == "auth.session" and answer.status_code == 401
        # to somebody who does not exist; a question about an event that does not
        unknown = operation.name in {"memories.hand_over", "canaries.set"} and answer.status_code == 422
        # of a backup that is not there, and of an archive that nobody has wanted
        named |= operation.name in {"verifications.start", "restores.start", "archive.verify"}
        assert answer.is_success or unsigned or unknown or (named and answer.status_code == 404), (operation.name, answer.text)
        assert answer.headers["x-request-id"]
        assert answer.headers["cache-control"] == "no-store"


CALLS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("search", "POST", "/search", {"query": "recipe step", "limit": 3}),
    ("context", "POST", "/context", {"max_tokens": 300, "query": "recipe"}),
    ("events.list", "GET", "/events", {"session_id": "cooking", "limit": 2, "order": "desc"}),
    ("events.list", "GET", "/events", {"limit": 0}),
    ("events.get", "GET", "/events/{event_id}", {"before": 1, "after": 1}),
    ("sessions.list", "GET", "/sessions", {"limit": 1}),
    ("sessions.get", "GET", "/sessions/{session_id}", {}),
    ("sessions.end", "POST", "/sessions/{session_id}/end", {}),
    ("feedback.give", "POST", "/feedback", {"verdict": "useful", "satisfaction": 4}),
    ("feedback.give", "POST", "/feedback", {"verdict": "splendid"}),
    ("toc.list", "GET", "/toc", {"limit": 1}),
    ("toc.get", "GET", "/toc/{node}", {}),
    ("toc.children", "GET", "/toc/{node}/children", {"limit": 1}),
    ("grips.expand", "GET", "/grips/{grip_id}", {"before": 1}),
    ("search", "POST", "/search", {"query": "oven", "targets": ["toc", "grips"]}),
    ("documents.put", "POST", "/documents", {"document_id": "plan", "text": "# Plan\n\nBuy flour"}),
    (
        "events.append",
        "POST",
        "/events",
        {"events": [{"event_id": samples.ABSENT_ID, "session_id": "s", "kind": "note", "text": "parity"}]},
    ),
    ("events.append", "POST", "/events", {"events": [{"session_id": "s", "kind": "no such kind", "text": "x"}]}),
    ("erasures.create", "POST", "/erasures", {"session_id": "nobody's", "dry_run": True}),
    ("erasures.create", "POST", "/erasures", {}),
    ("search", "POST", "/search", {"query": ""}),
    ("search", "POST", "/search", {"query": "x", "unknown": 1}),
]


@pytest.mark.parametrize(("subject", "method", "path", "given"), CALLS)
async def test_nats_answers_as_http_does(admin: Person, memory: str, subject: str, method: str, path: str, given: dict[str, Any]) -> None:
    """The same status and body; path and query parameters are members of the request beside the body's."""
    event_id = admin.good("GET", f"{memory}/events?session_id=cooking&limit=1")["items"][0]["event_id"]
    grip_id = admin.good("GET", f"{memory}/toc/{NODE}/grips")["items"][0]["grip_id"]
    known = {"event_id": event_id, "session_id": "cooking", "node": NODE, "grip_id": grip_id}
    ids = {name: value for name, value in known.items() if f"{{{name}}}" in path}
    query = "?" + "&".join(f"{name}={quote(str(value))}" for name, value in given.items()) if method == "GET" and given else ""
    if subject == "events.append":
        admin.ask(method, memory + path, given)  # so that both are told of a duplicate
    with admin.with_token("append", "search", "erase", memories=[MEMORY]) as agent:
        over_http = agent.ask(method, memory + path.format(**ids) + query, given if method == "POST" else None)
        async with agent.on_nats() as client:
            over_nats = await agent.request(client, MEMORY, subject, {**given, **ids})

    headers = over_nats.headers or {}
    bodies = [json.loads(body) for body in (over_http.content, over_nats.data)]
    assert str(over_http.status_code) == headers.get("Kalends-Status", headers.get("Nats-Service-Error-Code"))
    assert {**stable(bodies[0]), "request_id": ""} == {**stable(bodies[1]), "request_id": ""}


async def test_every_operation_with_a_subject_is_listed_by_discovery(admin: Person) -> None:
    """The parity above goes over all of them."""
    async with platform_bus(admin) as bus:
        inbox = bus.connection.new_inbox()
        replies = await bus.connection.subscribe(inbox)
        await bus.connection.publish("$SRV.INFO", b"", reply=inbox)
        told = [await replies.next_msg(timeout=10)]
        # nobody knows how many services will answer, so silence ends the list
        with contextlib.suppress(nats.errors.TimeoutError):
            while True:
                told.append(await replies.next_msg(timeout=1))
        endpoints = [endpoint for message in told for endpoint in json.loads(message.data)["endpoints"]]
        found = {endpoint["subject"].removeprefix("kalends.v1.*.*.") for endpoint in endpoints}

    assert found == {subject for subject, *_ in CALLS}


def test_backdated_events_stand_in_their_place(admin: Person) -> None:
    """Lists follow when things happened, in both directions; ``from`` is within, ``to`` is not."""
    path = admin.make_memory("backdated")
    for day in (3, 1, 2):
        admin.remember(path, f"day {day}", occurred_at=f"2026-01-0{day}T12:00:00+02:00")

    def texts(query: str) -> list[str]:
        return [event["text"] for event in admin.good("GET", f"{path}/events?{query}")["items"]]

    assert texts("order=asc") == ["day 1", "day 2", "day 3"]
    assert texts("order=desc") == ["day 3", "day 2", "day 1"]
    assert texts("from=2026-01-01T10:00:00Z&to=2026-01-03T10:00:00Z") == ["day 1", "day 2"]
    assert admin.good("GET", f"{path}/events?limit=1")["items"][0]["occurred_at"] == "2026-01-01T10:00:00Z"


def test_a_cursor_stays_right_while_others_write(admin: Person) -> None:
    """Each event that was there at the start comes once, whatever is written before, between and after."""
    path = admin.make_memory("cursors")
    at = "2026-01-01T00:{:02}:00Z"
    for start in range(0, 60, 20):
        events = [{"session_id": "s", "kind": "note", "text": f"old {n}", "occurred_at": at.format(n)} for n in range(start, start + 20)]
        told = admin.ask("POST", f"{path}/events", {"events": events}, headers={"prefer": "wait=30"})
        assert told.status_code == 200
    over = threading.Event()

    def write() -> None:
        with Person(admin.instance, admin.token) as writer:
            number = 0
            while not over.is_set():
                number += 1
                writer.remember(path, f"new {number}", occurred_at=at.format(number * 7 % 60))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for order in ("asc", "desc"):
            seen: list[str] = []
            cursor = ""
            while cursor is not None:
                page = admin.good("GET", f"{path}/events?limit=3&order={order}{cursor and '&cursor=' + quote(cursor)}")
                seen += [event["text"] for event in page["items"] if event["text"].startswith("old")]
                cursor = page["next_cursor"]
            expected = [f"old {number}" for number in range(60)]
            assert seen == (expected if order == "asc" else expected[::-1])
    finally:
        over.set()
        thread.join(60)
    assert admin.ask("GET", f"{path}/events?order=desc&cursor={quote(_cursor(admin, path))}").status_code == 422


def _cursor(admin: Person, path: str) -> str:
    cursor: str = admin.good("GET", f"{path}/events?limit=1&order=asc")["next_cursor"]
    return cursor


def test_sessions_are_counted_and_listed_by_their_last_event(admin: Person) -> None:
    """With their first and last times, page by page."""
    path = admin.make_memory("sessions")
    for name, days in (("a", (1, 9)), ("b", (2, 3)), ("c", (4, 5))):
        for day in days:
            admin.remember(path, "x", session_id=name, occurred_at=f"2026-01-0{day}T00:00:00Z")
    first = admin.good("GET", f"{path}/sessions?limit=2")
    second = admin.good("GET", f"{path}/sessions?limit=2&cursor={quote(first['next_cursor'])}")

    assert [session["session_id"] for session in first["items"] + second["items"]] == ["a", "c", "b"]
    assert second["next_cursor"] is None
    assert first["items"][0] == {"session_id": "a", "events": 2, "first_at": "2026-01-01T00:00:00Z", "last_at": "2026-01-09T00:00:00Z"}


def test_a_document_is_kept_once_replaced_and_removed(admin: Person) -> None:
    """What was taken back is found no longer, by any way."""
    path = admin.make_memory("documents")
    wait = {"prefer": "wait=30"}
    colours = [f"# Colours\n\nThe door is {colour}" for colour in ("red", "blue")]
    first, again, other = (
        admin.ask("POST", f"{path}/documents", {"document_id": "d/1 é", "text": text}, headers=wait).json()
        for text in (colours[0], colours[0], colours[1])
    )
    found = admin.found(path, "colour of the door", targets=["documents"])
    removed = admin.good("DELETE", f"{path}/documents/{quote('d/1 é', safe='')}")
    asked = {"query": "door", "targets": ["documents"], "min_visibility": removed["visibility"], "timeout_ms": 20_000}

    assert [told["status"] for told in (first, again, other)] == ["new", "unchanged", "replaced"]
    assert ["blue" in text for text in found] == [True]
    assert admin.ask("GET", f"{path}/events/{first['chunk_ids'][0]}").status_code in {404, 410}
    assert admin.good("POST", f"{path}/search", asked)["hits"] == []
    assert admin.good("GET", f"{path}/documents")["items"] == []
    assert admin.good("GET", f"{path}/events")["items"] == []


@pytest.mark.parametrize("budget", [64, 100, 500])
def test_a_context_never_exceeds_its_budget(admin: Person, memory: str, budget: int) -> None:
    """In tokens of the model; each line names an event or a grip that exists."""
    admin.remember(memory, "word " * 300, priority="low")
    told = admin.good("POST", f"{memory}/context", {"max_tokens": budget, "query": "recipe", "recent": 50})

    assert MiniLmTokenizer().count(told["text"]) <= budget
    assert told["tokens"] <= budget
    assert all(f"[{name}]" in told["text"] for name in told["ids"])
    places = [f"grips/{name}" if name.startswith("grip:") else f"events/{name}" for name in told["ids"]]
    assert all(admin.ask("GET", f"{memory}/{place}").status_code == 200 for place in places)


def test_an_id_or_an_idempotency_key_makes_a_retry_safe(admin: Person) -> None:
    """The same content is a duplicate, other content a conflict of that item."""
    path = admin.make_memory("retries")
    event = {"session_id": "s", "kind": "note", "text": "once"}
    key = {"idempotency-key": "k-1"}
    first, again = (admin.ask("POST", f"{path}/events", {"events": [event]}, headers=key).json()["results"][0] for _ in range(2))
    changed = admin.ask("POST", f"{path}/events", {"events": [{**event, "text": "twice"}]}, headers=key)

    assert (first["status"], again["status"]) == ("new", "duplicate")
    assert first["event_id"] == again["event_id"]
    assert changed.json()["errors"][0]["code"] == "conflict"
    assert changed.status_code in {409, 422}


def test_a_trace_goes_through_the_log(admin: Person, memory: str) -> None:
    """A caller's trace id is the request id of the answer and stands in our own log lines."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = admin.ask("POST", f"{memory}/search", {"query": "x"}, headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})

    assert answer.headers["x-request-id"] == trace


def test_probes_and_metrics_answer_without_a_token_and_without_content(admin: Person, memory: str) -> None:
    """On a port of their own; no name of a tenant, a memory or a session is in them."""
    with httpx.Client(base_url=admin.instance.ops_url, trust_env=False) as ops:
        live, ready, metrics = (ops.get(path) for path in ("/livez", "/readyz", "/metrics"))

    assert live.json() == {"live": True}
    assert ready.json()["ready"] is True
    assert "kalends_requests_total" in metrics.text
    assert not any(f'"{name}"' in metrics.text for name in ("local", "other", MEMORY, "cooking", "cook"))
    assert admin.ask("GET", "/../metrics").status_code == 404


def test_a_full_log_refuses_with_a_time_to_come_back(tmp_path: Path, prepared: Callable[[Path], Path]) -> None:
    """429 with Retry-After; what was acked stays, and reading goes on."""
    settings = {"KALENDS_LOG__MAX_BYTES": str(2 << 20)}
    with (
        Instance(prepared(tmp_path / "data"), settings=settings) as instance,
        Person(instance.start(), instance.token) as person,
    ):
        path = person.make_memory("full")
        acked = 0
        for _ in range(40):
            events = [{"session_id": "s", "kind": "note", "text": "x" * 100_000}]
            answer = person.ask("POST", f"{path}/events", {"events": events})
            if answer.status_code != 202:
                break
            acked += 1

        assert answer.status_code == 429, answer.text
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["retry_after_s"] > 0
        assert 10 <= acked <= 30
        assert wait_until(lambda: len(person.good("GET", f"{path}/events?limit=200")["items"]) == acked, seconds=20)
        assert httpx.get(f"{instance.ops_url}/livez", trust_env=False).status_code == 200
