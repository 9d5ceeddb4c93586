"""A memory is handed over: the new owner has it, and nobody else but admins of all memories, over whatever transport.

Belongs here: every route and every subject for those who had the memory before, and what becomes of its content and of its keys. Does not
belong here: a second person's word (``test_approvals``). A newcomer would get wrong: nothing is done to any credential; a token still names
the memory that was handed over, and must get nothing of it.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nats.errors
import pytest
from tests.platform.people import OTHER_TENANT, TENANT, Person
from tests.platform.test_attacks import (
    CANARY,
    ISSUER,
    KEY,
    MEMORY,
    Attacker,
    Scene,
    identity,
    log_in,
    on_nats,
    planted,
    registered,
    same_but,
)
from tests.platform.test_isolation_nats import platform_bus
from tests.support.files import files_with
from tests.support.instance import Instance, wait_until
from tests.support.issuers import AUDIENCE
from tests.support.waiting import until

from kalends.domain.grants import outsider
from kalends.domain.scope import MemoryName, Tenant
from kalends.domain.scope import Scope as Place
from kalends.kit import nkeys
from kalends.kit.nkeys import KeyPair


@dataclass(kw_only=True)
class Handed:
    """What is there once the memory was handed over: who had it, who has it, and what it held."""

    scene: Scene
    formers: Mapping[str, str]
    """Credentials of those who had it, as the Authorization header says them."""

    owner: Person
    pair: KeyPair
    former_pair: KeyPair
    former_id: str
    events: list[str]
    keys: set[bytes]
    answer: Mapping[str, Any]


def wrapped_keys(instance: Instance, admin: Person, memory: str = MEMORY) -> set[bytes]:
    """Every wrapped key of the memory, as it is stored now."""
    scope = Place(Tenant(TENANT), MemoryName(memory))

    async def read() -> set[bytes]:
        async with platform_bus(admin) as bus:
            return {key async for piece in bus.keys.references(scope, limit=500) for key in piece.values()}

    return asyncio.run(read())


def finished(admin: Person, operation_id: str) -> str:
    """What came of a piece of long work, once it has ended well."""
    assert wait_until(lambda: admin.good("GET", f"/operations/{operation_id}")["state"] not in {"queued", "running"}, seconds=60)
    told = admin.good("GET", f"/operations/{operation_id}")
    assert told["state"] == "succeeded", told
    return str(told["result"])


def settings_of(folder: Path) -> dict[str, str]:
    """An issuer that may say which memories somebody has."""
    (folder / "keys.json").write_text(json.dumps({"keys": [KEY.jwk]}))
    issuer = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "jwks_file": str(folder / "keys.json"),
        "tenant_claim": "tenant",
        "tenants": [TENANT, OTHER_TENANT],
        "memories_claim": "memories",
        "rights_claim": "roles",
        "leeway_s": 0,
    }
    return {"KALENDS_OIDC__ISSUERS": json.dumps([issuer])}


@pytest.fixture(scope="module")
def handed(tmp_path_factory: pytest.TempPathFactory, prepared: Callable[[Path], Path]) -> Iterator[Handed]:
    """An instance of its own, in which the attacked memory was handed over to an agent that never had it."""
    folder = tmp_path_factory.mktemp("handed")
    with (
        Instance(prepared(folder / "data"), settings=settings_of(folder)) as instance,
        contextlib.ExitStack() as stack,
    ):
        instance.start()
        admin = stack.enter_context(Person(instance, instance.token))
        yield hand_over(instance, admin, stack)
        assert CANARY not in instance.logs
        assert instance.terminate() == 0


def hand_over(instance: Instance, admin: Person, stack: contextlib.ExitStack) -> Handed:
    """Everybody uses the memory once, so that whatever is kept of that is warm, and then it is handed over."""
    scene = planted(instance, admin)
    admin.good("PUT", f"{scene.path}/holds/h1", {"session_id": "s1"})
    admin.make_memory("elsewhere")
    former_pair, former_id = registered(scene, role="admin")
    pair, owner_id = registered(scene, role="curator", memories=["elsewhere"])
    limited = stack.enter_context(admin.with_token("admin", memories=[MEMORY]))
    tenant_wide = stack.enter_context(admin.with_token("append", "search", "erase", memories=None))
    rotated = limited.good("POST", f"/tokens/{limited.token_id}/rotate", {"overlap_s": 600})["token"]
    formers = {
        "a token": f"Bearer {limited.token}",
        "its successor": f"Bearer {rotated}",
        "a session of an agent": f"Bearer {log_in(scene, former_pair).json()['token']}",
        "somebody of an issuer": "Bearer " + identity(memories=[MEMORY]),
        "a token of all memories": f"Bearer {tenant_wide.token}",
    }
    for header in formers.values():
        with Person(instance, header.removeprefix("Bearer ")) as person:
            assert person.found(scene.path, "number")
    events = [one["event_id"] for one in admin.good("GET", f"{scene.path}/events")["items"]]
    keys = wrapped_keys(instance, admin)
    with Person(instance, log_in(scene, pair).json()["token"]) as nobody_yet:
        assert nobody_yet.ask("GET", scene.path).status_code == 404
    answer = admin.good("POST", f"{scene.path}/hand-over", {"to": f"agent:{owner_id}", "reason_code": "departure"})
    owner = stack.enter_context(Person(instance, log_in(scene, pair).json()["token"], token_id=owner_id))
    return Handed(
        scene=scene,
        formers=formers,
        owner=owner,
        pair=pair,
        former_pair=former_pair,
        former_id=former_id,
        events=events,
        keys=keys,
        answer=answer,
    )


FORMERS = ["a token", "its successor", "a session of an agent", "somebody of an issuer", "a token of all memories"]


@pytest.mark.parametrize("former", FORMERS)
def test_every_route_of_the_memory_is_absent_for_whoever_had_it(handed: Handed, former: str) -> None:
    """404, with the body of a memory that does not exist, also by a cursor and a visibility from before."""
    scene, credential = handed.scene, handed.formers[former]
    asked = 0
    with Attacker(scene=scene) as attacker:
        for operation in (one for one in scene.closed if one.of_memory):
            ids = {name: value for name, value in scene.ids.items() if name in operation.path}
            real = attacker.ask(operation, credential, **ids)
            assert real.status_code == 404, (operation.name, real.text)
            asked += 1
            if former != "a token of all memories" or operation.right != "append":
                unreal = attacker.ask(operation, credential, memory="absentee", **ids)
                if former != "a token of all memories":
                    assert same_but(real, MEMORY) == same_but(unreal, "absentee")
        with Person(scene.instance, credential.removeprefix("Bearer ")) as person:
            assert MEMORY not in person.ask("GET", "/memories").text
            for query in (f"events?cursor={scene.cursor}", "events", "sessions", "toc"):
                assert person.ask("GET", f"{scene.path}/{query}").status_code == 404
            body = {"query": CANARY, "min_visibility": scene.visibility, "timeout_ms": 200}
            assert person.ask("POST", f"{scene.path}/search", body).status_code == 404

    assert asked > 25


@pytest.mark.parametrize("former", FORMERS)
async def test_every_subject_of_the_memory_is_absent_for_whoever_had_it(handed: Handed, former: str) -> None:
    """404, also where the broker lets the message through."""
    subjects = [one.subject for one in handed.scene.closed if one.subject]
    async with platform_bus(handed.scene.admin) as bus:
        for subject in subjects:
            headers = {"Authorization": handed.formers[former]}
            answer = await bus.connection.request(f"kalends.v1.{TENANT}.{MEMORY}.{subject}", b"{}", timeout=10, headers=headers)
            assert (answer.headers or {}).get("Nats-Service-Error-Code") == "404", (subject, answer.data)
            assert CANARY not in answer.data.decode()

    assert len(subjects) > 5


def test_what_names_the_memory_elsewhere_is_closed_too(handed: Handed) -> None:
    """A rebuild of its calendar, its lines in the audit, credentials for it."""
    with Person(handed.scene.instance, handed.formers["a token"].removeprefix("Bearer ")) as former:
        assert former.ask("POST", "/admin/toc-rebuilds", {"memory": MEMORY, "dry_run": True}).status_code == 404
        assert MEMORY not in former.ask("GET", "/audit?limit=200").text
        body = {"memories": [MEMORY], "role": "reader", "label": "a way back"}
        assert former.ask("POST", "/tokens", body).status_code == 404
        assert former.ask("POST", "/agents", {**body, "public_key": nkeys.new_pair("user").public}).status_code == 404
        assert [one for one in former.good("GET", "/tokens")["items"] if one["id"] == handed.owner.token_id] == []


async def test_the_broker_refuses_the_former_agent_and_takes_the_new_one(handed: Handed) -> None:
    """By its own table of users, which follows within a second."""
    subject = f"kalends.v1.{TENANT}.{MEMORY}.search"
    bearer = handed.owner.token
    async with on_nats(handed.scene, handed.pair, handed.owner.token_id, []) as client:

        async def answered() -> bool:
            with contextlib.suppress(nats.errors.Error):
                headers = {"Authorization": f"Bearer {bearer}"}
                answer = await client.request(subject, b'{"query": "number"}', timeout=2, headers=headers)
                return CANARY in answer.data.decode()
            return False

        await until(answered, deadline=15)
    errors: list[str] = []
    async with on_nats(handed.scene, handed.former_pair, handed.former_id, errors) as client:
        await client.publish(subject, b"{}")
        await until(lambda: any("permissions violation for publish" in error.lower() for error in errors), deadline=10)


def test_the_new_owner_has_all_of_it(handed: Handed) -> None:
    """Every event under its id, the documents, the search; and it writes on."""
    owner, path = handed.owner, handed.scene.path

    assert [one["event_id"] for one in owner.good("GET", f"{path}/events")["items"]] == handed.events
    assert owner.good("GET", f"{path}/events/{handed.scene.ids['event_id']}")["text"].startswith(CANARY)
    assert any(CANARY in text for text in owner.found(path, "number"))
    assert owner.good("GET", f"{path}/documents")["items"] != []
    assert MEMORY in {one["name"] for one in owner.good("GET", "/memories")["items"]}
    assert owner.ask("POST", f"{path}/events", {"events": [{"session_id": "mine", "kind": "note", "text": "of the new owner"}]}).is_success


def test_the_memory_says_whose_it_is(handed: Handed) -> None:
    """And since when; one that never was handed over names nobody."""
    told = handed.scene.admin.good("GET", handed.scene.path)

    assert told["owner"] == f"agent:{handed.owner.token_id}" == handed.answer["owner"]
    assert (told["handed_over_at"], told["handed_over_reason"]) == (handed.answer["handed_over_at"], "departure")
    assert handed.scene.admin.good("GET", "/memories/elsewhere")["owner"] is None


def test_no_key_is_wrapped_as_it_was(handed: Handed) -> None:
    """None of what was stored before is in any file of the broker's store."""
    result = finished(handed.scene.admin, handed.answer["operation_id"])
    assert result.startswith(f"{len(handed.keys)} keys wrapped anew") or int(result.partition(" ")[0]) >= len(handed.keys)
    assert len(handed.keys) >= 2
    assert handed.keys & wrapped_keys(handed.scene.instance, handed.scene.admin) == set()

    assert [files_with(handed.scene.instance.data / "nats", key) for key in handed.keys] == [[]] * len(handed.keys)


def test_the_same_owner_again_changes_nothing(handed: Handed) -> None:
    """Not even the time."""
    again = handed.scene.admin.good("POST", f"{handed.scene.path}/hand-over", {"to": handed.answer["owner"]})

    assert again == {**handed.answer, "operation_id": None}


@pytest.mark.parametrize(
    "to",
    [
        "agent:01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "token:01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "oidc:https://elsewhere.example#me",
        f"oidc:{ISSUER}",
        "kubernetes:default/app",
        "outsider:nobody",
        "me",
        "x:y",
    ],
)
def test_whoever_is_not_known_gets_no_memory(handed: Handed, to: str) -> None:
    """422 with a pointer; an agent, a token or an issuer must be there."""
    answer = handed.scene.admin.ask("POST", f"{handed.scene.path}/hand-over", {"to": to})

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/to")


def test_who_is_limited_to_a_memory_cannot_give_it_away(handed: Handed) -> None:
    """403 for an admin of that memory alone; its new owner is no exception."""
    admin = handed.scene.admin
    admin.make_memory("mine")
    agent = f"agent:{handed.owner.token_id}"
    with admin.with_token("admin", memories=["mine"]) as limited:
        assert limited.ask("POST", "/memories/mine/hand-over", {"to": agent}).status_code == 403
        admin.good("POST", "/memories/mine/hand-over", {"to": f"token:{limited.token_id}"})
        assert limited.ask("POST", "/memories/mine/hand-over", {"to": agent}).status_code == 403
    assert handed.owner.ask("POST", "/memories/elsewhere/hand-over", {"to": agent}).status_code == 403


def test_the_token_of_the_new_owner_is_out_of_reach_of_the_former(handed: Handed) -> None:
    """Who had the memory and may still see the other memories of the owner cannot rotate the owner's token and so get it back."""
    admin = handed.scene.admin
    for name in ("both", "side"):
        admin.make_memory(name)
    with admin.with_token("admin", memories=["both", "side"]) as former, admin.with_token("search", memories=["side"]) as new:
        assert former.ask("POST", f"/tokens/{new.token_id}/rotate", {"overlap_s": 60}).status_code == 201
        admin.good("POST", "/memories/both/hand-over", {"to": f"token:{new.token_id}"})

        assert new.ask("GET", "/memories/both").status_code == 200
        assert former.ask("GET", "/memories/both").status_code == 404
        assert former.ask("POST", f"/tokens/{new.token_id}/rotate", {}).status_code == 404
        assert new.token_id not in {one["id"] for one in former.good("GET", "/tokens")["items"]}
        assert former.ask("POST", "/tokens", {"memories": ["both"], "rights": ["search"]}).status_code == 404


def test_a_rotated_token_keeps_what_its_holder_owns(handed: Handed) -> None:
    """And the memory is named by the first of the chain, whichever of it was meant."""
    admin = handed.scene.admin
    admin.make_memory("kept")
    with admin.with_token("search", memories=["elsewhere"]) as first:
        second = admin.good("POST", f"/tokens/{first.token_id}/rotate", {"overlap_s": 600})
        told = admin.good("POST", "/memories/kept/hand-over", {"to": f"token:{second['id']}"})
        third = admin.good("POST", f"/tokens/{second['id']}/rotate", {"overlap_s": 600})
        for token in (first.token, second["token"], third["token"]):
            with Person(handed.scene.instance, token) as person:
                assert person.good("GET", "/memories/kept")["owner"] == told["owner"] == f"token:{first.token_id}"


def test_somebody_of_an_issuer_becomes_the_owner_by_name(handed: Handed) -> None:
    """Named by issuer and subject, kept as a digest; the claims need not name the memory."""
    admin = handed.scene.admin
    admin.make_memory("personal")
    told = admin.good("POST", "/memories/personal/hand-over", {"to": f"oidc:{ISSUER}#ann"})
    assert told["owner"] == "outsider:" + outsider(ISSUER, "ann")
    assert "ann" not in handed.scene.admin.ask("GET", "/memories/personal").text
    for subject, tenant, status in (("ann", TENANT, 200), ("bob", TENANT, 404), ("ann", OTHER_TENANT, 404)):
        token = identity(sub=subject, tenant=tenant, memories=["elsewhere"], roles=["reader"])
        with Person(handed.scene.instance, token) as person:
            assert person.ask("GET", "/memories/personal").status_code == status, (subject, tenant)


def test_every_hand_over_is_in_the_audit(handed: Handed) -> None:
    """With who did it and of which memory; to whom stands in the memory."""
    found = handed.scene.admin.good("GET", f"/audit?operation=memories.hand_over&memory={MEMORY}&outcome=ok")["items"]

    assert len(found) >= 1
    assert {one["memory"] for one in found} == {MEMORY}
