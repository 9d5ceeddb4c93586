"""The attack suite: every route and every subject against every credential that should open nothing.

Belongs here: credentials that are missing, over, forged, stolen or somebody else's, over HTTP and over NATS, each refused with the right
status, counted by its reason, and without a byte of others. What an honest token of the wrong tenant meets is ``test_isolation`` and
``test_isolation_nats``. A newcomer would get wrong: the canary is in every answer's reach and in none; every answer of an attacker is kept,
and looked through at the end of its test.
"""

import asyncio
import base64
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import nats.errors
import pytest
from nats.aio.client import Client
from tests.platform import samples
from tests.platform.people import OTHER_TENANT, TENANT, Person, described
from tests.platform.samples import Operation
from tests.platform.test_isolation_nats import flushed, platform_bus
from tests.support.instance import Instance, wait_until
from tests.support.issuers import AUDIENCE, SigningKey, claims, confused, forged, tampered
from tests.support.visitors import connected
from tests.support.waiting import until

from kalends.client.agents import SIGNED_PREFIX
from kalends.domain.credentials import new_token
from kalends.kit import nkeys
from kalends.kit.nkeys import KeyPair

CANARY = "theremincanary"
MEMORY = "attacked"
ISSUER = "https://issuer.example"
KEY, STRANGER = SigningKey("ES256"), SigningKey("ES256")


@dataclass(kw_only=True)
class Scene:
    """An instance that trusts an issuer, and what is in it that nobody else may see."""

    instance: Instance
    admin: Person
    path: str
    ids: Mapping[str, str]
    cursor: str
    visibility: str
    table: list[Operation]

    @property
    def closed(self) -> list[Operation]:
        """The operations that want a credential."""
        return [one for one in self.table if not one.open]

    def refusals(self) -> dict[str, float]:
        """How many calls were refused, by reason, as the metrics say."""
        text = httpx.get(f"{self.instance.ops_url}/metrics", trust_env=False, headers={"accept": "text/plain"}).text
        found = re.findall(r'^kalends_refused_total\{reason="([a-z_]+)"\} ([0-9.e+]+)', text, re.MULTILINE)
        return {reason: float(count) for reason, count in found}


@dataclass(kw_only=True)
class Attacker:
    """Asks and keeps every answer."""

    scene: Scene
    answers: list[bytes] = field(default_factory=list)

    def ask(self, operation: Operation, credential: str | None, *, memory: str = MEMORY, body: Any = None, **ids: str) -> httpx.Response:
        """One request with that Authorization header."""
        headers = {"content-type": "application/json"} | ({} if credential is None else {"authorization": credential})
        sent = operation.body if body is None else body
        content = None if sent is None else json.dumps(sent).encode()
        url = f"{self.scene.instance.url}/v1{operation.at(memory=memory, **ids)}"
        answer = self._client.request(operation.method, url, content=content, headers=headers)
        self.answers.append(answer.content + str(answer.headers).encode())
        return answer

    def __enter__(self) -> Self:
        self._client = httpx.Client(timeout=40.0, trust_env=False)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        assert [answer for answer in self.answers if CANARY.encode() in answer] == []


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, prepared: Callable[[Path], Path]) -> Iterator[Scene]:
    """An instance of its own, with an issuer of both tenants' tokens, and a memory full of canaries."""
    folder = tmp_path_factory.mktemp("attacks")
    (folder / "keys.json").write_text(json.dumps({"keys": [KEY.jwk]}))
    issuer = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "jwks_file": str(folder / "keys.json"),
        "tenant_claim": "tenant",
        "tenants": [TENANT, OTHER_TENANT],
        "memories_claim": "memories",
        "rights_claim": "roles",
        "labels": ["*"],
        "leeway_s": 0,
    }
    settings = {"KALENDS_OIDC__ISSUERS": json.dumps([issuer])}
    with Instance(prepared(folder / "data"), settings=settings) as instance:
        instance.start()
        with Person(instance, instance.token) as admin:
            yield planted(instance, admin)
        assert CANARY not in instance.logs
        assert instance.terminate() == 0


def planted(instance: Instance, admin: Person) -> Scene:
    """A memory, a session, a document, an agent and a token, all with the canary in them."""
    path = admin.make_memory(MEMORY)
    ids = admin.remember(path, *[f"{CANARY} number {number}" for number in range(3)], session_id="s1", actor=CANARY)
    kept = admin.ask("POST", f"{path}/documents", {"document_id": "d1", "text": f"# {CANARY}"}, headers={"prefer": "wait=30"})
    assert kept.status_code == 200, kept.text
    agent = admin.good(
        "POST", "/agents", {"public_key": nkeys.new_pair("user").public, "memories": [MEMORY], "role": "reader", "label": CANARY}
    )
    token = admin.good("POST", "/tokens", {"memories": [MEMORY], "role": "reader", "label": CANARY})
    return Scene(
        instance=instance,
        admin=admin,
        path=path,
        ids={"event_id": ids[0], "session_id": "s1", "document_id": "d1", "agent_id": agent["id"], "token_id": token["id"]},
        cursor=admin.good("GET", f"{path}/events?limit=1")["next_cursor"],
        visibility=kept.json()["visibility"],
        table=samples.operations(described(admin)),
    )


def identity(key: SigningKey = KEY, **changes: Any) -> str:
    """A token of the issuer: an admin of the attacked tenant, but for *changes*."""
    return key.sign(good(**changes))


def good(**changes: Any) -> dict[str, Any]:
    """Claims of an admin of the attacked tenant, but for *changes*."""
    return claims(ISSUER, **{"tenant": TENANT, "memories": ["*"], "roles": ["admin"], **changes})


def log_in(scene: Scene, pair: KeyPair, *, nonce: str | None = None, signer: KeyPair | None = None) -> httpx.Response:
    """Ask for a session as an agent does."""
    with Person(scene.instance, None) as nobody:
        given = nonce or nobody.good("POST", "/auth/nonce", {"public_key": pair.public})["nonce"]
        signature = (signer or pair).sign(SIGNED_PREFIX + given.encode())
        text = base64.urlsafe_b64encode(signature).decode().rstrip("=")
        return nobody.ask("POST", "/auth/session", {"public_key": pair.public, "nonce": given, "signature": text})


def registered(scene: Scene, *, role: str = "writer", memories: list[str] | None = None) -> tuple[KeyPair, str]:
    """An agent of the attacked tenant, and its id."""
    pair = nkeys.new_pair("user")
    made = scene.admin.good("POST", "/agents", {"public_key": pair.public, "memories": memories or [MEMORY], "role": role})
    return pair, made["id"]


def no_token(scene: Scene) -> str | None:
    """Nothing at all."""
    return None


def over(scene: Scene, end: Callable[[Person], None], **more: object) -> str:
    """A token of the attacked tenant that was good, until *end*."""
    with scene.admin.with_token("admin", memories=None, **more) as past:
        assert past.ask("GET", "/memories").status_code == 200
        end(past)
        assert wait_until(lambda: past.ask("GET", "/memories").status_code == 401, seconds=10)
        return f"Bearer {past.token}"


def expired(scene: Scene) -> str:
    """Its time is over."""
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
    return over(scene, lambda _: None, expires_at=soon)


def revoked(scene: Scene) -> str:
    """Somebody took it back."""
    return over(scene, lambda past: scene.admin.good("DELETE", f"/tokens/{past.token_id}"))


def rotated(scene: Scene) -> str:
    """Its successor is in use, and the overlap is over."""
    return over(scene, lambda past: scene.admin.good("POST", f"/tokens/{past.token_id}/rotate", {"overlap_s": 0}))


def session_of_the_revoked(scene: Scene) -> str:
    """A bearer that outlived its agent."""
    pair, agent_id = registered(scene, role="admin")
    bearer = log_in(scene, pair).json()["token"]
    scene.admin.good("DELETE", f"/agents/{agent_id}")
    return f"Bearer {bearer}"


def forged_session(scene: Scene) -> str:
    """A bearer with another agent's id in it."""
    bearer = str(log_in(scene, registered(scene, role="admin")[0]).json()["token"])
    raw = bytearray(base64.urlsafe_b64decode(bearer.removeprefix("kas_") + "=="))
    raw[24:50] = str(scene.ids["agent_id"]).encode()
    return "Bearer kas_" + base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")


CREDENTIALS: dict[str, tuple[str, Callable[[Scene], str | None]]] = {
    "no token": ("no_credential", no_token),
    "another scheme": ("no_credential", lambda _: "Basic " + base64.b64encode(b"admin:admin").decode()),
    "unknown token": ("unknown", lambda _: f"Bearer {new_token()}"),
    "expired token": ("expired", expired),
    "revoked token": ("revoked", revoked),
    "rotated token": ("expired", rotated),
    "session of a revoked agent": ("revoked", session_of_the_revoked),
    "forged session": ("unknown", forged_session),
    "tampered jwt": ("signature", lambda _: "Bearer " + tampered(identity(roles=["reader"]), roles=["admin"])),
    "jwt with alg none": ("algorithm", lambda _: "Bearer " + forged({"alg": "none", "kid": "k1"}, good())),
    "jwt with the public key as a secret": ("algorithm", lambda _: "Bearer " + confused(KEY, good())),
    "jwt of another key": ("signature", lambda _: "Bearer " + identity(STRANGER)),
    "jwt of an unknown key": ("key", lambda _: "Bearer " + STRANGER.sign(good(), kid="k9", jwk=STRANGER.jwk)),
    "jwt of another issuer": ("issuer", lambda _: "Bearer " + identity(iss="https://elsewhere.example")),
    "jwt for another audience": ("audience", lambda _: "Bearer " + identity(aud="another-service")),
    "expired jwt": ("expired", lambda _: "Bearer " + identity(iat=int(time.time()) - 900, exp=int(time.time()) - 600)),
    "jwt that is not valid yet": ("not_yet", lambda _: "Bearer " + identity(nbf=int(time.time()) + 600)),
    "jwt of a tenant that the issuer may not name": ("tenant", lambda _: "Bearer " + identity(tenant="third")),
    "jwt without a tenant": ("tenant", lambda _: "Bearer " + identity(tenant=None)),
}
"""By name: the reason that is counted, and how to get one."""


@pytest.mark.parametrize("attack", CREDENTIALS)
def test_every_route_refuses_a_credential_that_is_none(scene: Scene, attack: str) -> None:
    """401 on each, the same body for what exists as for what does not, and each counted under its reason."""
    reason, make = CREDENTIALS[attack]
    credential = make(scene)
    before = scene.refusals().get(reason, 0.0)
    with Attacker(scene=scene) as attacker:
        for operation in scene.closed:
            real = attacker.ask(operation, credential, **scene.ids)
            unreal = attacker.ask(operation, credential, memory="absent")
            assert real.status_code == 401, (operation.name, real.text)
            assert unaddressed(real) == unaddressed(unreal)
        asked = len(attacker.answers)

    assert scene.refusals()[reason] - before == asked


def unaddressed(answer: httpx.Response) -> tuple[int, str, dict[str, str]]:
    """An answer without what differs between any two: the request's id and the time."""
    headers = {name: value for name, value in answer.headers.items() if name not in {"date", "x-request-id"}}
    return answer.status_code, re.sub(r'"request_id":"[^"]*"', "", answer.text), headers


@pytest.mark.parametrize("whose", ["another tenant", "other memories"])
def test_every_route_of_a_memory_is_absent_for_others(scene: Scene, whose: str) -> None:
    """404, with the body of a memory that does not exist, whatever rights the others have."""
    claimed = {"tenant": OTHER_TENANT} if whose == "another tenant" else {"memories": ["elsewhere"]}
    credential = "Bearer " + KEY.sign({**good(), **claimed})
    before, refused = sum(scene.refusals().values()), 0
    with Attacker(scene=scene) as attacker:
        for operation in scene.closed:
            if not operation.of_memory or (whose == "another tenant" and operation.name == "memories.create"):
                continue
            ids = {name: value for name, value in scene.ids.items() if name in operation.path}
            real = attacker.ask(operation, credential, **ids)
            unreal = attacker.ask(operation, credential, memory="absentee", **ids)
            assert same_but(real, MEMORY) == same_but(unreal, "absentee")
            assert real.status_code == 404, (operation.name, real.text)
            refused += 2

    assert sum(scene.refusals().values()) - before == refused


def same_but(answer: httpx.Response, name: str) -> tuple[int, str, dict[str, str]]:
    """An answer without the name that the asker said itself."""
    status, text, headers = unaddressed(answer)
    return status, text.replace(name, "…"), {key: value for key, value in headers.items() if key != "content-length"}


def test_guessed_ids_are_absent_for_another_tenant(scene: Scene) -> None:
    """In a memory of its own of the same name, and where no memory is named."""
    credential = "Bearer " + identity(tenant=OTHER_TENANT)
    with Attacker(scene=scene) as attacker:
        create = next(one for one in scene.table if one.name == "memories.create")
        assert attacker.ask(create, credential).is_success
        for operation in scene.closed:
            if not any(f"{{{name}}}" in operation.path for name in scene.ids):
                continue
            answer = attacker.ask(operation, credential, **scene.ids)
            if operation.name == "sessions.end":
                # accepted for any name: what there is, and what there never was, are answered alike
                never = attacker.ask(operation, credential, **{**scene.ids, "session_id": "never"})
                assert same_but(answer, scene.ids["session_id"])[:2] == same_but(never, "never")[:2]
                continue
            assert answer.status_code == 404, (operation.name, answer.text)
    known = scene.admin
    assert known.good("GET", f"{scene.path}/events/{scene.ids['event_id']}")["text"].startswith(CANARY)
    assert scene.ids["agent_id"] in {agent["id"] for agent in known.good("GET", "/agents")["items"]}
    assert scene.ids["token_id"] in {token["id"] for token in known.good("GET", "/tokens")["items"]}


NAMES = [
    "*",
    ">",
    "**",
    ".a",
    "$SYS",
    "x--A",
    "a" * 41,
    "a\0b",
    f"{MEMORY}\0",
    MEMORY.upper(),
    f" {MEMORY}",
    f"{TENANT}/{MEMORY}",
    "_",
    "é",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_forged_name_of_a_memory_leads_nowhere(scene: Scene, name: str) -> None:
    """Wildcards, NUL, other cases and paths are refused; none of them is somebody's memory."""
    credential = "Bearer " + identity(tenant=OTHER_TENANT)
    with Attacker(scene=scene) as attacker:
        for operation in scene.closed:
            if operation.of_memory:
                answer = attacker.ask(operation, credential, memory=name, **scene.ids)
                assert answer.status_code in {400, 404, 422}, (operation.name, answer.text)


def test_a_cursor_and_a_visibility_of_another_tenant_open_nothing(scene: Scene) -> None:
    """They are names of places, and no keys."""
    with Person(scene.instance, identity(tenant=OTHER_TENANT), tenant=OTHER_TENANT) as other:
        own = other.make_memory("own")
        other.remember(own, "nothing but this")
        for path in (f"{own}/events?cursor={scene.cursor}", f"{own}/sessions?cursor={scene.cursor}"):
            answer = other.ask("GET", path)
            assert CANARY not in answer.text
            assert answer.status_code in {200, 422}
        found = other.ask("POST", f"{own}/search", {"query": CANARY, "min_visibility": scene.visibility, "timeout_ms": 200})
        assert CANARY not in found.text.replace(f'"query":"{CANARY}"', "")


def test_a_nonce_that_was_used_or_is_anothers_gives_no_session(scene: Scene) -> None:
    """Each with 401, one text, and a count of its own."""
    pair, _ = registered(scene)
    other, _ = registered(scene)
    with Person(scene.instance, None) as nobody:
        nonces = [nobody.good("POST", "/auth/nonce", {"public_key": one.public})["nonce"] for one in (pair, other, pair)]
    before = scene.refusals()
    assert log_in(scene, pair, nonce=nonces[0]).status_code == 200
    refused = {
        "replayed_nonce": log_in(scene, pair, nonce=nonces[0]),
        "foreign_nonce": log_in(scene, pair, nonce=nonces[1]),
        "signature": log_in(scene, pair, nonce=nonces[2], signer=other),
        "unknown_agent": log_in(scene, nkeys.new_pair("user")),
    }

    assert {answer.status_code for answer in refused.values()} == {401}
    assert len({answer.json()["detail"] for answer in refused.values()}) == 1
    after = scene.refusals()
    assert {reason: after[reason] - before.get(reason, 0.0) for reason in refused} == dict.fromkeys(refused, 1.0)


@contextlib.asynccontextmanager
async def on_nats(scene: Scene, pair: KeyPair, agent_id: str, errors: list[str]) -> AsyncIterator[Client]:
    """A connection to the broker with an agent's key."""
    async with asyncio.timeout(15), contextlib.AsyncExitStack() as stack:
        while True:
            try:
                how = {"nkeys_seed_str": pair.seed, "inbox_prefix": f"_INBOX_{agent_id}"}
                client = await stack.enter_async_context(connected(scene.admin.nats_url, errors, **how))
                break
            except nats.errors.Error:
                # the broker is told of new users only twice a second
                errors.clear()
                await asyncio.sleep(0)
        yield client


async def test_an_agents_key_opens_the_broker_for_its_own_memory(scene: Scene) -> None:
    """One key for NATS and for the session that the request carries; an answer comes to its own inbox."""
    pair, agent_id = registered(scene)
    bearer = log_in(scene, pair).json()["token"]
    async with on_nats(scene, pair, agent_id, []) as client:
        subject = f"kalends.v1.{TENANT}.{MEMORY}.search"
        answer = await client.request(subject, b'{"query": "number"}', timeout=10, headers={"Authorization": f"Bearer {bearer}"})

    assert (answer.headers or {})["Kalends-Status"] == "200"
    assert CANARY in answer.data.decode()


HEARD = [
    ">",
    "_INBOX.>",
    "*.>",
    "kalends.>",
    f"kalends.v1.{TENANT}.{MEMORY}.>",
    "$JS.API.>",
    "$SYS.>",
    "$SRV.>",
    "ev.>",
    "rec.>",
    "key.>",
]
SAID = [
    f"kalends.v1.{OTHER_TENANT}.{MEMORY}.search",
    f"kalends.v1.{TENANT}.another.search",
    "$JS.API.STREAM.PURGE.EVENTS_0",
    "$JS.API.INFO",
    "$SYS.REQ.SERVER.PING",
    "rec.v1.agent.x.y",
    "ev.v1.u.1.x.y",
]


async def test_an_agents_key_opens_nothing_else_of_the_broker(scene: Scene) -> None:
    """Each subscription and each publication is refused by the broker, one complaint each."""
    pair, agent_id = registered(scene)
    _, other_id = registered(scene)
    for subject in [*HEARD, f"_INBOX_{other_id}.>"]:
        errors: list[str] = []
        async with on_nats(scene, pair, agent_id, errors) as client:
            await client.subscribe(subject)
            await flushed(client)
        assert any("permissions violation for subscription" in error.lower() for error in errors), (subject, errors)
    for subject in SAID:
        errors = []
        async with on_nats(scene, pair, agent_id, errors) as client:
            await client.publish(subject, b"")
            await flushed(client)
        assert any("permissions violation for publish" in error.lower() for error in errors), (subject, errors)


async def test_a_revoked_agents_key_opens_the_broker_no_more(scene: Scene) -> None:
    """Its connection ends, and it gets no other."""
    pair, agent_id = registered(scene)
    async with on_nats(scene, pair, agent_id, []) as client:
        scene.admin.good("DELETE", f"/agents/{agent_id}")
        await until(lambda: not client.is_connected, deadline=15)
    with pytest.raises(nats.errors.Error):
        async with connected(scene.admin.nats_url, [], nkeys_seed_str=pair.seed, inbox_prefix=f"_INBOX_{agent_id}"):
            pass


@pytest.mark.parametrize("attack", CREDENTIALS)
async def test_every_subject_refuses_a_credential_that_is_none(scene: Scene, attack: str) -> None:
    """Also where the broker lets the message through: the service looks at the credential itself."""
    reason, make = CREDENTIALS[attack]
    credential = await asyncio.to_thread(make, scene)
    before = scene.refusals().get(reason, 0.0)
    subjects = [one.subject for one in scene.closed if one.subject]
    async with platform_bus(scene.admin) as bus:
        for subject in subjects:
            headers = None if credential is None else {"Authorization": credential}
            answer = await bus.connection.request(f"kalends.v1.{TENANT}.{MEMORY}.{subject}", b"{}", timeout=10, headers=headers)
            assert (answer.headers or {}).get("Nats-Service-Error-Code") == "401", (subject, answer.data)
            assert CANARY not in answer.data.decode()

    assert len(subjects) > 5
    assert scene.refusals()[reason] - before == len(subjects)


async def test_every_subject_of_others_is_absent(scene: Scene) -> None:
    """404 for another tenant's token and for one of other memories, the same as for what does not exist."""
    others = [identity(tenant=OTHER_TENANT), identity(memories=["elsewhere"])]
    async with platform_bus(scene.admin) as bus:
        for credential in others:
            for subject in [one.subject for one in scene.closed if one.subject]:
                told = []
                for memory in (MEMORY, "absentee"):
                    headers = {"Authorization": f"Bearer {credential}"}
                    answer = await bus.connection.request(f"kalends.v1.{TENANT}.{memory}.{subject}", b"{}", timeout=10, headers=headers)
                    assert (answer.headers or {}).get("Nats-Service-Error-Code") == "404", (subject, answer.data)
                    told.append({**json.loads(answer.data.decode().replace(memory, "…")), "request_id": ""})
                assert told[0] == told[1]
                assert CANARY not in json.dumps(told)


@pytest.mark.parametrize("attack", CREDENTIALS)
def test_every_refusal_is_in_the_audit_with_its_reason(scene: Scene, attack: str) -> None:
    """For whoever runs the instance; nothing of the credential is kept."""
    reason, make = CREDENTIALS[attack]
    operation = next(one for one in scene.table if one.name == "documents.list")
    with Attacker(scene=scene) as attacker:
        assert attacker.ask(operation, make(scene)).status_code == 401

    def entries() -> list[dict[str, Any]]:
        found = scene.admin.good("GET", f"/audit?refused=true&operation={operation.name}&outcome={reason}")["items"]
        return [one for one in found if one.get("outcome") == reason]

    assert wait_until(lambda: entries() != [], seconds=20)
    assert {(one.get("actor", ""), one.get("memory", "")) for one in entries()} == {("", "")}
