"""Risky operations wait for a second person: over HTTP, over NATS, from the command line and with the SDK.

Belongs here: that nothing happens before somebody else says so, and that it happens then. Does not belong here: expiry and races, which
are ``tests/services/test_approving``. A newcomer would get wrong: the first admin made both other admins' tokens, so it may decide for
neither; the two are made by one and the same and by none of them, so they may.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.platform.people import TENANT, Person
from tests.platform.test_isolation_nats import platform_bus
from tests.support.instance import Instance, clean_environment, wait_until

from kalends.client import Forbidden, Kalends

ASKED = {"KALENDS_APPROVALS__OPERATIONS": "erase_everything,hand_over"}


@dataclass(kw_only=True)
class People:
    """The first admin, and two whom it made."""

    first: Person
    ann: Person
    ben: Person
    folder: Path

    def memory(self, name: str) -> str:
        """A memory with something in it."""
        path = self.first.make_memory(name)
        self.first.remember(path, f"something in {name}")
        return path

    def command(self, who: Person, *words: str, code: int = 0) -> Any:
        """What a command answers to *who*, as JSON."""
        file = self.folder / f"{who.token_id}.token"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(str(who.token))
        told = subprocess.run(
            [sys.executable, "-m", "kalends.app.cli", *words, "--json"],
            env={**clean_environment(), "KALENDS_URL": who.instance.url, "KALENDS_TOKEN_FILE": str(file)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert told.returncode == code, told.stderr
        return json.loads(told.stdout) if told.stdout else None


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory, prepared: Callable[[Path], Path]) -> Iterator[People]:
    """An instance of its own in which everything risky waits."""
    folder = tmp_path_factory.mktemp("approvals")
    with Instance(prepared(folder / "data"), settings=ASKED) as instance:
        instance.start()
        with (
            Person(instance, instance.token) as first,
            first.with_token("admin", memories=None) as ann,
            first.with_token("admin", memories=None) as ben,
        ):
            yield People(first=first, ann=ann, ben=ben, folder=folder)
        assert instance.terminate() == 0


def test_a_hand_over_waits_and_is_done_by_somebody_elses_word(people: People) -> None:
    """Until then the memory has no owner; then both are in the audit."""
    path = people.memory("handed")
    with people.first.with_token("search", memories=["none"]) as new:
        told = people.ann.ask("POST", f"{path}/hand-over", {"to": f"token:{new.token_id}"})
        waiting = told.json()["approval"]
        assert (told.status_code, told.json()["owner"], waiting["state"], waiting["memory"]) == (202, None, "pending", "handed")
        assert new.ask("GET", path).status_code == 404
        assert people.ann.good("GET", f"/approvals/{waiting['approval_id']}") == waiting

        done = people.ben.good("POST", f"/approvals/{waiting['approval_id']}/approve")

        assert (done["state"], done["decided_by"]) == ("done", f"token:{people.ben.token_id}")
        assert new.good("GET", path)["owner"] == f"token:{new.token_id}"
        assert people.ben.ask("POST", f"/approvals/{waiting['approval_id']}/approve").status_code == 409
    entries = people.first.good("GET", "/audit?operation=memories.hand_over&memory=handed")["items"]
    assert [(one["actor"], one["outcome"], one.get("approved_by", "")) for one in entries] == [
        (people.ann.token_id, "ok", people.ben.token_id),
        (people.ann.token_id, "pending", ""),
    ]
    assert people.first.good("GET", "/audit/verification")["broken"] is None


def test_who_asked_cannot_decide(people: People) -> None:
    """Nor by a successor of the same token, nor by a token that they made, nor can who made theirs; all with a clear text."""
    path = people.memory("alone")
    with (
        people.first.with_token("admin", memories=None) as cora,
        cora.with_token("admin", memories=None) as made,
        made.with_token("admin", memories=None) as made_by_that,
    ):
        asked = cora.good("POST", f"{path}/hand-over", {"to": f"token:{people.ben.token_id}"})["approval"]["approval_id"]
        again = Person(cora.instance, cora.good("POST", f"/tokens/{cora.token_id}/rotate", {"overlap_s": 3600})["token"])
        for person in (cora, again, made, made_by_that, people.first):
            for verb in ("approve", "refuse"):
                answer = person.ask("POST", f"/approvals/{asked}/{verb}")
                assert (answer.status_code, "second person" in answer.json()["detail"]) == (403, True), answer.text
        again.client.close()
    assert people.ben.good("POST", f"/approvals/{asked}/refuse")["state"] == "refused"
    assert people.first.good("GET", path)["owner"] is None


def test_the_same_wish_again_is_the_one_that_waits(people: People) -> None:
    """And another's is another one."""
    path = people.memory("wished")
    body = {"to": f"token:{people.first.good('GET', '/tokens')['items'][0]['id']}"}
    ids = [one.good("POST", f"{path}/hand-over", body)["approval"]["approval_id"] for one in (people.ann, people.ann, people.ben)]

    assert (ids[0] == ids[1], ids[0] == ids[2]) == (True, False)


ERASING: list[tuple[str, str, str, object]] = [
    ("content", "POST", "/memories/content/erasures", {"everything": True}),
    ("whole", "DELETE", "/memories/whole", None),
]


@pytest.mark.parametrize(("name", "method", "path", "body"), ERASING)
def test_erasing_everything_waits(people: People, name: str, method: str, path: str, body: object) -> None:
    """Nothing is hidden before it is approved; a session alone needs nobody, and a dry run neither."""
    memory = people.memory(name)
    told = people.ann.ask(method, path, body)
    answer = told.json()
    assert (told.status_code, answer["state"], answer["erasure_id"]) == (202, "waiting", "")
    assert people.first.found(memory, "something") == [f"something in {name}"]
    assert people.first.good("GET", f"{memory}/erasures")["items"] == []

    done = people.ben.good("POST", f"/approvals/{answer['approval']['approval_id']}/approve")

    assert done["state"] == "done"
    assert people.first.found(memory, "something") == []
    (erasure,) = people.first.good("GET", f"{memory}/erasures")["items"]
    assert (erasure["erasure_id"] in done["result"], erasure["requested_by"]) == (True, people.ann.token_id)
    dry = people.ann.ask("POST", f"{memory}/erasures", {"session_id": "s", "dry_run": True})
    assert dry.status_code in {200, 404}


def test_a_session_is_erased_without_anybody_else(people: People) -> None:
    """Only erasing everything is risky enough."""
    memory = people.memory("sessions")

    assert people.ann.good("POST", f"{memory}/erasures", {"session_id": "s"})["state"] == "hidden"


async def test_erasing_everything_waits_over_nats_too(people: People) -> None:
    """The same answer by the same table."""
    people.memory("over-nats")
    async with platform_bus(people.first) as bus:
        answer = await bus.connection.request(
            f"kalends.v1.{TENANT}.over-nats.erasures.create",
            b'{"everything": true}',
            timeout=10,
            headers={"Authorization": f"Bearer {people.ann.token}"},
        )
    assert (answer.headers or {})["Kalends-Status"] == "202"
    assert json.loads(answer.data)["approval"]["state"] == "pending"


def test_what_a_former_owner_asked_for_is_not_done_to_the_new_owner(people: People) -> None:
    """An erasure that waited while the memory was handed over."""
    memory = people.memory("passed-on")
    with people.first.with_token("search", "erase", memories=["passed-on"]) as former:
        waiting = former.good("DELETE", memory)["approval"]["approval_id"]
    asked = people.ann.good("POST", f"{memory}/hand-over", {"to": f"token:{people.ben.token_id}"})["approval"]["approval_id"]
    people.ben.good("POST", f"/approvals/{asked}/approve")

    done = people.ann.good("POST", f"/approvals/{waiting}/approve")

    assert (done["state"], "handed over" in done["error"]) == ("failed", True)
    assert people.first.found(memory, "something") == ["something in passed-on"]


def test_what_cannot_be_done_any_more_has_failed(people: People) -> None:
    """A hold that was set meanwhile wins, and the approval says so."""
    memory = people.memory("held")
    waiting = people.ann.good("DELETE", memory)["approval"]["approval_id"]
    people.first.good("PUT", f"{memory}/holds/h1", {"everything": True})

    done = people.ben.good("POST", f"/approvals/{waiting}/approve")

    assert (done["state"], "h1" in done["error"]) == ("failed", True)
    assert people.first.found(memory, "something") == ["something in held"]
    (entry,) = people.first.good("GET", "/audit?operation=memories.remove&memory=held&outcome=conflict")["items"]
    assert entry["approved_by"] == people.ben.token_id


def test_who_is_limited_to_other_memories_sees_nothing_of_it(people: People) -> None:
    """404, and an empty list; and whoever is no admin may not ask at all."""
    memory = people.memory("seen")
    people.memory("unseen")
    waiting = people.ann.good("DELETE", memory)["approval"]["approval_id"]
    with people.first.with_token("admin", memories=["unseen"]) as other, people.first.with_token("admin", memories=["seen"]) as own:
        assert other.good("GET", "/approvals")["items"] == []
        assert {other.ask("POST", f"/approvals/{waiting}/{verb}").status_code for verb in ("approve", "refuse")} == {404}
        assert [one["approval_id"] for one in own.good("GET", "/approvals?state=pending")["items"]] == [waiting]
        assert own.good("POST", f"/approvals/{waiting}/refuse")["state"] == "refused"
    with people.first.with_token("search", memories=None) as reader:
        assert reader.ask("GET", "/approvals").status_code == 403


def test_the_command_line_asks_lists_and_decides(people: People) -> None:
    """Each with its own token file."""
    people.memory("typed")
    with people.first.with_token("search", memories=["none"]) as new:
        asked = people.command(people.ann, "memory", "hand-over", "typed", "--to", f"token:{new.token_id}", "--reason", "departure")
        waiting = asked["approval"]["approval_id"]
        assert waiting in [one["approval_id"] for one in people.command(people.ben, "approvals", "list", "--state", "pending")["items"]]
        people.command(people.ann, "approvals", "approve", waiting, code=4)
        assert people.command(people.ben, "approvals", "approve", waiting)["state"] == "done"
        assert people.command(people.ann, "memory", "show", "typed")["owner"] == f"token:{new.token_id}"
    erasing = people.command(people.ann, "--memory", "typed", "forget", "--everything", "--yes", "--wait")
    assert people.command(people.ben, "approvals", "refuse", erasing["approval"]["approval_id"])["state"] == "refused"


def test_the_client_asks_and_decides(people: People) -> None:
    """With the nouns of the SDK."""
    people.memory("coded")
    url = people.first.instance.url
    with Kalends(url, token=people.ann.token) as ann, Kalends(url, token=people.ben.token) as ben:
        asked = ann.memory("coded").forget(everything=True)
        assert (asked.state, asked.ended) == ("waiting", True)
        assert asked.approval is not None
        with pytest.raises(Forbidden, match="second person"):
            ann.approve(asked.approval.approval_id)
        assert ben.approve(asked.approval.approval_id).state == "done"
        assert ann.approval(asked.approval.approval_id).state == "done"
        assert asked.approval.approval_id in {one.approval_id for one in ann.approvals(state="done")}
        handed = ann.memory("coded").hand_over(f"token:{people.first.good('GET', '/tokens')['items'][0]['id']}")
        assert handed.approval is not None
        assert ben.refuse_approval(handed.approval.approval_id).state == "refused"


def test_the_erasure_of_a_tenant_takes_what_was_there_when_it_was_asked_for(people: People) -> None:
    """But what a hold keeps. Last in this module, for then little is left."""
    people.memory("going")
    people.memory("kept")
    people.first.good("PUT", "/memories/kept/holds/h1", {"everything": True})
    told = people.ann.ask("POST", "/erasures", {"everything": True})
    assert (told.status_code, told.json()["items"], told.json()["approval"]["memory"]) == (202, [], None)
    people.memory("later")
    with people.first.with_token("admin", memories=["going"]) as limited:
        assert limited.ask("POST", f"/approvals/{told.json()['approval']['approval_id']}/approve").status_code == 404

    done = people.ben.good("POST", f"/approvals/{told.json()['approval']['approval_id']}/approve")

    assert (done["state"], "kept: " in done["error"], "begun: " in done["error"]) == ("failed", True, True)
    gone = wait_until(lambda: "going" not in {one["name"] for one in people.first.good("GET", "/memories")["items"]}, seconds=60)
    assert gone
    for name in ("kept", "later"):
        assert people.first.found(f"/memories/{name}", "something") == [f"something in {name}"]


def test_nothing_waits_where_no_setting_says_so(admin: Person) -> None:
    """By default every operation is done at once."""
    memory = admin.make_memory("at-once")
    with admin.with_token("search", memories=["none"]) as new:
        told = admin.ask("POST", f"{memory}/hand-over", {"to": f"token:{new.token_id}"})
        assert (told.status_code, told.json()["approval"]) == (200, None)
    assert admin.ask("DELETE", memory).json()["approval"] is None
