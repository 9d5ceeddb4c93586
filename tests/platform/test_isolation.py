"""Check 5 over HTTP: who has no token learns nothing, and whoever has one meets nothing of others. Over NATS: ``test_isolation_nats``.

A newcomer would get wrong: the canary is a word that only the victim ever writes, so an answer that holds it has leaked, by whatever
route.
"""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.platform import samples
from tests.platform.conftest import another_tenant
from tests.platform.people import TENANT, Person, described
from tests.platform.samples import Operation
from tests.support.instance import Instance, wait_until

from kalends.domain.credentials import new_token
from kalends.domain.positions import stream_of_own, visibility_floors, visibility_token
from kalends.domain.scope import MemoryName, Scope, Tenant

CANARY = "xylophonecanary"
MEMORY, ABSENT = "victim-memory", "absent-memory"
ISOLATIONS = ("shared", "dedicated")
"""All of this holds for both kinds of memories; what belongs to no memory is only tested once."""

LONG_AGO, NODE = "2020-05-05T12:00:00Z", "toc:day:2020-05-05"
"""What is long past is in the calendar as soon as it was indexed."""

_VOLATILE = {"date", "x-request-id", "content-length"}
_REQUEST_ID = re.compile(r'"request_id":"[^"]*"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """What one tenant holds, and every name that somebody else might have learned of it."""

    memory: str
    isolation: str
    path: str
    event_id: str
    document_id: str
    session_id: str
    token_id: str
    operation_id: str
    node: str
    grip_id: str
    cursor: str
    visibility: str

    @property
    def ids(self) -> dict[str, str]:
        """The names as path parameters."""
        names = ("event_id", "document_id", "session_id", "token_id", "operation_id", "node", "grip_id")
        return {name: getattr(self, name) for name in names}


@pytest.fixture(scope="module", params=ISOLATIONS)
def victim(request: pytest.FixtureRequest, admin: Person) -> Iterator[Victim]:
    """Events, a document, a session, a calendar, a token and an operation of the first tenant."""
    memory = f"{MEMORY}-{request.param}"
    path = admin.make_memory(memory, isolation=request.param)
    admin.remember(path, f"Long ago the {CANARY} was played in the harbour.", session_id="victim-session", occurred_at=LONG_AGO)
    assert wait_until(lambda: admin.ask("GET", f"{path}/toc/{NODE}").status_code == 200, seconds=60), admin.good("GET", "/status")
    node = admin.good("GET", f"{path}/toc/{NODE}")
    assert CANARY in json.dumps(node)
    ids = admin.remember(path, *[f"{CANARY} number {number}" for number in range(3)], session_id="victim-session", actor=CANARY)
    document = {"document_id": "victim-document", "text": f"# {CANARY}\n\nkept", "title": CANARY}
    kept = admin.ask("POST", f"{path}/documents", document, headers={"prefer": "wait=30"})
    assert kept.status_code == 200, kept.text
    operation = admin.good("POST", "/admin/reindexes", {"dry_run": True})["operation_id"]
    with admin.with_token("search", memories=[memory], label=CANARY) as friend:
        yield Victim(
            memory=memory,
            isolation=request.param,
            path=path,
            event_id=ids[0],
            document_id=document["document_id"],
            session_id="victim-session",
            token_id=friend.token_id,
            operation_id=operation,
            node=NODE,
            grip_id=node["bullets"][0]["grips"][0]["grip_id"],
            cursor=admin.good("GET", f"{path}/events?limit=1")["next_cursor"],
            visibility=kept.json()["visibility"],
        )


@pytest.fixture(scope="module")
def every(admin: Person) -> list[Operation]:
    """The operation table."""
    return samples.operations(described(admin))


@pytest.fixture(scope="module")
def table(every: list[Operation]) -> list[Operation]:
    """The operation table without the two rows that want no credential, which ``test_attacks`` is about."""
    return [one for one in every if not one.open]


def told(answer: httpx.Response, *names: str) -> tuple[int, dict[str, str], str]:
    """What an answer tells, without what differs between any two answers; *names* are those that the asker said itself."""
    text = _REQUEST_ID.sub("", answer.text)
    for name in names:
        text = text.replace(name, "…")
    return answer.status_code, {name: value for name, value in answer.headers.items() if name not in _VOLATILE}, text


def test_every_operation_has_a_sample(admin: Person, every: list[Operation]) -> None:
    """What is not in the table of samples would go untested here."""
    assert {one.name for one in every} - set(samples.BODIES) == samples.without_body(described(admin))
    assert all(one.open or one.right in {"append", "search", "erase", "admin"} for one in every)
    assert [one.name for one in every if one.open] == ["auth.nonce", "auth.session"]


def bad_credentials(revoked: str) -> list[str | None]:
    """Authorization headers that nobody should accept."""
    fresh = new_token()
    encoded = base64.b64encode(f"admin:{fresh}".encode()).decode()
    many = ["", "Bearer", f"Bearer {fresh}", f"Bearer {revoked}", f"Basic {encoded}", f"Token {fresh}", "Bearer null"]
    return [None, *many, "Bearer *", "Bearer kal_%00", f"Bearer {'k' * 600}", f"Bearer {fresh}, Bearer {fresh}", "Bearer \xff"]


def test_nobody_without_a_token_is_told_anything(admin: Person, victim: Victim, table: list[Operation]) -> None:
    """Each operation answers 401, and the same for what exists as for what does not."""
    with admin.with_token("search", memories=None) as past:
        assert past.token is not None
        assert past.ask("GET", "/memories").status_code == 200
        admin.good("DELETE", f"/tokens/{past.token_id}")
        credentials = bad_credentials(past.token)
    with Person(admin.instance, None) as nobody:
        for operation in table:
            for credential in credentials:
                headers = {} if credential is None else {b"authorization": credential.encode("latin-1")}
                real = nobody.client.request(operation.method, operation.at(memory=victim.memory, **victim.ids), headers=headers)
                unreal = nobody.client.request(operation.method, operation.at(memory=ABSENT), headers=headers)

                assert real.status_code == 401, (operation.name, credential, real.text)
                assert real.headers["www-authenticate"].startswith("Bearer")
                assert told(real) == told(unreal)


def test_a_token_also_does_not_count_in_the_url_or_a_cookie(admin: Person) -> None:
    """Addresses and cookies end up in logs and in browsers."""
    with Person(admin.instance, None) as nobody:
        for query in (f"?token={admin.token}", f"?access_token={admin.token}", f"?authorization=Bearer%20{admin.token}"):
            assert nobody.ask("GET", f"/memories{query}").status_code == 401
        assert nobody.ask("GET", "/memories", headers={"cookie": f"authorization=Bearer {admin.token}"}).status_code == 401


def test_a_memory_of_others_answers_as_one_that_does_not_exist(
    admin: Person, stranger: Person, victim: Victim, table: list[Operation]
) -> None:
    """Whether the asker is of another tenant or only has other memories."""
    with admin.with_token("append", "search", "erase", "admin", memories=["some-other-memory"]) as limited:
        for asker in (stranger, limited):
            for operation in table:
                # another tenant may make a memory of its own of any name
                if not operation.of_memory or (asker is stranger and operation.name == "memories.create"):
                    continue
                ids = {name: value for name, value in victim.ids.items() if name in operation.path}
                real = asker.ask(operation.method, operation.at(memory=victim.memory, **ids), operation.body)
                unreal = asker.ask(operation.method, operation.at(memory=ABSENT, **ids), operation.body)

                assert real.status_code == 404, (operation.name, real.text)
                assert told(real, victim.memory) == told(unreal, ABSENT)


def test_names_of_others_are_unknown_in_a_memory_of_ones_own(stranger: Person, victim: Victim, table: list[Operation]) -> None:
    """Even in a memory of the same name and kind, nothing that is the victim's can be read, changed or removed by its id."""
    stranger.make_memory(victim.memory, isolation=victim.isolation)
    for operation in table:
        named = [name for name in victim.ids if f"{{{name}}}" in operation.path]
        if not named:
            continue
        real = stranger.ask(operation.method, operation.at(memory=victim.memory, **victim.ids), operation.body)
        if operation.name.startswith("operations."):
            continue  # rebuilds are the instance's and name no tenant's data
        if operation.name == "sessions.end":
            # accepted for any name, known or not, and so tells nothing of it
            assert real.json() == {"session_id": victim.session_id, "state": "kept", "erasure_id": None}
            continue

        assert real.status_code == 404, (operation.name, real.text)
        assert CANARY not in real.text


def test_the_victim_still_has_everything_afterwards(admin: Person, victim: Victim) -> None:
    """What was refused had no effect."""
    assert admin.ask("GET", f"{victim.path}/events/{victim.event_id}").status_code == 200
    assert admin.ask("GET", f"{victim.path}/documents/{victim.document_id}").status_code == 200
    assert any(CANARY in text for text in admin.found(victim.path, CANARY))
    assert any(CANARY in text for text in admin.found(victim.path, CANARY, targets=["toc"]))
    assert admin.good("GET", f"{victim.path}/grips/{victim.grip_id}")["node_id"].startswith("toc:segment:2020-05-05:")
    assert victim.token_id in {token["id"] for token in admin.good("GET", "/tokens")["items"]}


def test_lists_show_only_what_the_token_may_see(admin: Person, stranger: Person, victim: Victim) -> None:
    """Memories, tokens, and the pages after a cursor of somebody else's."""
    with admin.with_token("search", "admin", memories=["some-other-memory"]) as limited:
        for asker in (stranger, limited):
            listed = asker.good("GET", "/memories?limit=200")
            tokens = asker.good("GET", "/tokens")

            assert victim.token_id not in {token["id"] for token in tokens["items"]}
            assert {token["tenant"] for token in tokens["items"]} <= {asker.tenant}
            assert CANARY not in json.dumps([listed, tokens])
            assert asker is stranger or listed["items"] == []
    with admin.with_token("search", memories=[victim.memory]) as friend:
        assert [memory["name"] for memory in friend.good("GET", "/memories")["items"]] == [victim.memory]


def test_a_token_does_only_what_its_rights_say(admin: Person, victim: Victim, table: list[Operation]) -> None:
    """403 for a missing right, whether or not what is asked for exists; ``admin`` carries every right."""
    for right in ("append", "search", "erase"):
        with admin.with_token(right, memories=None) as asker:
            for operation in table:
                real = asker.ask(operation.method, operation.at(memory=victim.memory), operation.body)
                if operation.right == right:
                    assert real.status_code != 403, (operation.name, right)
                    continue
                unreal = asker.ask(operation.method, operation.at(memory=ABSENT), operation.body)

                assert real.status_code == 403, (operation.name, right, real.text)
                assert told(real, victim.memory) == told(unreal, ABSENT)


def test_what_is_read_of_every_memory_is_for_admins(admin: Person) -> None:
    """Digests count the events of all tenants; everything else of the status is for everybody with a token."""
    with admin.with_token("append", "search", "erase", memories=None) as asker:
        assert asker.ask("GET", "/status").status_code == 200
        assert asker.ask("GET", "/status?digests=true").status_code == 403
    assert set(admin.good("GET", "/status?digests=true")["digests"]) == {"timeline", "toc", "lexical", "vector"}


def test_nobody_gives_away_more_than_they_have(admin: Person, victim: Victim) -> None:
    """Neither memories nor rights nor time."""
    with admin.with_token("admin", memories=["some-other-memory"], expires_at="2999-01-01T00:00:00Z") as limited:
        for wish in ({"memories": None}, {"memories": [victim.memory]}, {"expires_at": None}, {"expires_at": "2999-01-02T00:00:00Z"}):
            asked = {"memories": ["some-other-memory"], "rights": ["search"], "expires_at": "2998-01-01T00:00:00Z", **wish}
            assert limited.ask("POST", "/tokens", asked).status_code in {403, 404}, wish


def test_a_revoked_token_is_refused_at_once(admin: Person) -> None:
    """The very next request, on the same connection."""
    with admin.with_token("search", memories=None) as leaver:
        assert leaver.ask("GET", "/memories").status_code == 200
        admin.good("DELETE", f"/tokens/{leaver.token_id}")

        assert leaver.ask("GET", "/memories").status_code == 401


WILD = ["*", ">", "**", "%2A", "%3E", "..", ".", "-", "$SYS", "x--a", "a" * 41]
NO_TEXT = ["%00", "a%00b", f"{MEMORY}-shared%00", "%FF", "%ED%A0%80"]
NAMES = [f"{MEMORY}-{isolation}" for isolation in ISOLATIONS]
ALIKE = [alike for name in NAMES for alike in (name, name.upper(), f"{name}%20", f"%20{name}", f"\N{SMALL ROMAN NUMERAL FIVE}{name[1:]}")]
NESTED = [nested for name in NAMES for nested in (f"local%2F{name}", f"..%2F{name}", f"local.{name}", f"{name}%2Fevents")]
FORGED = st.sampled_from([*WILD, *NO_TEXT, *ALIKE, *NESTED]) | st.text(st.characters(codec="utf-8"), min_size=1, max_size=50).map(
    lambda name: quote(name, safe="")
)


def bodies(victim: Victim) -> dict[str, st.SearchStrategy[dict[str, Any]]]:
    """Bodies that try to reach the victim by its names, filters, cursors and visibility."""
    facets = st.fixed_dictionaries(
        {},
        optional={
            "session_id": st.just(victim.session_id) | st.just([victim.session_id, "*"]),
            "actor": st.just(CANARY),
            "kind": st.just(["message", "chunk"]),
            "metadata": st.dictionaries(
                st.sampled_from(["tenant", "memory", "scope"]), st.sampled_from(["local", victim.memory, "*"]), max_size=2
            ),
            "from": st.just("0001-01-02T00:00:00Z"),
        },
    )
    own = stream_of_own(Scope(Tenant(TENANT), MemoryName(victim.memory)))
    floors = st.dictionaries(st.sampled_from(["EVENTS_0", "RECORDS_0", "*", own]), st.integers(0, 3), max_size=2).map(visibility_token)
    visibility = floors | st.just(victim.visibility)
    queries = st.sampled_from(
        ["xylophone canary", "number 1", "*", "kept", "scope:*", 'a" OR "b', "tenant:local", "+canary~ ^9", "[* TO *]"]
    )
    asked = {"filter": facets, "min_visibility": visibility, "timeout_ms": st.just(100)}
    modes = {
        "mode": st.sampled_from(["hybrid", "lexical", "vector"]),
        "targets": st.just(["events", "documents"]) | st.just(["toc"]) | st.just(["events", "toc", "grips"]),
        "explain": st.booleans(),
    }
    return {
        "search": st.fixed_dictionaries({"query": queries}, optional={**asked, **modes, "limit": st.just(100)}),
        "context": st.fixed_dictionaries({"max_tokens": st.just(500)}, optional={**asked, "query": queries, "recent": st.just(200)}),
        "events.append": st.fixed_dictionaries(
            {"events": st.just([{"event_id": victim.event_id, "session_id": victim.session_id, "kind": "note", "text": "forged"}])}
        ),
        "documents.put": st.fixed_dictionaries({"document_id": st.just(victim.document_id), "text": st.just("# forged\n\nby another")}),
    }


@pytest.fixture(scope="module")
def forger(instance: Instance) -> Iterator[Person]:
    """An admin of a tenant of its own, who may make memories of any name, and by chance makes some that are the victim's."""
    with another_tenant(instance, "forgers") as person:
        yield person


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_request_of_another_tenant_brings_anything_of_the_victim_to_light(
    data: st.DataObject, admin: Person, forger: Person, victim: Victim, table: list[Operation]
) -> None:
    """Over the whole table, with forged names, ids, filters, cursors and visibility tokens."""
    operation = data.draw(st.sampled_from([one for one in table if one.name != "tokens.revoke"]))
    forged = data.draw(FORGED)
    path = operation.path.replace("{memory}", forged)
    for name, value in victim.ids.items():
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    path = path.replace("{dead_letter_id}", data.draw(st.sampled_from(["1", "0", "*", "-1"])))
    query = data.draw(st.sampled_from(["", f"cursor={quote(victim.cursor)}", f"session_id={victim.session_id}", "tenant=local"]))
    body = data.draw(bodies(victim).get(operation.name, st.just(operation.body)))

    answer = forger.ask(operation.method, f"{path}?{query}" if operation.method == "GET" and query else path, body)

    assert answer.status_code < 500, (operation.name, path, answer.text)
    assert CANARY not in answer.text, (operation.name, path, answer.text)
    said = json.dumps(body) + path
    assert [name for name in (victim.event_id, victim.token_id) if name in answer.text and name not in said] == []
    assert admin.ask("GET", f"{victim.path}/events/{victim.event_id}").json()["text"].startswith(CANARY)


def own_stream(victim: Victim) -> str:
    """The stream that the victim's memory has if it is dedicated."""
    return stream_of_own(Scope(Tenant(TENANT), MemoryName(victim.memory)))


def test_a_dedicated_memory_and_no_other_is_named_in_its_visibility_tokens(admin: Person, victim: Victim) -> None:
    """So that this tests what it says it does."""
    assert (list(visibility_floors(victim.visibility)) == [own_stream(victim)]) == (victim.isolation == "dedicated")
    assert admin.good("GET", victim.path)["isolation"] == victim.isolation


@pytest.mark.parametrize("reached", [0, 1, 10_000])
def test_how_far_a_dedicated_memory_is_cannot_be_asked_from_another(reached: int, admin: Person, stranger: Person, victim: Victim) -> None:
    """A token that names its stream is refused, whether it is there, has come so far or is not there at all."""
    paths = [(stranger, stranger.make_memory("curious")), (admin, admin.make_memory("curious", isolation="dedicated"))]
    for asker, path in paths:
        for where in ("search", "context"):
            said = []
            for stream in (own_stream(victim), own_stream(replace(victim, memory=ABSENT))):
                body = {"query": "anything", "min_visibility": visibility_token({stream: reached})}
                body |= {"max_tokens": 100} if where == "context" else {}
                answer = asker.ask("POST", f"{path}/{where}", body)
                assert answer.status_code == 422, answer.text
                said.append(told(answer))
            assert said[0] == said[1]


def test_a_memory_reads_its_own_visibility(admin: Person, victim: Victim) -> None:
    """And is told what was written before it."""
    found = admin.good("POST", f"{victim.path}/search", {"query": CANARY, "min_visibility": victim.visibility, "limit": 1})

    assert not found["stale"]
    assert CANARY in found["hits"][0]["text"]


def test_a_cursor_of_another_memory_is_refused(admin: Person, victim: Victim) -> None:
    """Of whichever kind the two are, and though both belong to the asker."""
    for isolation in ISOLATIONS:
        path = admin.make_memory(f"cursorless-{isolation}", isolation=isolation)
        assert admin.ask("GET", f"{path}/events?limit=1&cursor={quote(victim.cursor)}").status_code == 422
    assert admin.ask("GET", f"{victim.path}/events?limit=1&cursor={quote(victim.cursor)}").status_code == 200
