"""The operator dies at every step, or what it talks to does: it converges, and leaves nothing behind.

Belongs here: deaths at named places, restarts of the API server and of Kalends, two operators at once. Does not belong here: what it does
undisturbed (``test_operator_memories``). A newcomer would get wrong: orphans are looked for in Kalends by the memory that credentials are
for, not by anything that the operator says.
"""

import signal
import statistics
import time
from datetime import datetime
from pathlib import Path

import pytest
from msgspec import structs

from kalends.client import Kalends
from kalends_operator import app
from kalends_operator.desired import naming
from kalends_operator.settings import OperatorSettings
from tests.kubernetes.test_operator_memories import NAME, admin, credentials, memory_name, opens, provision
from tests.support.kubernetes.marks import MARKS
from tests.support.operating import API_VERSION, Operated

pytestmark = [*MARKS]

PROVISIONING = ("create-memory", "register-agent", "issue-token", "write-secret")
ENDING = ("revoke-token", "revoke-agent", "start-erasure", "delete-secret")
ROTATING = ("register-agent", "rotate-token", "write-secret")
MANY = 100
DEFAULT_LEASE_S = next(one.default for one in structs.fields(OperatorSettings) if one.name == "lease_s")


def points(*steps: str) -> list[str]:
    """The places before and after each step."""
    return [f"operator.{when}-{step}" for step in steps for when in ("before", "after")]


def dies(operated: Operated) -> None:
    """See the operator die of its failpoint."""
    assert operated.wait_for_end() == -signal.SIGKILL, operated.logs[-2000:]


def give_lease_away(operated: Operated, *, seconds: int) -> None:
    """Let somebody else, who does nothing, hold the operator's lease for so long."""
    spec = {"spec": {"holderIdentity": "somebody-else", "leaseDurationSeconds": seconds}}
    operated.cluster.api.patch("Lease", "kalends-operator", spec, operated.namespace, version="coordination.k8s.io/v1")


def one_of_each(operated: Operated) -> bool:
    """Whether there is one token and one agent for the memory, and the Secret is theirs."""
    status = operated.status("AgentMemory", NAME)
    return credentials(operated) == ([status.get("tokenId")], [status.get("agentRegistration")])


@pytest.mark.parametrize("point", points(*PROVISIONING))
def test_killed_while_provisioning_it_ends_with_one_of_each(operated: Operated, point: str):
    """Killed while provisioning it ends with one of each."""
    operated.start(failpoints=f"{point}=kill")
    operated.ask("AgentMemory", NAME, {"memory": memory_name(operated)})
    dies(operated)
    operated.start()
    operated.wait_ready(NAME)

    operated.wait(lambda: one_of_each(operated))
    secret = operated.secret(f"{NAME}-kalends")
    assert secret is not None
    assert opens(secret)


@pytest.mark.parametrize("point", points(*ROTATING))
def test_killed_while_rotating_the_pod_is_never_cut_off(operated: Operated, point: str):
    """What the pod has stays good until long after a new token is in the Secret."""
    operated.start()
    before = provision(operated)
    operated.stop()
    operated.start(failpoints=f"{point}=kill")
    operated.change("AgentMemory", NAME, {"metadata": {"annotations": {naming.ROTATE: "now"}}})
    dies(operated)
    assert opens(before)
    operated.start()
    operated.wait(lambda: (operated.secret(f"{NAME}-kalends") or {}).get("token") != before["token"])

    after = operated.secret(f"{NAME}-kalends")
    assert after is not None
    assert opens(before)
    assert opens(after)


@pytest.mark.parametrize("point", points(*ENDING))
def test_killed_while_erasing_there_is_one_erasure_with_one_receipt(operated: Operated, point: str):
    """Killed while erasing there is one erasure with one receipt."""
    operated.start()
    secret = provision(operated, deletionPolicy="Erase")
    with Kalends(secret["url"], token=secret["token"]) as kalends:
        kalends.memory(secret["memory"]).append({"session_id": "s", "kind": "message", "text": "to be forgotten"}, wait_s=30)
    operated.stop()
    operated.start(failpoints=f"{point}=kill")
    operated.delete("AgentMemory", NAME)
    dies(operated)
    operated.start()
    operated.wait(lambda: operated.find("AgentMemory", NAME) is None)

    with admin(operated) as kalends:
        erasures = list(kalends.memory(memory_name(operated)).erasures())
    assert [one.state for one in erasures] == ["erased"]
    assert credentials(operated) == ([], [])
    operated.wait(lambda: operated.secret(f"{NAME}-kalends") is None)


@pytest.mark.parametrize("point", points("start-erasure", "erasure-status"))
def test_killed_while_forgetting_a_session_the_receipt_comes_once(operated: Operated, point: str):
    """Killed while forgetting a session the receipt comes once."""
    operated.start()
    secret = provision(operated)
    with Kalends(secret["url"], token=secret["token"]) as kalends:
        kalends.memory(secret["memory"]).append({"session_id": "a", "kind": "message", "text": "forget"}, wait_s=30)
    operated.stop()
    operated.start(failpoints=f"{point}=kill")
    operated.ask("MemoryErasure", "forget-a", {"memoryRef": {"name": NAME}, "selector": {"sessionId": "a"}})
    dies(operated)
    operated.start()
    operated.wait(lambda: operated.status("MemoryErasure", "forget-a").get("state") == "erased")

    with admin(operated) as kalends:
        erasures = list(kalends.memory(memory_name(operated)).erasures())
    assert [one.erasure_id for one in erasures] == [operated.status("MemoryErasure", "forget-a")["erasureId"]]
    assert operated.status("MemoryErasure", "forget-a")["receipt"]


@pytest.mark.parametrize("point", points("start-backup"))
def test_killed_while_it_asks_for_a_backup_there_is_one(operated: Operated, point: str):
    """Asked again it is the same backup."""
    operated.start()
    provision(operated)
    operated.stop()
    operated.start(failpoints=f"{point}=kill")
    operated.ask("MemoryBackup", "now", {"memoryRef": {"name": NAME}})
    dies(operated)
    operated.start()
    operated.wait(lambda: operated.status("MemoryBackup", "now").get("phase") == "Succeeded")

    with admin(operated) as kalends:
        assert [one.memory for one in kalends.backups.list().items].count(memory_name(operated)) == 1


def test_an_api_server_that_was_away_is_followed_again(operated: Operated):
    """With a lease that lasts longer than that; with a shorter one it would end itself and be started again."""
    operated.start(KALENDS_OPERATOR_LEASE_S="120")
    provision(operated)
    operated.cluster.stop_api_server(kill=True)
    operated.cluster.start_api_server()
    operated.change("AgentMemory", NAME, {"spec": {"quota": {"events": 7}}})

    with admin(operated) as kalends:
        memory = kalends.memory(memory_name(operated))
        operated.wait(lambda: (quota := memory.info().quota) is not None and quota.events == 7)
    operated.wait_ready(NAME)
    assert operated.running


def test_while_kalends_is_away_it_says_so_and_goes_on_afterwards(operated: Operated):
    """The Secret stays as it was: pods go on with what they have."""
    settings = {"ADMIN_URL": "http://127.0.0.1:9"}
    operated.start()
    before = provision(operated)
    operated.stop()
    operated.start(**{f"KALENDS_OPERATOR_{name}": value for name, value in settings.items()})
    operated.wait(lambda: operated.condition("AgentMemory", NAME, "Ready").get("status") == "Unknown")
    assert operated.condition("AgentMemory", NAME, "Ready")["reason"] == "Unavailable"
    operated.stop()
    operated.start()
    operated.wait_ready(NAME)

    assert operated.secret(f"{NAME}-kalends") == before


def test_a_resource_that_cannot_be_deleted_is_let_go_where_it_is_asked_and_it_is_said(operated: Operated):
    """Kalends is away for good; the data, wherever it is, stays."""
    operated.start()
    provision(operated, deletionPolicy="Erase")
    operated.stop()
    operated.start(KALENDS_OPERATOR_ADMIN_URL="http://127.0.0.1:9", KALENDS_OPERATOR_ABANDON_AFTER_S="1")
    operated.delete("AgentMemory", NAME)
    operated.wait(lambda: operated.condition("AgentMemory", NAME, "Ready").get("status") == "Unknown")
    assert operated.find("AgentMemory", NAME) is not None
    operated.change("AgentMemory", NAME, {"metadata": {"annotations": {naming.ABANDON: "true"}}})
    operated.wait(lambda: operated.find("AgentMemory", NAME) is None)

    assert "Abandoned" in operated.reasons(NAME)
    with admin(operated) as kalends:
        assert kalends.memory(memory_name(operated)).info().name == memory_name(operated)


def test_two_operators_never_act_at_once(operated: Operated, tmp_path: Path):
    """The second waits; it acts once the first is killed and its lease has run out."""
    operated.start()
    provision(operated)
    (tmp_path / "second").mkdir()
    with Operated(operated.cluster, operated.kalends, operated.namespace, tmp_path / "second") as second:
        second.start()
        second.wait(lambda: "serving pages" in second.logs)
        operated.ask("AgentMemory", "other", {"memory": f"other-{operated.namespace}"})
        operated.wait_ready("other")
        assert "the lease is held" not in second.logs
        operated.kill()
        operated.change("AgentMemory", "other", {"spec": {"quota": {"events": 3}}})
        second.wait(lambda: "the lease is held" in second.logs)
        second.wait_ready("other")


def test_an_operator_whose_lease_was_taken_ends_at_once(operated: Operated):
    """An operator whose lease was taken ends at once."""
    operated.start()
    provision(operated)

    give_lease_away(operated, seconds=60)

    assert operated.wait_for_end() == app.LOST


def test_an_operator_that_lost_its_lease_goes_on_once_it_is_started_again(operated: Operated):
    """As its Deployment does; it waits until the lease of the other has run out."""
    operated.start()
    provision(operated)
    give_lease_away(operated, seconds=1)
    assert operated.wait_for_end() == app.LOST

    operated.ask("AgentMemory", "other", {"memory": f"other-{operated.namespace}"})
    operated.wait_ready("other")

    assert operated.running


def test_an_operator_that_is_told_to_stop_gives_its_lease_back(operated: Operated):
    """An operator that is told to stop gives its lease back."""
    operated.start()
    provision(operated)

    assert operated.stop() == 0

    lease = operated.cluster.api.get("Lease", "kalends-operator", operated.namespace, version="coordination.k8s.io/v1")
    assert lease["spec"].get("holderIdentity", "") == ""


def test_a_hundred_memories_at_once_are_all_ready(operated: Operated, record_property):
    """And how long that took is told at the end of the run. Its lease is as long as it is by default."""
    operated.start(KALENDS_OPERATOR_LEASE_S=str(DEFAULT_LEASE_S))
    provision(operated)
    began = time.monotonic()
    for number in range(MANY):
        operated.ask("AgentMemory", f"m-{number}", {"memory": f"m{number}-{operated.namespace}"})
    asked = time.monotonic() - began

    def all_ready() -> bool:
        found = operated.cluster.api.items("AgentMemory", operated.namespace, version=API_VERSION)
        return sum(one.get("status", {}).get("phase") == "Ready" for one in found) == MANY + 1

    operated.wait(all_ready)
    took = time.monotonic() - began
    waits = sorted(_wait(one) for one in operated.cluster.api.items("AgentMemory", operated.namespace, version=API_VERSION))
    p95 = waits[int(len(waits) * 0.95)]
    told = f"creation to Ready p50 {statistics.median(waits):.0f} s, p95 {p95:.0f} s"
    record_property("figure", f"{MANY} memories at once: asked for in {asked:.1f} s, all Ready after {took:.1f} s; {told}")


def _wait(resource: dict[str, dict[str, object]]) -> float:
    """Seconds from creation until Ready, as the API server's clock and the operator's say; both are whole seconds."""
    status: dict[str, list[dict[str, str]]] = resource["status"]  # type: ignore[assignment]  # JSON
    ready = next(one for one in status["conditions"] if one["type"] == "Ready")
    made = datetime.fromisoformat(str(resource["metadata"]["creationTimestamp"]))
    return (datetime.fromisoformat(ready["lastTransitionTime"]) - made).total_seconds()
