"""A namespace is deleted, with all that is in it, while the operator looks after it.

Belongs here: what becomes of the memories, and that the namespace goes. Does not belong here: the deletion of one resource
(``test_operator_memories``). A newcomer would get wrong: nothing can be made in a namespace that is going, no event and no Secret; and the
API server takes role bindings away with all else, so the operator's rights must not lie in it.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kalends.client import Kalends, NotFound
from tests.kubernetes.test_operator_memories import NAME, admin, credentials, memory_name, provision
from tests.support.instance import Instance
from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.kubernetes.marks import MARKS
from tests.support.operating import Operated

pytestmark = [*MARKS]


@pytest.fixture
def running(cluster: ControlPlane, kalends: Instance, namespace: str, tmp_path: Path) -> Iterator[Operated]:
    """An operator that lives in another namespace than the one that it watches."""
    home = f"{namespace}-home"
    cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": home}})
    with Operated(cluster, kalends, namespace, tmp_path, home=home) as made:
        yield made.start()
    cluster.api.delete("Namespace", home)


def told(operated: Operated, **spec: object) -> None:
    """A memory that is Ready and holds something."""
    secret = provision(operated, **spec)
    with Kalends(secret["url"], token=secret["token"]) as kalends:
        kalends.memory(secret["memory"]).append({"session_id": "s", "kind": "message", "text": "what was said"}, wait_s=30)


def test_it_goes_and_what_was_to_be_retained_is_kept(running: Operated):
    """Whatever else asked something of the memory goes too; the credentials end."""
    told(running)
    running.ask("MemoryErasure", "forget-other", {"memoryRef": {"name": NAME}, "selector": {"sessionId": "other"}})
    running.ask("MemoryBackupSchedule", "nightly", {"schedule": "0 3 * * *", "template": {"memoryRef": {"name": NAME}}})

    running.cluster.api.clear_away(running.namespace)

    assert credentials(running) == ([], [])
    with admin(running) as kalends:
        assert [one.text for one in kalends.memory(memory_name(running)).events()] == ["what was said"]


def test_it_goes_once_what_was_to_be_erased_is_erased(running: Operated):
    """And not before: the erasure is done by its protocol."""
    told(running, deletionPolicy="Erase")

    running.cluster.api.clear_away(running.namespace)

    assert credentials(running) == ([], [])
    with admin(running) as kalends:
        assert [one.state for one in kalends.memory(memory_name(running)).erasures()] == ["erased"]
        with pytest.raises(NotFound):
            kalends.memory(memory_name(running)).info()
