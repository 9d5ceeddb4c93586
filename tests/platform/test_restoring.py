"""Restores in a running instance: of a dedicated memory, and in place, which waits for a second person.

Belongs here: that nothing happens before somebody else says so, what is there then, and that erasing and indexing follow. Does not belong
here: what belongs to a state (``tests/services/test_restoring``). A newcomer would get wrong: a restore into a new name waits for nobody,
for nothing goes; and what was too much in place is erased for good, so a second restore does not bring it back.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.platform.people import Person
from tests.support.instance import Instance, wait_until

from kalends.client import Kalends

SETTINGS = {"KALENDS_APPROVALS__OPERATIONS": "restore", "KALENDS_ERASURE__FENCE_S": "0.5"}
BEFORE, AFTER = "the heron stands in the reeds", "a fox crossed the yard"


@dataclass(frozen=True, kw_only=True)
class People:
    """The first admin, and two whom it made."""

    first: Person
    ann: Person
    ben: Person

    def ended(self, operation_id: str) -> Any:
        """An operation once it has ended."""
        found: list[Any] = []

        def met() -> bool:
            found.append(self.first.good("GET", f"/operations/{operation_id}"))
            return found[-1]["state"] in {"succeeded", "failed", "cancelled"}

        assert wait_until(met, seconds=90, every=0.1), found[-1]
        return found[-1]

    def backed_up(self, memory: str) -> str:
        """A backup of one memory."""
        begun = self.first.good("POST", "/admin/backups", {"memory": memory})["operation_id"]
        assert self.ended(begun)["state"] == "succeeded"
        return str(begun)

    def changed(self, name: str, *, isolation: str) -> tuple[str, str]:
        """A memory that was backed up and got one more event since: its path, and the backup."""
        path = self.first.make_memory(name, isolation=isolation)
        self.first.remember(path, BEFORE)
        backup = self.backed_up(name)
        self.first.remember(path, AFTER, session_id="later")
        return path, backup

    def texts(self, path: str) -> list[str]:
        """What is in a memory."""
        return [one["text"] for one in self.first.good("GET", f"{path}/events")["items"]]


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory, prepared: Callable[[Path], Path]) -> Iterator[People]:
    """An instance of its own in which a restore in place waits."""
    with Instance(prepared(tmp_path_factory.mktemp("restoring") / "data"), settings=SETTINGS) as instance:
        instance.start()
        with (
            Person(instance, instance.token) as first,
            first.with_token("admin", memories=None) as ann,
            first.with_token("admin", memories=None) as ben,
        ):
            yield People(first=first, ann=ann, ben=ben)
        assert instance.terminate() == 0


@pytest.mark.parametrize("isolation", ["shared", "dedicated"])
def test_a_restore_in_place_is_done_by_somebody_elses_word(people: People, isolation: str) -> None:
    """Nothing is touched until then; afterwards it is what it was, for every arm, and both persons are in the audit."""
    path, backup = people.changed(f"replaced-{isolation}", isolation=isolation)
    body = {"backup_id": backup, "memory": f"replaced-{isolation}", "replace": True}
    begun = people.ann.good("POST", "/admin/restores", body)
    waiting = people.ben.good("GET", f"/approvals/{begun['approval_id']}")
    assert begun["operation_id"] is None
    assert (waiting["state"], waiting["operation"], waiting["memory"]) == ("pending", "restore", f"replaced-{isolation}")
    assert people.ann.good("POST", "/admin/restores", body) == begun, "the same wish is the one that waits"
    assert people.ann.ask("POST", f"/approvals/{begun['approval_id']}/approve").status_code == 403
    assert people.texts(path) == [BEFORE, AFTER]

    done = people.ben.good("POST", f"/approvals/{begun['approval_id']}/approve")
    ended = people.ended(begun["approval_id"])

    assert (done["state"], done["result"]) == ("done", f"operation {begun['approval_id']}")
    assert (ended["state"], ended["result"]) == ("succeeded", "1 events erased, 0 restored; 1 events, 0 nodes in the backup")
    assert people.texts(path) == [BEFORE]
    for mode in ("lexical", "vector"):
        assert people.first.found(path, "which fox crossed the yard?", mode=mode) == ([] if mode == "lexical" else [BEFORE])
    assert people.first.good("GET", path)["isolation"] == isolation
    entries = people.first.good("GET", "/audit?operation=restores.start&limit=2")["items"]
    assert [(one["actor"], one["outcome"], one.get("memory"), one.get("approved_by")) for one in entries] == [
        (people.ann.token_id, "ok", f"replaced-{isolation}", people.ben.token_id),
        (people.ann.token_id, "pending", None, None),
    ]


def test_a_restore_in_place_that_is_refused_changes_nothing(people: People) -> None:
    """And is over; a dry run waits for nobody."""
    path, backup = people.changed("refused", isolation="shared")
    with Kalends(people.ann.instance.url, token=people.ann.token) as kalends:
        begun = kalends.backups.restore(backup, memory="refused", replace=True)
        counted = kalends.backups.restore(backup, memory="refused", replace=True, dry_run=True)
    assert begun.approval_id is not None
    assert counted.operation_id is not None
    assert people.ended(counted.operation_id)["result"].startswith("1 events would be erased")

    assert people.ben.good("POST", f"/approvals/{begun.approval_id}/refuse")["state"] == "refused"

    assert people.texts(path) == [BEFORE, AFTER]
    assert people.first.ask("GET", f"/operations/{begun.approval_id}").status_code == 404
    assert people.ben.ask("POST", f"/approvals/{begun.approval_id}/approve").status_code == 409


def test_a_restore_in_place_that_cannot_be_done_any_more_fails(people: People) -> None:
    """Its backup was taken away while it waited; the memory stays as it is."""
    path, backup = people.changed("late", isolation="shared")
    begun = people.ann.good("POST", "/admin/restores", {"backup_id": backup, "memory": "late", "replace": True})
    people.first.good("DELETE", f"/admin/backups/{backup}")

    done = people.ben.good("POST", f"/approvals/{begun['approval_id']}/approve")
    assert (done["state"], done["error"]) == ("failed", "no such backup")
    assert people.texts(path) == [BEFORE, AFTER]


def test_what_a_former_owner_wanted_to_replace_is_not_replaced(people: People) -> None:
    """It was handed over while it waited; it would be the new owner's memory that goes back."""
    path, backup = people.changed("passed-on", isolation="shared")
    begun = people.ann.good("POST", "/admin/restores", {"backup_id": backup, "memory": "passed-on", "replace": True})
    with people.first.with_token("search", memories=["none"]) as new:
        people.first.good("POST", f"{path}/hand-over", {"to": f"token:{new.token_id}"})
        done = people.ben.good("POST", f"/approvals/{begun['approval_id']}/approve")
        texts = [one["text"] for one in new.good("GET", f"{path}/events")["items"]]

    assert (done["state"], "handed over" in (done["error"] or "")) == ("failed", True)
    assert texts == [BEFORE, AFTER]


def test_a_dedicated_memory_is_restored_into_a_new_one_and_serves(people: People) -> None:
    """It waits for nobody, is dedicated too, is found by both arms, takes more, and outlives the first."""
    path, backup = people.changed("pond", isolation="dedicated")
    begun = people.ann.good("POST", "/admin/restores", {"backup_id": backup, "memory": "pond", "into": "pond-again"})
    ended = people.ended(begun["operation_id"])
    again = "/memories/pond-again"
    assert wait_until(lambda: people.first.found(again, "which bird?", mode="vector") == [BEFORE], seconds=30)
    people.first.remember(again, "the pond froze over")
    people.first.good("DELETE", path)

    assert ended["state"] == "succeeded", ended
    assert people.first.good("GET", again)["isolation"] == "dedicated"
    assert people.texts(again) == [BEFORE, "the pond froze over"]
    assert people.first.found(again, "heron", mode="lexical") == [BEFORE]
