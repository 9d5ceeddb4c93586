"""Check 5 over NATS: what a token's user may do on the real broker, and what it meets there.

Belongs here: refusals by the broker and by the services behind it. Over HTTP: ``test_isolation``. A newcomer would get wrong: a refused
publish gets no answer at all; the broker complains on the connection, so tests flush and look there.
"""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from tests.platform.people import OTHER_TENANT, TENANT, Person
from tests.support.instance import wait_until
from tests.support.visitors import connected
from tests.support.waiting import until

from kalends.adapters.nats import NatsBus, open_nats
from kalends.domain.errors import Misconfigured
from kalends.domain.positions import stream_of_own, visibility_floors
from kalends.domain.scope import MemoryName, Scope, Tenant

CANARY = "marimbacanary"
MEMORY = "nats-memory"
SCOPE = Scope(Tenant(TENANT), MemoryName(MEMORY))
TRIES = 5
EVENTS = f"ev.v1.u.{SCOPE.slot}.{TENANT}.{MEMORY}"
OWN = "nats-own-memory"
OWN_STREAM = stream_of_own(Scope(Tenant(TENANT), MemoryName(OWN)))
OWN_EVENTS = f"ev.v1.s.{TENANT}.{OWN}"


@pytest.fixture(scope="module")
def memory(admin: Person) -> str:
    """A memory with one event in it, beside a dedicated one."""
    admin.remember(admin.make_memory(OWN, isolation="dedicated"), f"{CANARY} is alone")
    path = admin.make_memory(MEMORY)
    admin.remember(path, f"{CANARY} was here")
    return path


@pytest.fixture(scope="module")
def agent(admin: Person, memory: str) -> Iterator[Person]:
    """Somebody with a token for that memory alone."""
    with admin.with_token("append", "search", memories=[MEMORY]) as person:
        yield person


@contextlib.asynccontextmanager
async def platform_bus(person: Person) -> AsyncIterator[NatsBus]:
    """The bus as the platform itself has it; a broker that is just being given other users may refuse all of them for a moment."""
    config = json.loads((person.instance.data / "nats" / "broker.conf").read_bytes())
    ours = config["authorization"]["users"][0]
    async with contextlib.AsyncExitStack() as stack:
        opened: list[NatsBus] = []

        async def let_in() -> bool:
            with contextlib.suppress(Misconfigured):
                opened.append(await stack.enter_async_context(open_nats(url=person.nats_url, user=ours["user"], password=ours["password"])))
            return bool(opened)

        await until(let_in, deadline=10)
        yield opened[0]


async def stores_nothing(person: Person, act: Callable[[], Awaitable[None]]) -> bool:
    """Whether *act* can be done without any stream growing: the scheduler writes by itself now and then, but not every time."""
    for _ in range(TRIES):
        before = await stored(person)
        await act()
        if await stored(person) == before:
            return True
    return False


async def stored(person: Person) -> dict[str, object]:
    """The last sequence of every stream of the broker; what lands anywhere changes it."""
    async with platform_bus(person) as bus:
        manager = bus.connection.jetstream()
        return {str(info.config.name): info.state.last_seq for info in await manager.streams_info()}


async def flushed(client: Client) -> None:
    """Let the broker deal with everything that was sent, and say what it refuses."""
    for _ in range(2):
        await client.flush(timeout=5)


async def say(client: Client, words: bytes) -> None:
    """Send *words* of the protocol as they are; the client's own methods refuse what the broker might not."""
    await client._send_command(words)
    await client._flush_pending()


def hpub(subject: bytes, reply: str, headers: dict[str, str], body: bytes) -> bytes:
    """A message with headers, as it goes over the wire."""
    block = b"NATS/1.0\r\n" + b"".join(f"{name}: {value}\r\n".encode() for name, value in headers.items()) + b"\r\n"
    return b"HPUB %s %s %d %d\r\n%s%s\r\n" % (subject, reply.encode(), len(block), len(block) + len(body), block, body)


async def test_an_agent_asks_its_own_memory_over_nats(agent: Person) -> None:
    """With its token as password and credential, and its own inbox."""
    async with agent.on_nats() as client:
        answer = await agent.request(client, MEMORY, "search", {"query": CANARY})

    assert answer.headers is not None
    assert answer.headers["Kalends-Status"] == "200"
    assert CANARY in json.loads(answer.data)["hits"][0]["text"]


async def test_an_agent_asks_its_own_dedicated_memory_over_nats_and_no_other_does(admin: Person, agent: Person, stranger: Person) -> None:
    """What is written and found there is in that memory's stream, and whoever has another memory is told that there is none."""
    with admin.with_token("append", "search", memories=[OWN]) as owner:
        async with owner.on_nats() as client:
            body = {"events": [{"session_id": "s", "kind": "message", "text": f"{CANARY} over the wire"}]}
            written = json.loads((await owner.request(client, OWN, "events.append", body)).data)
            seen = await owner.request(client, OWN, "search", {"query": CANARY, "min_visibility": written["visibility"]})
    assert set(visibility_floors(written["visibility"])) == {OWN_STREAM}
    assert all(CANARY in hit["text"] for hit in json.loads(seen.data)["hits"])

    async with platform_bus(admin) as bus:
        for other in (agent, stranger):
            headers = {"Authorization": f"Bearer {other.token}"}
            answer = await bus.connection.request(f"kalends.v1.{TENANT}.{OWN}.search", b'{"query": "x"}', timeout=10, headers=headers)
            absent = await bus.connection.request(f"kalends.v1.{TENANT}.absent.search", b'{"query": "x"}', timeout=10, headers=headers)
            assert (answer.headers or {})["Nats-Service-Error-Code"] == "404"
            assert CANARY not in answer.data.decode()
            assert (answer.headers or {})["Nats-Service-Error"] == (absent.headers or {})["Nats-Service-Error"]


async def test_an_agent_reads_the_calendar_of_its_memory_over_nats_and_of_no_other(admin: Person, stranger: Person) -> None:
    """Nodes, what lies below them and what proves them; ids and options are members of the body."""
    path = admin.make_memory("nats-calendar")
    day = "toc:day:2020-05-06"
    admin.remember(path, f"The {CANARY} was tuned before the concert.", occurred_at="2020-05-06T12:00:00Z")
    assert wait_until(lambda: admin.ask("GET", f"{path}/toc/toc:year:2020").status_code == 200, seconds=60)
    with admin.with_token("search", memories=["nats-calendar"]) as reader:
        async with reader.on_nats() as client:

            async def ask(subject: str, body: dict[str, object]) -> Msg:
                return await reader.request(client, "nats-calendar", subject, body)

            (year,) = json.loads((await ask("toc.list", {"limit": 1})).data)["items"]
            below = json.loads((await ask("toc.children", {"node": year["node_id"]})).data)
            node = json.loads((await ask("toc.get", {"node": day, "version": 1})).data)
            grip = node["bullets"][0]["grips"][0]
            expanded = json.loads((await ask("grips.expand", {"grip_id": grip["grip_id"], "before": 0})).data)
            missing = await ask("toc.get", {"node": "toc:day:2020-05-07"})
            nameless = await ask("toc.get", {})

    assert below["items"][0]["node_id"] == "toc:month:2020-05"
    assert CANARY in grip["excerpt"]
    assert [event["event_id"] for event in expanded["span"]] == [grip["first_event_id"]]
    assert ((missing.headers or {})["Nats-Service-Error-Code"], (nameless.headers or {})["Nats-Service-Error-Code"]) == ("404", "422")
    async with platform_bus(admin) as bus:
        headers = {"Authorization": f"Bearer {stranger.token}"}
        for subject, body in (("toc.get", {"node": day}), ("toc.list", {}), ("grips.expand", {"grip_id": grip["grip_id"]})):
            asked = f"kalends.v1.{TENANT}.nats-calendar.{subject}"
            answer = await bus.connection.request(asked, json.dumps(body).encode(), timeout=10, headers=headers)
            assert (answer.headers or {})["Nats-Service-Error-Code"] == "404"
            assert CANARY not in answer.data.decode()


EVERYTHING = [">", "*", "*.>", "*.*.*.*", "_INBOX.>", "_INBOX_*.>"]
STORES = ["ev.>", "ev.v1.u.*.*.*", OWN_EVENTS, "rec.>", "key.>", "dead.>", "$JS.>", "$JS.API.>", "$SYS.>", "$SRV.>"]
REQUESTS = ["kalends.>", f"kalends.v1.{TENANT}.{MEMORY}.>", f"kalends.v1.{TENANT}.*.out.>", f"kalends.v1.{OTHER_TENANT}.>"]


@pytest.mark.parametrize("subject", [*EVERYTHING, *STORES, *REQUESTS])
async def test_an_agent_listens_to_nothing_but_its_inbox(agent: Person, admin: Person, subject: str) -> None:
    """The broker refuses the subscription, and nothing arrives on it while others talk."""
    errors: list[str] = []
    heard: list[object] = []

    async def hear(message: object) -> None:
        heard.append(message)

    async with agent.on_nats(errors=errors) as client:
        client._subs[77] = await client.subscribe(f"_INBOX_{agent.token_id}.unused", cb=hear)
        await say(client, f"SUB {subject} 77\r\n".encode())
        await flushed(client)
        admin.remember(f"/memories/{MEMORY}", "said while somebody listens")
        await flushed(client)

        assert any("permissions violation for subscription" in error.lower() for error in errors), errors
        assert heard == []


async def test_an_agent_does_not_listen_to_another_ones_inbox(admin: Person, agent: Person) -> None:
    """Nor does a longer or shorter prefix help."""
    with admin.with_token("search", memories=[MEMORY]) as other:
        for subject in (
            f"_INBOX_{other.token_id}.>",
            f"_INBOX_{agent.token_id}",
            f"_INBOX_{agent.token_id}x.>",
            f"_INBOX_{agent.token_id[:-1]}.>",
        ):
            errors: list[str] = []
            async with agent.on_nats(errors=errors) as client:
                await client.subscribe(subject)
                await flushed(client)

            assert any("permissions violation for subscription" in error.lower() for error in errors), (subject, errors)


RECORDS = [EVENTS, OWN_EVENTS, "ev.v1.u.1.x.y", "rec.v1.token.x.y", "key.v1.x", "dead.v1.x"]
OF_STREAMS = [
    "$JS.API.STREAM.PURGE.EVENTS_0",
    "$JS.API.STREAM.DELETE.EVENTS_0",
    f"$JS.API.STREAM.DELETE.{OWN_STREAM}",
    f"$JS.API.DIRECT.GET.{OWN_STREAM}",
    "$JS.API.CONSUMER.DELETE.EVENTS_0.lexical-g1",
    "$JS.API.STREAM.MSG.GET.EVENTS_0",
    "$JS.API.DIRECT.GET.RECORDS_0",
    "$JS.API.INFO",
    "$JS.ACK.EVENTS_0.lexical-g1.1.1.1.1.0",
]
OF_THE_SYSTEM = ["$SYS.REQ.SERVER.PING", "$SRV.PING", "$SRV.INFO"]
OF_OTHERS = [f"kalends.v1.{OTHER_TENANT}.{MEMORY}.search", f"kalends.v1.{TENANT}.another-memory.search"]
MISSHAPEN = [f"kalends.v1.{TENANT}.{MEMORY}", f"kalends.v1.{TENANT}", "kalends.v2.a.b.search"]


@pytest.mark.parametrize("subject", [*RECORDS, *OF_STREAMS, *OF_THE_SYSTEM, *OF_OTHERS, *MISSHAPEN])
async def test_an_agent_publishes_nowhere_but_below_its_memory(agent: Person, subject: str) -> None:
    """The broker refuses the message, and no stream has grown."""

    async def publish() -> None:
        errors: list[str] = []
        async with agent.on_nats(errors=errors) as client:
            await client.publish(subject, b"", headers={"Authorization": f"Bearer {agent.token}", "Nats-Msg-Id": "forged"})
            await flushed(client)
            assert any("permissions violation for publish" in error.lower() for error in errors), errors

    assert await stores_nothing(agent, publish)


@pytest.mark.parametrize(
    "reply",
    [
        EVENTS,
        OWN_EVENTS,
        f"$JS.API.STREAM.INFO.{OWN_STREAM}",
        "rec.v1.token.x.y",
        "key.v1.x",
        "dead.v1.x",
        "$JS.API.STREAM.PURGE.EVENTS_0",
        "$JS.API.STREAM.INFO.EVENTS_0",
        "$SRV.PING",
    ],
)
async def test_an_answer_goes_to_an_inbox_or_nowhere(agent: Person, reply: str) -> None:
    """The services may publish anywhere and the caller names where the answer goes, so the services must look."""

    async def ask() -> None:
        async with agent.on_nats() as client:
            headers = {"Authorization": f"Bearer {agent.token}"}
            await client.publish(f"kalends.v1.{TENANT}.{MEMORY}.search", b'{"query": "anything"}', reply=reply, headers=headers)
            await flushed(client)
            # requests of one subscription are begun in order, so once this one is answered the one before was begun
            for _ in range(3):
                await agent.request(client, MEMORY, "search", {"query": "anything"})

    assert await stores_nothing(agent, ask)


async def test_an_answer_does_not_go_to_somebody_elses_inbox(admin: Person, agent: Person, memory: str) -> None:
    """Or one agent could make another believe answers to questions that it did not ask."""
    heard: list[bytes] = []
    with admin.with_token("search", memories=[MEMORY]) as other:
        async with other.on_nats() as theirs, agent.on_nats() as client:

            async def hear(message: object) -> None:
                heard.append(b"")

            await theirs.subscribe(f"_INBOX_{other.token_id}.forged", cb=hear)
            await flushed(theirs)
            headers = {"Authorization": f"Bearer {agent.token}"}
            subject = f"kalends.v1.{TENANT}.{MEMORY}.search"
            await client.publish(subject, b'{"query": "anything"}', reply=f"_INBOX_{other.token_id}.forged", headers=headers)
            for _ in range(3):
                await agent.request(client, MEMORY, "search", {"query": "anything"})
            await flushed(theirs)

    assert heard == []


async def test_the_services_look_at_the_token_and_not_only_at_the_subject(admin: Person, agent: Person, stranger: Person) -> None:
    """Whoever may publish somewhere must still hold a token for it: another tenant's is a 404, none a 401."""
    async with platform_bus(admin) as bus:
        client = bus.connection
        subject = f"kalends.v1.{TENANT}.{MEMORY}.search"
        for token, status in ((stranger.token, "404"), ("kal_unknown", "401"), (None, "401"), (agent.token, None)):
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            answer = await client.request(subject, b'{"query": "anything"}', timeout=10, headers=headers or None)

            assert (answer.headers or {}).get("Nats-Service-Error-Code") == status, answer.data
            assert status is None or CANARY not in answer.data.decode()


async def test_a_memory_that_is_not_the_tokens_is_404_as_one_that_does_not_exist(admin: Person, memory: str) -> None:
    """With the same body, apart from its own name and the request's id."""
    with admin.with_token("append", "search", memories=None) as asker:
        async with asker.on_nats() as client, platform_bus(admin) as bus:
            missing = json.loads((await asker.request(client, "no-such-memory", "search", {"query": "x"})).data)
        with admin.with_token("append", "search", memories=["some-other-memory"]) as limited:
            async with platform_bus(admin) as bus:
                bodies = []
                for name in (MEMORY, "absnt-memor"):
                    headers = {"Authorization": f"Bearer {limited.token}"}
                    told = await bus.connection.request(
                        f"kalends.v1.{TENANT}.{name}.search", b'{"query": "x"}', timeout=10, headers=headers
                    )
                    bodies.append({**json.loads(told.data.decode().replace(name, "…")), "request_id": ""})

    assert missing["status"] == 404
    assert bodies[0] == bodies[1]
    assert bodies[0]["status"] == 404


FORGED = [
    b"*",
    b">",
    b"x--a",
    b"%2A",
    MEMORY.upper().encode(),
    b"a" * 300,
    b"\xff",
    b"\xed\xa0\x80",
    b"a\x00b",
    b"a\x0bb",
    b"..",
    b"",
    b"$SYS",
]
ENDINGS = [b"search", b"events.list", b"events.append", b"*", b">"]


async def test_a_forged_memory_in_the_subject_gives_no_answer_or_a_problem(stranger: Person) -> None:
    """Wildcards, digests, NUL and bytes that are no text, past the checks of a well-behaved client: none of them is somebody's memory."""
    heard: list[Msg] = []

    async def hear(message: Msg) -> None:
        heard.append(message)

    async with stranger.on_nats() as client:
        await client.subscribe(f"_INBOX_{stranger.token_id}.>", cb=hear)
        for memory in FORGED:
            # where nobody listens, the broker quotes the subject to us, and this side's client cannot read every subject either
            for ending in ENDINGS if memory.isascii() else ENDINGS[:1]:
                subject = b"kalends.v1.%s.%s.%s" % (OTHER_TENANT.encode(), memory, ending)
                await say(client, hpub(subject, f"_INBOX_{stranger.token_id}.r", {"Authorization": f"Bearer {stranger.token}"}, b"{}"))
        await flushed(client)
        for _ in range(3):
            await stranger.request(client, "no-such-memory", "search", {"query": "x"})

    statuses = [(message.headers or {}).get("Nats-Service-Error-Code", (message.headers or {}).get("Status")) for message in heard]
    assert statuses
    assert set(statuses) <= {"400", "404", "422", "503"}  # 503: the broker says that nobody listens there
    assert not any(CANARY.encode() in message.data for message in heard)


UNREADABLE = [
    (b"kalends.v1.local.\xff.search", b".r", b"NATS/1.0\r\n\r\n"),
    (b"kalends.v1.local.nats-memory.search", b".\xff", b"NATS/1.0\r\n\r\n"),
    (b"kalends.v1.local.nats-memory.search", b".r", b"NATS/1.0 503 \xff\r\n\r\n"),
    (b"kalends.v1.local.nats-memory.search", b".r", b"NATS/1.0"),
    (b"kalends.v1.local.nats-memory.search", b".r", b"\r\n\r\n"),
    (b"kalends.v1.local.nats-memory.search", b".r\x0b9\x0c9", b"NATS/1.0\r\n\r\n"),
    (b"kalends.v1.local.a\x0b1\x0bb.search", b".r", b"NATS/1.0\r\n\r\n"),
    (b"kalends.v1.local.a\x0bb.search", b"", b""),
]


@pytest.mark.parametrize(("subject", "reply", "headers"), UNREADABLE)
async def test_a_message_that_is_no_text_stops_nobody(admin: Person, memory: str, subject: bytes, reply: bytes, headers: bytes) -> None:
    """The platform goes on hearing the broker, for the sender as for everybody else."""
    with admin.with_token("search", memories=None) as rogue:
        async with rogue.on_nats() as client:
            inbox = f"_INBOX_{rogue.token_id}".encode() + reply if reply else b""
            verb = b"HPUB %s %s %d %d" % (subject, inbox, len(headers), len(headers) + 2) if headers else b"PUB %s %s 2" % (subject, inbox)
            await say(client, verb + b"\r\n" + headers + b"{}\r\n")
            await flushed(client)
            answer = await rogue.request(client, MEMORY, "search", {"query": CANARY})

    assert answer.headers is not None
    assert answer.headers["Kalends-Status"] == "200"
    assert admin.remember(memory, "written afterwards")


async def test_a_revoked_token_is_cut_off_from_the_broker(admin: Person) -> None:
    """Its connection ends, and it cannot come back; meanwhile the services refuse it already."""
    with admin.with_token("search", memories=[MEMORY]) as leaver:
        async with leaver.on_nats() as client:
            assert (await leaver.request(client, MEMORY, "search", {"query": "x"})).headers is not None
            admin.good("DELETE", f"/tokens/{leaver.token_id}")
            with contextlib.suppress(nats.errors.Error):  # it may be cut off already
                answer = await leaver.request(client, MEMORY, "search", {"query": "x"})
                assert (answer.headers or {})["Nats-Service-Error-Code"] == "401"
            await until(lambda: not client.is_connected, deadline=10)
        with pytest.raises(nats.errors.Error, match=r"(?i)authorization"):
            async with connected(admin.nats_url, [], user=leaver.token_id, password=leaver.token):
                pass


async def test_nobody_without_a_token_connects_to_the_broker(admin: Person, agent: Person) -> None:
    """No anonymous user, no guessed password, no token in place of a user."""
    ways: list[dict[str, str | None]] = [
        {},
        {"user": agent.token_id, "password": "guess"},
        {"token": agent.token},
        {"user": agent.token_id},
    ]
    for way in ways:
        with pytest.raises(nats.errors.Error):
            async with connected(admin.nats_url, [], **way):
                pass
