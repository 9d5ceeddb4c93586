"""MemoryBackup, MemoryBackupSchedule and MemoryRestore on a real API server with a real Kalends.

Belongs here: that they drive Kalends' backups, keep what is to be kept, and stay within their namespace. Does not belong here: a backup's
bytes. A newcomer would get wrong: schedules are minutes at the least, so one that is due is made by moving its last time back.
"""

import pytest

from kalends.client import Kalends
from tests.kubernetes.test_operator_memories import NAME, admin, memory_name, provision
from tests.support.kubernetes.marks import MARKS
from tests.support.operating import API_VERSION, Operated

pytestmark = [*MARKS]

EVERY_MINUTE = "* * * * *"
SCHEDULE = f"{NAME}-backup"
LONG_AGO = "2020-01-01T00:00:00Z"


def make_due(operated: Operated, name: str) -> None:
    """Let a schedule's last turn have been long ago, once there is one."""
    operated.wait(lambda: operated.status("MemoryBackupSchedule", name))
    change = {"status": {"lastScheduleTime": LONG_AGO}}
    operated.cluster.api.patch("MemoryBackupSchedule", name, change, operated.namespace, version=API_VERSION, subresource="status")


@pytest.fixture
def running(operated: Operated) -> Operated:
    """The operator, started."""
    return operated.start()


def backed_up(operated: Operated, name: str = "now", **spec: object) -> str:
    """A MemoryBackup that is whole; its id in Kalends."""
    operated.ask("MemoryBackup", name, {"memoryRef": {"name": NAME}, **spec})
    operated.wait(lambda: operated.status("MemoryBackup", name).get("phase") == "Succeeded")
    return str(operated.status("MemoryBackup", name)["backupId"])


def test_what_was_backed_up_is_restored_into_a_new_memory_that_a_resource_of_its_name_opens(running: Operated):
    """What was backed up is restored into a new memory that a resource of its name opens."""
    secret = provision(running)
    with Kalends(secret["url"], token=secret["token"]) as kalends:
        kalends.memory(secret["memory"]).append({"session_id": "s", "kind": "message", "text": "saved"}, wait_s=30)
    backed_up(running)
    copy = f"c-{running.namespace}"
    running.ask("MemoryRestore", "again", {"backupRef": {"name": "now"}, "memory": copy})
    running.wait(lambda: running.status("MemoryRestore", "again").get("phase") == "Succeeded")

    assert running.status("MemoryBackup", "now")["events"] == 1
    running.ask("AgentMemory", copy, {})
    running.wait_ready(copy)
    opened = running.secret(f"{copy}-kalends")
    assert opened is not None
    with Kalends(opened["url"], token=opened["token"]) as kalends:
        assert [one.text for one in kalends.memory(copy).events()] == ["saved"]


@pytest.mark.parametrize(("policy", "left"), [("Retain", True), ("Delete", False)])
def test_a_backup_goes_with_its_object_if_it_says_so(running: Operated, policy: str, left: bool):  # noqa: FBT001 - a parameter
    """A backup goes with its object if it says so."""
    provision(running)
    backup_id = backed_up(running, deletionPolicy=policy)
    running.delete("MemoryBackup", "now")
    running.wait(lambda: running.find("MemoryBackup", "now") is None)

    with admin(running) as kalends:
        assert (backup_id in [one.backup_id for one in kalends.backups.list().items]) == left


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("MemoryBackup", {"all": True}),
        ("MemoryBackup", {"memoryRef": {"name": "nobody"}}),
        ("MemoryRestore", {"backupId": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "memory": "mine"}),
        ("MemoryRestore", {"backupRef": {"name": "none"}, "memory": "mine"}),
    ],
)
def test_a_namespace_backs_up_and_restores_only_what_is_its_own(running: Operated, kind: str, spec: dict[str, object]):
    """A namespace backs up and restores only what is its own."""
    running.ask(kind, "x", spec)

    running.wait(lambda: running.status(kind, "x").get("phase") == "Failed")
    assert running.status(kind, "x")["error"]


def test_a_memory_of_another_namespace_is_not_replaced(running: Operated):
    """A memory of another namespace is not replaced."""
    provision(running)
    backed_up(running)
    theirs = f"t-{running.namespace}"
    with admin(running) as kalends:
        kalends.create_memory(theirs, description="[kubernetes - other/theirs]")
    running.ask("MemoryRestore", "x", {"backupRef": {"name": "now"}, "memory": theirs, "replace": True, "confirm": theirs})

    running.wait(lambda: running.status("MemoryRestore", "x").get("phase") == "Failed")
    assert "namespace" in running.status("MemoryRestore", "x")["error"]


def test_a_memory_that_asks_for_backups_gets_a_schedule_which_makes_them(running: Operated):
    """And loses the schedule, but not what it made, when it asks no more."""
    provision(running, backup={"schedule": EVERY_MINUTE, "keep": 2})
    make_due(running, SCHEDULE)
    running.wait(lambda: running.status("MemoryBackupSchedule", SCHEDULE).get("lastSuccessfulTime"))
    running.wait(lambda: running.condition("AgentMemory", NAME, "BackupHealthy").get("status") == "True")

    running.change("AgentMemory", NAME, {"spec": {"backup": None}})
    running.wait(lambda: running.find("MemoryBackupSchedule", SCHEDULE) is None)
    with admin(running) as kalends:
        assert memory_name(running) in [one.memory for one in kalends.backups.list().items]
