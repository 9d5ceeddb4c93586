"""What the operator may do in the cluster: what it needs, and nothing else.

Belongs here: refusals by the API server, with the operator's own token, and the verbs that it used against those that it has. Does not
belong here: rights in Kalends. A newcomer would get wrong: the audit log is of real runs, so a verb that no path here uses shows up as
granted in vain.
"""

import httpx
import pytest

from kalends_operator import rbac
from tests.kubernetes.test_operator_backups import SCHEDULE, make_due
from tests.kubernetes.test_operator_memories import NAME, provision
from tests.support.kubernetes.api import Api, Refused
from tests.support.kubernetes.marks import MARKS
from tests.support.operating import ACCOUNT, API_VERSION, Operated

pytestmark = [*MARKS]

ELSEWHERE = "default"


@pytest.fixture
def own(operated: Operated) -> Api:
    """A client with the operator's token."""
    return operated.cluster.api_of(operated.namespace, ACCOUNT)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/api/v1/namespaces/{ELSEWHERE}/secrets/any"),
        ("GET", f"/api/v1/namespaces/{ELSEWHERE}/secrets"),
        ("GET", "/api/v1/secrets"),
        ("GET", "/api/v1/namespaces/OWN/secrets"),
        ("GET", "/api/v1/namespaces/OWN/pods"),
        ("POST", "/api/v1/namespaces/OWN/pods/any/exec"),
        ("POST", "/api/v1/namespaces/OWN/serviceaccounts/kalends-operator/token"),
        ("PATCH", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/agentmemories.memory.kalends.dev"),
        ("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/agentmemories.memory.kalends.dev"),
        ("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/OWN/rolebindings"),
        ("GET", f"/apis/{API_VERSION}/namespaces/{ELSEWHERE}/agentmemories"),
        ("DELETE", f"/apis/{API_VERSION}/namespaces/OWN/agentmemories/any"),
        ("GET", "/api/v1/namespaces"),
    ],
)
def test_what_it_does_not_need_the_api_server_refuses(operated: Operated, own: Api, method: str, path: str):
    """What it does not need the api server refuses."""
    with pytest.raises(Refused) as refused:
        own.call(method, path.replace("OWN", operated.namespace), {} if method in {"POST", "PATCH"} else None)

    assert refused.value.code == httpx.codes.FORBIDDEN


def test_it_uses_every_right_that_it_has_and_asks_for_none_that_it_lacks(operated: Operated):
    """It uses every right that it has and asks for none that it lacks."""
    operated.start()
    provision(operated, backup={"schedule": "* * * * *", "keep": 1}, deletionPolicy="Erase")
    make_due(operated, SCHEDULE)
    operated.wait(lambda: operated.status("MemoryBackupSchedule", SCHEDULE).get("lastSuccessfulTime"))
    operated.ask("MemoryErasure", "forget", {"memoryRef": {"name": NAME}, "selector": {"sessionId": "none"}})
    operated.wait(lambda: operated.status("MemoryErasure", "forget").get("state"))
    operated.ask("MemoryBackup", "now", {"memoryRef": {"name": NAME}})
    operated.wait(lambda: operated.status("MemoryBackup", "now").get("phase") == "Succeeded")
    operated.ask("MemoryRestore", "again", {"backupRef": {"name": "now"}, "memory": f"r-{operated.namespace}"})
    operated.wait(lambda: operated.status("MemoryRestore", "again").get("phase") == "Succeeded")
    operated.change("AgentMemory", NAME, {"spec": {"backup": None}})
    operated.wait(lambda: operated.find("MemoryBackupSchedule", SCHEDULE) is None)
    operated.delete("AgentMemory", NAME)
    operated.wait(lambda: operated.find("AgentMemory", NAME) is None)
    operated.stop()

    asked = operated.cluster.asked_by(operated.namespace, ACCOUNT)
    refused = {(one.verb, one.group, one.resource) for one in asked if one.code == httpx.codes.FORBIDDEN}
    used = {(one.verb, one.group, one.resource) for one in asked if one.code < httpx.codes.BAD_REQUEST or one.code == httpx.codes.NOT_FOUND}
    granted = {(verb, rule.group, resource) for rule in rbac.RULES for verb in rule.verbs for resource in rule.resources}
    # applying what is not there yet needs create and is a patch in the audit; a backup is taken away when there are too many
    unseen = {("create", "", "secrets"), ("create", rbac.GROUP, "memorybackupschedules"), ("delete", rbac.GROUP, "memorybackups")}
    assert refused == set()
    assert used <= granted
    assert {one for one in granted - used - unseen if not one[2].endswith("/status")} == set()
