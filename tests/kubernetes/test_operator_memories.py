"""AgentMemory on a real API server with a real Kalends: provisioning, drift, rotation, hand-over, and deletion under each policy.

Belongs here: what an operator that nothing happens to does. Does not belong here: deaths (``test_operator_faults``), rights
(``test_operator_rights``). A newcomer would get wrong: the operator has the rights of one namespace only, in every one of these tests.
"""

import asyncio
import json

import httpx
import nats.errors
import pytest

from kalends.client import Kalends, NotFound, Unauthenticated
from kalends.kit import nkeys
from kalends_operator.desired import naming
from tests.support.kubernetes.marks import MARKS
from tests.support.operating import Operated
from tests.support.visitors import connected

pytestmark = [*MARKS]

NAME = "notes"


@pytest.fixture
def running(operated: Operated) -> Operated:
    """The operator, started."""
    return operated.start()


def memory_name(operated: Operated) -> str:
    """A memory of the test's own; all tests share one Kalends."""
    return f"notes-{operated.namespace}"


def provision(operated: Operated, **spec: object) -> dict[str, str]:
    """An AgentMemory that is Ready, and the data of its Secret."""
    operated.ask("AgentMemory", NAME, {"memory": memory_name(operated), **spec})
    operated.wait_ready(NAME)
    secret = operated.secret(f"{NAME}-kalends")
    assert secret is not None
    return secret


def admin(operated: Operated) -> Kalends:
    """Kalends as its admin."""
    return Kalends(operated.kalends.url, token=operated.kalends.token)


def credentials(operated: Operated) -> tuple[list[str], list[str]]:
    """Ids of the tokens and the agents that the operator made for the memory."""
    with admin(operated) as kalends:
        mine = [memory_name(operated)]
        return [one.token_id for one in kalends.tokens() if one.memories == mine], [
            one.agent_id for one in kalends.agents() if one.memories == mine
        ]


def opens(secret: dict[str, str]) -> bool:
    """Whether the token of a Secret reaches its memory."""
    with Kalends(secret["url"], token=secret["token"]) as kalends:
        try:
            kalends.memory(secret["memory"]).info()
        except (NotFound, Unauthenticated):
            return False
    return True


def test_the_secret_opens_the_memory_over_http(running: Operated):
    """The secret opens the memory over http."""
    secret = provision(running)

    with Kalends(secret["url"], token=secret["token"]) as kalends:
        memory = kalends.memory(secret["memory"])
        memory.append({"session_id": "s", "kind": "message", "text": "the parcel is in locker nine"}, wait_s=30)
        found = memory.search("parcel").hits
        others = [one.name for one in kalends.memories()]

    assert [hit.text for hit in found] == ["the parcel is in locker nine"]
    assert others == [secret["memory"]]


def test_without_the_operator_agents_write_and_read_as_before(running: Operated):
    """It is on nobody's way."""
    secret = provision(running)
    assert running.stop() == 0

    with Kalends(secret["url"], token=secret["token"]) as kalends:
        memory = kalends.memory(secret["memory"])
        memory.append({"session_id": "s", "kind": "message", "text": "the key is under the mat"}, wait_s=30)
        assert [hit.text for hit in memory.search("key").hits] == ["the key is under the mat"]


def test_the_key_in_the_secret_is_a_user_of_the_broker_and_logs_in_over_http(running: Operated, tmp_path):
    """The seed signs for the broker, whose subjects and inbox the Secret names; over HTTP it gets a bearer."""
    secret = provision(running)
    key_file = tmp_path / "seed"
    key_file.write_text(secret["nkey_seed"])

    async def append() -> dict[str, object]:
        how = {"nkeys_seed_str": secret["nkey_seed"], "inbox_prefix": secret["inbox_prefix"]}
        with Kalends(secret["url"], agent_key_file=key_file) as kalends:
            kalends.memory(secret["memory"]).info()
        event = {"session_id": "s", "kind": "message", "text": "over the broker"}
        async with connected(secret["nats_url"], [], **how) as client:
            subject = f"{secret['subject_prefix']}.events.append"
            answer = await client.request(subject, json.dumps({"events": [event]}).encode(), timeout=10, headers=await bearer())
        return json.loads(answer.data)

    async def bearer() -> dict[str, str]:
        return {"Authorization": f"Bearer {secret['token']}"}

    running.wait(lambda: asyncio.run(_let_in(secret)), "the broker learns of the user")
    assert [one["status"] for one in asyncio.run(append())["results"]] == ["new"]


async def _let_in(secret: dict[str, str]) -> bool:
    try:
        async with connected(secret["nats_url"], [], nkeys_seed_str=secret["nkey_seed"], inbox_prefix=secret["inbox_prefix"]):
            return True
    except nats.errors.Error:
        return False


def test_the_memory_is_as_the_spec_says_and_changes_with_it(running: Operated):
    """The memory is as the spec says and changes with it."""
    provision(running, quota={"events": 10}, retention={"maxAgeDays": 30}, redaction={"default": {"email": "mask", "phone": "leave"}})
    with admin(running) as kalends:
        made = kalends.memory(memory_name(running)).info()
        running.change("AgentMemory", NAME, {"spec": {"quota": {"events": 20}, "retention": None}})
        running.wait(lambda: running.ready(NAME) and kalends.memory(memory_name(running)).info().retention is None)
        changed = kalends.memory(memory_name(running)).info()

    assert made.quota is not None
    assert made.quota.events == 10
    assert (made.retention or {}).get("max_age_days") == 30
    assert made.redaction == {"email": "mask", "phone": "off"}
    assert changed.quota is not None
    assert changed.quota.events == 20


def test_the_operator_tells_of_itself(running: Operated):
    """Resources are counted by phase, never named."""
    provision(running)
    with httpx.Client(base_url=f"http://127.0.0.1:{running.metrics_port}") as client:
        # counted once the API server has the status, which is what was waited for
        running.wait(lambda: 'kalends_operator_objects{kind="AgentMemory",phase="Ready"} 1.0' in client.get("/metrics").text)
        told = client.get("/metrics").text

        assert client.get("/livez").status_code == 200
    assert "kalends_operator_is_leader 1.0" in told
    assert memory_name(running) not in told
    assert running.secret(f"{NAME}-kalends")["token"] not in running.logs  # type: ignore[index]  # it is there


def test_what_was_changed_by_hand_is_mended_and_said(running: Operated):
    """What was changed by hand is mended and said."""
    provision(running, quota={"events": 10})
    with admin(running) as kalends:
        kalends.memory(memory_name(running)).change(quota={"events": 99})

        running.wait(lambda: kalends.memory(memory_name(running)).info().quota.events == 10)

    running.wait(lambda: "MemoryChanged" in running.reasons(NAME))


def test_a_full_memory_says_so(running: Operated):
    """A full memory says so."""
    secret = provision(running, quota={"events": 1})
    with Kalends(secret["url"], token=secret["token"]) as kalends:
        kalends.memory(secret["memory"]).append({"session_id": "s", "kind": "message", "text": "one"}, wait_s=30)

    running.wait(lambda: running.condition("AgentMemory", NAME, "QuotaExceeded").get("status") == "True")
    assert running.ready(NAME)


@pytest.mark.parametrize("how", ["deleted", "edited"])
def test_a_secret_that_was_touched_is_mended_and_said(running: Operated, how: str):
    """A secret that was touched is mended and said."""
    before = provision(running)
    api, name = running.cluster.api, f"{NAME}-kalends"
    if how == "deleted":
        api.delete("Secret", name, running.namespace)
    else:
        api.patch("Secret", name, {"data": {"token": "bm9wZQ=="}}, running.namespace)

    running.wait(lambda: (running.secret(name) or {}).get("token") not in {None, "nope", before["token"]})
    after = running.secret(name)

    assert after is not None
    assert opens(after)
    running.wait(lambda: running.reasons(NAME).count("SecretCreated") == 2 or "SecretMended" in running.reasons(NAME))


def test_credentials_are_rotated_and_the_old_ones_end_after_the_overlap(running: Operated):
    """The API server allows no overlap below a minute; here it is seen that both are good, and that one is gone when revoked."""
    before = provision(running)
    running.change("AgentMemory", NAME, {"metadata": {"annotations": {naming.ROTATE: "leaked"}}})

    running.wait(lambda: (running.secret(f"{NAME}-kalends") or {}).get("token") != before["token"])
    after = running.secret(f"{NAME}-kalends")

    assert after is not None
    assert after["nkey_seed"] != before["nkey_seed"]
    assert opens(before)
    assert opens(after)
    running.wait(lambda: "CredentialsRotated" in running.reasons(NAME))


def test_a_handed_over_memory_is_out_of_reach_of_its_secret(running: Operated):
    """A handed over memory is out of reach of its secret."""
    secret = provision(running)
    with admin(running) as kalends:
        heir = kalends.create_agent(nkeys.new_pair("user").public, memories=[memory_name(running)], role="writer")
        running.change("AgentMemory", NAME, {"spec": {"handOverTo": {"to": f"agent:{heir.agent_id}"}}})
        running.wait(lambda: running.condition("AgentMemory", NAME, "HandedOver").get("status") == "True")
        owner = kalends.memory(memory_name(running)).info().owner

    assert owner == f"agent:{heir.agent_id}"
    running.wait(lambda: "token" not in (running.secret(f"{NAME}-kalends") or {"token": ""}))
    assert not opens(secret)
    assert credentials(running) == ([], [heir.agent_id])


def test_a_memory_of_another_namespace_is_not_opened_by_writing_its_name(running: Operated):
    """A memory of another namespace is not opened by writing its name."""
    with admin(running) as kalends:
        kalends.create_memory(memory_name(running), description="[kubernetes - other/notes]")
    running.ask("AgentMemory", NAME, {"memory": memory_name(running), "deletionPolicy": "Erase"})

    running.wait(lambda: running.condition("AgentMemory", NAME, "Ready").get("reason") == "MemoryTaken")
    assert running.secret(f"{NAME}-kalends") is None
    running.delete("AgentMemory", NAME)
    running.wait(lambda: running.find("AgentMemory", NAME) is None)
    with admin(running) as kalends:
        assert kalends.memory(memory_name(running)).info().name == memory_name(running)


def test_a_secret_of_somebody_else_is_left_alone(running: Operated):
    """A secret of somebody else is left alone."""
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "theirs", "namespace": running.namespace}, "stringData": {"a": "b"}}
    running.cluster.api.create(body)
    running.ask("AgentMemory", NAME, {"memory": memory_name(running), "access": {"secretName": "theirs"}})

    running.wait(lambda: running.condition("AgentMemory", NAME, "Ready").get("reason") == "SecretTaken")
    assert running.secret("theirs") == {"a": "b"}
    assert credentials(running) == ([], [])


def test_retain_ends_the_credentials_and_keeps_the_data(running: Operated):
    """And the same resource made again opens it again."""
    secret = provision(running)
    with Kalends(secret["url"], token=secret["token"]) as kalends:
        kalends.memory(secret["memory"]).append({"session_id": "s", "kind": "message", "text": "kept"}, wait_s=30)
    running.delete("AgentMemory", NAME)
    running.wait(lambda: running.find("AgentMemory", NAME) is None)

    assert not opens(secret)
    assert credentials(running) == ([], [])
    running.wait(lambda: running.secret(f"{NAME}-kalends") is None)
    again = provision(running)
    with Kalends(again["url"], token=again["token"]) as kalends:
        assert [one.text for one in kalends.memory(again["memory"]).events()] == ["kept"]


def test_snapshot_saves_before_it_lets_go(running: Operated):
    """Snapshot saves before it lets go."""
    provision(running, deletionPolicy="Snapshot")
    running.delete("AgentMemory", NAME)
    running.wait(lambda: running.find("AgentMemory", NAME) is None)

    with admin(running) as kalends:
        assert [one.memory for one in kalends.backups.list().items if one.memory == memory_name(running)] == [memory_name(running)]
        assert kalends.memory(memory_name(running)).info().events == 0
    assert credentials(running) == ([], [])


def test_erase_forgets_everything_before_it_lets_go(running: Operated):
    """Erase forgets everything before it lets go."""
    secret = provision(running, deletionPolicy="Erase")
    with Kalends(secret["url"], token=secret["token"]) as kalends:
        kalends.memory(secret["memory"]).append({"session_id": "s", "kind": "message", "text": "to be forgotten"}, wait_s=30)
    running.delete("AgentMemory", NAME)
    running.wait(lambda: running.find("AgentMemory", NAME) is None)

    with admin(running) as kalends:
        erasures = list(kalends.memory(memory_name(running)).erasures())
        with pytest.raises(NotFound):
            kalends.memory(memory_name(running)).info()
    assert [one.state for one in erasures] == ["erased"]


def test_a_hold_keeps_the_resource_until_it_is_released(running: Operated):
    """A hold keeps the resource until it is released."""
    provision(running, deletionPolicy="Erase")
    with admin(running) as kalends:
        memory = kalends.memory(memory_name(running))
        memory.set_hold("court", everything=True)
        running.delete("AgentMemory", NAME)
        running.wait(lambda: running.condition("AgentMemory", NAME, "Erasing").get("reason") == "UnderHold")
        assert "court" in running.condition("AgentMemory", NAME, "Erasing")["message"]
        memory.release_hold("court")
    running.wait(lambda: running.find("AgentMemory", NAME) is None)


def test_an_erasure_has_its_receipt_in_its_status(running: Operated):
    """An erasure has its receipt in its status."""
    secret = provision(running)
    with Kalends(secret["url"], token=secret["token"]) as kalends:
        memory = kalends.memory(secret["memory"])
        memory.append([{"session_id": one, "kind": "message", "text": f"said in {one}"} for one in ("a", "b")], wait_s=30)
        running.ask("MemoryErasure", "forget-a", {"memoryRef": {"name": NAME}, "selector": {"sessionId": "a"}})
        running.wait(lambda: running.status("MemoryErasure", "forget-a").get("state") == "erased")
        left = [one.text for one in memory.events()]

    status = running.status("MemoryErasure", "forget-a")
    receipt = json.loads(status["receipt"])
    assert left == ["said in b"]
    assert status["erasureId"] in status["receipt"]
    assert receipt
    assert running.condition("MemoryErasure", "forget-a", "Complete")["status"] == "True"
