"""The CRDs on the server that has the last word on them: what it admits, what it refuses and what it says then."""

import copy

import pytest

from kalends_operator.crds.resources import API_VERSION, CATEGORY, RESOURCES
from tests.support.kubernetes import samples
from tests.support.kubernetes.api import Refused
from tests.support.kubernetes.marks import MARKS
from tests.support.kubernetes.refusals import words

pytestmark = MARKS

NOTHING_CHANGES = "spec: the spec cannot be changed; make a new object"
CHANGES = {
    "memory": ("agentmemory-full", {"memory": "other"}, "spec: the name of the memory cannot be changed; make a new AgentMemory"),
    "no-memory": ("agentmemory-full", {"memory": None}, "spec: the name of the memory cannot be changed; make a new AgentMemory"),
    "memory-at-last": ("agentmemory", {"memory": "other"}, "spec: the name of the memory cannot be changed; make a new AgentMemory"),
    "agent": ("agentmemory-full", {"agentId": "x"}, "spec: the agent cannot be changed; use handOverTo or make a new AgentMemory"),
    "isolation": ("agentmemory", {"isolation": "dedicated"}, "spec: the isolation cannot be changed; make a new AgentMemory"),
    "hand-over": ("agentmemory-hand-over", {"handOverTo": {"to": "agent:x"}}, "spec: a hand-over can neither be changed nor taken back"),
    "no-hand-over": ("agentmemory-hand-over", {"handOverTo": None}, "spec: a hand-over can neither be changed nor taken back"),
    "backup": ("memorybackup", {"memoryRef": {"name": "sales"}}, NOTHING_CHANGES),
    "restore": ("memoryrestore", {"toTime": "2026-11-19T12:00:00Z"}, NOTHING_CHANGES),
    "erasure": ("memoryerasure", {"selector": {"sessionId": "other"}}, NOTHING_CHANGES),
    "no-requester": ("memoryerasure", {"requester": None}, NOTHING_CHANGES),
}
MOMENT = "2026-11-22T10:00:00Z"


def stored(cluster, namespace, name):
    """A good sample, as the server keeps it."""
    return cluster.api.create(samples.good(name), namespace=namespace)


def change(cluster, namespace, document, spec, **query):
    """The object with a changed spec."""
    return cluster.api.patch(document["kind"], document["metadata"]["name"], {"spec": spec}, namespace, version=API_VERSION, **query)


@pytest.mark.parametrize("name", samples.GOOD)
def test_a_good_sample_is_admitted(cluster, namespace, name):
    """With every field known, and again when it is applied a second time."""
    document = samples.good(name)

    cluster.api.create(document, namespace=namespace, dryRun="All", fieldValidation="Strict")
    made = cluster.api.apply(document, namespace=namespace, fieldValidation="Strict")
    again = cluster.api.apply(document, namespace=namespace, fieldValidation="Strict")

    assert made["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"]
    assert cluster.api.get(document["kind"], document["metadata"]["name"], namespace, version=API_VERSION)["spec"] == made["spec"]


@pytest.mark.parametrize("name", samples.BAD)
def test_a_bad_sample_is_refused_with_its_message(cluster, namespace, name):
    """The first line of the file is what a person is told."""
    document, expected = samples.bad(name)

    with pytest.raises(Refused) as refused:
        cluster.api.create(document, namespace=namespace, fieldValidation="Strict")

    assert words(refused.value) == expected
    assert not cluster.api.items(document["kind"], namespace, version=API_VERSION)


@pytest.mark.parametrize("case", CHANGES)
def test_what_is_immutable_cannot_be_changed(cluster, namespace, case):
    """Neither changed nor taken away, and what was left out cannot be added."""
    name, spec, message = CHANGES[case]
    document = stored(cluster, namespace, name)

    with pytest.raises(Refused) as refused:
        change(cluster, namespace, document, spec)

    assert words(refused.value) == message


def tell(cluster, namespace, document, status):
    """Write a status."""
    name = document["metadata"]["name"]
    return cluster.api.patch(document["kind"], name, {"status": status}, namespace, version=API_VERSION, subresource="status")


def test_the_rest_of_a_memory_can_be_changed(cluster, namespace):
    """Quota, retention, access, backups and what deletion means; and a hand-over once."""
    document = stored(cluster, namespace, "agentmemory")
    wanted = {
        "quota": {"events": 5},
        "retention": {"maxAgeDays": 1},
        "access": {"role": "reader", "secretName": "other"},
        "backup": {"schedule": "*/5 * * * *"},
        "deletionPolicy": "Erase",
        "handOverTo": {"to": "agent:a-1"},
    }

    changed = change(cluster, namespace, document, wanted, fieldValidation="Strict")

    assert (changed["metadata"]["generation"], changed["spec"]["handOverTo"]) == (2, {"to": "agent:a-1", "reason": "request"})


def test_the_least_that_one_can_say_is_filled_in(cluster, namespace):
    """What the operator finds does not depend on how much was written."""
    assert stored(cluster, namespace, "agentmemory")["spec"] == {
        "access": {"role": "writer", "rotateEveryDays": 90, "tokenOverlapSeconds": 3600},
        "deletionPolicy": "Retain",
        "isolation": "shared",
    }
    assert stored(cluster, namespace, "memorybackup")["spec"] == {
        "all": False,
        "deletionPolicy": "Retain",
        "memoryRef": {"name": "helpdesk"},
    }
    assert stored(cluster, namespace, "memoryerasure-label")["spec"] == {
        "memoryRef": {"name": "helpdesk"},
        "reason": "request",
        "selector": {"everything": False, "label": "hr"},
        "undoSeconds": 0,
    }


def test_a_part_that_was_written_is_filled_in_too(cluster, namespace):
    """A default of an object is not lost because somebody set one field of it."""
    document = samples.good("agentmemory")
    document["spec"] = {"access": {"role": "reader"}, "backup": {"schedule": "0 3 * * *"}, "redaction": {}}

    made = cluster.api.create(document, namespace=namespace)["spec"]

    assert made["access"] == {"role": "reader", "rotateEveryDays": 90, "tokenOverlapSeconds": 3600}
    assert made["backup"] == {"keep": 7, "schedule": "0 3 * * *"}


@pytest.mark.parametrize("kind", [resource.kind for resource in RESOURCES])
def test_the_status_is_written_by_itself_only(cluster, namespace, kind):
    """Whoever may write a spec does not so tell lies about its state, and the other way round."""
    resource = next(one for one in RESOURCES if one.kind == kind)
    document = stored(cluster, namespace, kind.lower())
    (condition, *_) = samples.conditions(resource)
    status = {"observedGeneration": 1, "conditions": [samples.condition(condition, at=MOMENT)]}
    where = (kind, document["metadata"]["name"])

    cluster.api.patch(*where, {"status": status}, namespace, version=API_VERSION)
    assert "status" not in cluster.api.get(*where, namespace, version=API_VERSION)

    told = {"spec": {"suspend": True, "deletionPolicy": "Erase", "reason": "legal"}, "status": status}
    written = cluster.api.patch(*where, told, namespace, version=API_VERSION, subresource="status")
    assert (written["status"], written["spec"], written["metadata"]["generation"]) == (status, document["spec"], 1)


@pytest.mark.parametrize("kind", [resource.kind for resource in RESOURCES])
def test_everything_that_a_status_can_say_is_kept(cluster, namespace, kind):
    """By server-side apply, as the operator does it; a field that the CRD lacked would be refused or dropped."""
    resource = next(one for one in RESOURCES if one.kind == kind)
    document = stored(cluster, namespace, kind.lower())
    status = samples.full_status(resource, at=MOMENT)
    said = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": document["metadata"]["name"]}, "status": status}

    applied = cluster.api.apply(said, namespace=namespace, subresource="status", fieldValidation="Strict")

    assert applied["status"] == status


def test_a_condition_that_nobody_knows_is_refused(cluster, namespace):
    """Conditions are typed: whoever waits for one can rely on its name."""
    document = stored(cluster, namespace, "agentmemory")
    status = {"conditions": [samples.condition("Fine", at=MOMENT)]}

    with pytest.raises(Refused, match=r'status.conditions\[0\].type: Unsupported value: "Fine"'):
        cluster.api.patch(
            "AgentMemory", document["metadata"]["name"], {"status": status}, namespace, version=API_VERSION, subresource="status"
        )


def test_a_condition_is_there_once(cluster, namespace):
    """Two writers that say something of the same type cannot both be right."""
    document = stored(cluster, namespace, "agentmemory")
    ready = samples.condition("Ready", at=MOMENT)
    status = {"conditions": [ready, {**ready, "status": "False"}]}

    with pytest.raises(Refused, match="Duplicate value"):
        cluster.api.patch(
            "AgentMemory", document["metadata"]["name"], {"status": status}, namespace, version=API_VERSION, subresource="status"
        )


def test_one_condition_is_applied_beside_those_of_others(cluster, namespace):
    """The list is keyed by type, so each writer has its own."""
    stored(cluster, namespace, "agentmemory")
    for manager, type_ in (("a", "Ready"), ("b", "LogIntact")):
        said = {"apiVersion": API_VERSION, "kind": "AgentMemory", "metadata": {"name": "helpdesk"}}
        said["status"] = {"conditions": [samples.condition(type_, at=MOMENT)]}
        last = cluster.api.apply(said, namespace=namespace, manager=manager, subresource="status")

    assert {one["type"] for one in last["status"]["conditions"]} == {"Ready", "LogIntact"}


def test_kubectl_shows_what_matters(cluster, namespace):
    """By the category, by short names, and with the columns that each kind has."""
    for resource in RESOURCES:
        stored(cluster, namespace, resource.kind.lower())
        by_short_name = cluster.kubectl("get", resource.short, "-n", namespace, "-o", "wide")
        header = by_short_name.stdout.splitlines()[0].split()
        assert header == ["NAME", *(column.name.upper() for column in resource.columns)], by_short_name.stderr

    listed = cluster.kubectl("get", CATEGORY, "-n", namespace, "-o", "name").stdout.split()
    assert sorted(line.partition(".")[0] for line in listed) == sorted(resource.kind.lower() for resource in RESOURCES)


def test_kubectl_explains_a_field(cluster):
    """The descriptions reach whoever asks the cluster."""
    told = cluster.kubectl("explain", "agentmemories.spec.deletionPolicy")

    assert "Retain: it stays, only the credentials end." in " ".join(told.stdout.split())


def test_what_cannot_be_changed_can_be_let_go(cluster, namespace):
    """A spec is immutable, its finalizers are not, so nothing is stuck for ever."""
    document = copy.deepcopy(samples.good("memoryerasure"))
    document["metadata"]["finalizers"] = ["memory.kalends.dev/finalizer"]
    cluster.api.create(document, namespace=namespace)
    where = ("MemoryErasure", document["metadata"]["name"])

    cluster.api.delete(*where, namespace, version=API_VERSION)
    assert cluster.api.get(*where, namespace, version=API_VERSION)["metadata"]["deletionTimestamp"]
    cluster.api.patch(*where, {"metadata": {"finalizers": None}}, namespace, version=API_VERSION)

    assert not cluster.api.exists(*where, namespace, version=API_VERSION)
