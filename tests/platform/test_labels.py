"""Labels in a whole instance: whoever lacks a label meets nothing of what has it, on any read path, and fills pages with the rest.

A newcomer would get wrong: the canary is in what has the label ``hr`` and nowhere else, so an answer that holds it has leaked.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.platform.people import Person
from tests.support.instance import clean_environment, wait_until

from kalends.client import Kalends, NewEvent

CANARY = "quetzalcanary"
MEMORY = "labelled"
LONG_AGO = "2021-03-04T12:{minute:02d}:00Z"
NODE = "toc:day:2021-03-04"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A memory in which some is for ``hr``, some for ``board``, some for both, and the rest for everybody."""

    path: str
    admin: Person
    secret_ids: tuple[str, ...]
    open_ids: tuple[str, ...]
    hr: Person
    board: Person
    plain: Person
    """Sees what has no label."""


def document(name: str, text: str, **more: Any) -> dict[str, Any]:
    """A document as it is sent."""
    return {"document_id": name, "text": text, "title": f"title of {text}", **more}


@pytest.fixture(scope="module")
def world(admin: Person) -> Iterator[World]:
    """Events in one session, a session of its own, and documents; all of them in every projection and the calendar."""
    path = admin.make_memory(MEMORY)
    spoken = [
        {
            "session_id": "talk",
            "kind": "message",
            "occurred_at": LONG_AGO.format(minute=number),
            "text": f"the salary of the {CANARY} number {number}" if number % 2 else f"the harbour at noon, number {number}",
            "labels": ["hr"] if number % 2 else [],
        }
        for number in range(12)
    ]
    secret = {"session_id": "closed", "kind": "message", "text": f"only of {CANARY}", "labels": ["hr", "board"]}
    told = admin.ask("POST", f"{path}/events", {"events": [*spoken, secret]}, headers={"prefer": "wait=30"})
    assert told.status_code == 200, told.text
    ids = [one["event_id"] for one in told.json()["results"]]
    for sent in (document("aa-secret", f"# {CANARY}\n\nsalary", labels=["hr"]), document("bb-open", "# harbour\n\nnoon")):
        kept = admin.ask("POST", f"{path}/documents", sent, headers={"prefer": "wait=30"})
        assert kept.status_code == 200, kept.text
    assert wait_until(lambda: admin.ask("GET", f"{path}/toc/{NODE}").status_code == 200, seconds=90), admin.good("GET", "/status")
    rights = ("append", "search", "erase")
    with (
        admin.with_token(*rights, memories=[MEMORY], labels=["hr"]) as hr,
        admin.with_token(*rights, memories=[MEMORY], labels=["board"]) as board,
        admin.with_token(*rights, memories=[MEMORY], labels=[]) as plain,
    ):
        yield World(
            path=path,
            admin=admin,
            secret_ids=(*ids[1:12:2], ids[12]),
            open_ids=tuple(ids[0:12:2]),
            hr=hr,
            board=board,
            plain=plain,
        )


def everything(world: World, person: Person) -> str:
    """What every read path answers to somebody, as one text."""
    said: list[Any] = []
    for query in ("salary", CANARY, "harbour at noon"):
        for mode in ("hybrid", "lexical", "vector"):
            for targets in (["events"], ["documents"], ["toc"], ["grips"], ["events", "documents", "toc", "grips"]):
                body = {"query": query, "mode": mode, "targets": targets, "explain": True, "limit": 50}
                said.append(person.good("POST", f"{world.path}/search", body)["hits"])
        said.append(person.good("POST", f"{world.path}/search", {"query": query, "rerank": "on", "limit": 50})["hits"])
        said.append(person.good("POST", f"{world.path}/context", {"query": query, "max_tokens": 4000, "recent": 200})["text"])
    lists = ["/events?limit=200", "/events?limit=200&order=desc", "/sessions", "/documents", "/toc", f"/toc/{NODE}", f"/toc/{NODE}/grips"]
    grips = person.good("GET", f"{world.path}/toc/{NODE}/grips")["items"]
    around = [f"/events/{event_id}?before=100&after=100" for event_id in world.open_ids]
    around += [f"/grips/{grip['grip_id']}?before=100&after=100" for grip in grips]
    said += [person.good("GET", world.path + rest) for rest in (*lists, *around)]
    said += [person.ask("GET", f"{world.path}{rest}").text for rest in ("/sessions/talk", "/sessions/closed", "/documents/aa-secret")]
    return json.dumps(said)


def test_who_lacks_the_label_meets_nothing_of_it_and_who_has_it_all(world: World) -> None:
    """On every read path; one of several labels is enough."""
    assert CANARY in everything(world, world.hr)
    assert CANARY not in everything(world, world.plain)
    of_board = everything(world, world.board)
    assert f"only of {CANARY}" in of_board
    assert "salary" not in of_board.replace('"salary"', "")


def test_the_calendar_never_rests_on_anything_with_a_label(world: World) -> None:
    """Not even for who sees everything: its lines are shown to all."""
    said = json.dumps([world.admin.good("GET", f"{world.path}{rest}") for rest in ("/toc", f"/toc/{NODE}", f"/toc/{NODE}/grips")])

    assert CANARY not in said
    assert world.admin.good("GET", f"{world.path}/toc/{NODE}")["event_count"] == len(world.open_ids)


def test_filtered_pages_are_full(world: World) -> None:
    """What may not be seen takes no place in a page, however well it fits."""
    body = {"query": f"salary {CANARY} number", "limit": 6, "rerank": "off"}
    page = world.plain.good("GET", f"{world.path}/events?limit=7")

    assert len(world.plain.good("POST", f"{world.path}/search", body)["hits"]) == 6
    assert len(page["items"]) == 7
    assert page["next_cursor"] is None
    around = world.plain.good("GET", f"{world.path}/events/{world.open_ids[3]}?before=2&after=2")
    assert [one["event_id"] for one in (*around["before"], *around["after"])] == [*world.open_ids[1:3], *world.open_ids[4:6]]


def test_counts_are_those_of_what_is_seen(world: World) -> None:
    """Of memories and of sessions; a session of which nothing is seen is unknown."""
    shown = {
        name: {one["session_id"]: one["events"] for one in person.good("GET", f"{world.path}/sessions")["items"]}
        for name, person in (("all", world.admin), ("hr", world.hr), ("board", world.board), ("plain", world.plain))
    }
    assert shown == {
        "all": {"talk": 12, "closed": 1},
        "hr": {"talk": 12, "closed": 1},
        "board": {"talk": 6, "closed": 1},
        "plain": {"talk": 6},
    }
    assert world.plain.good("GET", f"{world.path}/sessions/talk")["events"] == 6
    assert world.plain.ask("GET", f"{world.path}/sessions/closed").status_code == 404
    counted = {name: person.good("GET", world.path) for name, person in (("all", world.admin), ("plain", world.plain))}
    assert [counted["all"][what] - counted["plain"][what] for what in ("events", "documents", "sessions")] == [8, 1, 1]
    assert counted["plain"]["log_bytes"] < counted["all"]["log_bytes"]


def test_what_is_not_seen_is_unknown_by_its_id(world: World) -> None:
    """Its answer is that of an id that nobody ever used; taken back or removed it cannot be either."""
    absent = world.plain.ask("GET", f"{world.path}/events/01J00000000000000000000000")
    hidden = world.plain.ask("GET", f"{world.path}/events/{world.secret_ids[0]}")

    assert hidden.status_code == absent.status_code == 404
    assert hidden.json()["detail"] == absent.json()["detail"]
    assert world.plain.ask("DELETE", f"{world.path}/documents/aa-secret").status_code == 404
    assert world.hr.good("GET", f"{world.path}/documents/aa-secret")["labels"] == ["hr"]
    assert world.hr.good("GET", f"{world.path}/events/{world.secret_ids[0]}")["labels"] == ["hr"]


def test_an_id_that_is_taken_tells_no_more_than_that(world: World) -> None:
    """The same for what is hidden as for what is seen; a hidden document is not replaced."""
    event = {"session_id": "talk", "kind": "message", "text": "mine"}

    told = [
        world.plain.ask("POST", f"{world.path}/events", {"events": [{**event, "event_id": one}]}).json()["errors"]
        for one in (world.secret_ids[0], world.open_ids[0])
    ]
    assert told[0] == told[1]
    world.admin.good("POST", f"{world.path}/documents", document("short-lived", "text"))
    (chunk,) = world.admin.good("GET", f"{world.path}/documents/short-lived")["chunk_ids"]
    world.admin.good("DELETE", f"{world.path}/documents/short-lived")
    again = {"events": [{**event, "event_id": chunk}]}
    assert wait_until(lambda: world.admin.ask("POST", f"{world.path}/events", again).json()["errors"][0]["code"] == "gone", seconds=20)
    assert world.plain.ask("POST", f"{world.path}/events", again).json()["errors"] == told[0]
    refused = world.plain.ask("POST", f"{world.path}/documents", document("aa-secret", "mine now"))
    assert refused.status_code == 409
    assert CANARY not in refused.text
    assert "hr" not in refused.json()["detail"]


def test_only_labels_that_one_has_can_be_set(world: World) -> None:
    """Item by item for events; 403 for a document."""
    event = {"session_id": "tries", "kind": "message", "text": "whispered"}

    answer = world.board.ask("POST", f"{world.path}/events", {"events": [{**event, "labels": ["board"]}, {**event, "labels": ["hr"]}]})
    assert [one["status"] for one in answer.json()["results"]] == ["new", "rejected"]
    assert answer.json()["results"][1]["error"]["code"] == "label_lacking"
    assert world.board.ask("POST", f"{world.path}/documents", document("mine", "mine", labels=["hr"])).status_code == 403


@pytest.mark.parametrize("labels", [["HR"], ["h r"], [""], ["-x"], ["x" * 65], [f"l{number}" for number in range(17)], "hr"])
def test_what_is_no_label_is_refused(world: World, labels: object) -> None:
    """For events, documents and credentials."""
    event = {"session_id": "tries", "kind": "message", "text": "whispered", "labels": labels}

    assert world.admin.ask("POST", f"{world.path}/events", {"events": [event]}).status_code == 422
    assert world.admin.ask("POST", f"{world.path}/documents", document("wrong", "text", labels=labels)).status_code == 422
    if labels != [f"l{number}" for number in range(17)]:  # a credential may have more
        assert world.admin.ask("POST", "/tokens", {"memories": None, "role": "reader", "labels": labels}).status_code == 422


def test_an_erasure_needs_a_credential_of_all_labels(world: World) -> None:
    """It would count, and take away, what its asker does not see."""
    for method, rest, body in (
        ("POST", "/erasures", {"session_id": "talk", "dry_run": True}),
        ("GET", "/erasures", None),
        ("DELETE", "?dry_run=true", None),
    ):
        assert world.hr.ask(method, world.path + rest, body).status_code == 403


def test_nobody_gives_away_a_label_that_they_lack(world: World) -> None:
    """Neither in a new token nor by rotating one, nor does such a token see the others."""
    with world.admin.with_token("admin", memories=[MEMORY], labels=["hr"]) as chief:
        made = chief.good("POST", "/tokens", {"memories": [MEMORY], "role": "reader", "labels": ["hr"]})
        assert made["labels"] == ["hr"]
        for labels in (None, ["board"], ["hr", "board"]):
            assert chief.ask("POST", "/tokens", {"memories": [MEMORY], "role": "reader", "labels": labels}).status_code == 403
        seen = {one["id"] for one in chief.good("GET", "/tokens")["items"]}
        assert made["id"] in seen
        assert world.board.token_id not in seen
        assert chief.ask("POST", f"/tokens/{world.board.token_id}/rotate", {}).status_code == 404
        assert chief.good("POST", f"/tokens/{made['id']}/rotate", {})["labels"] == ["hr"]


def test_a_cursor_is_of_one_clearance(world: World) -> None:
    """Another one's is refused."""
    for rest in ("/events?limit=1", "/sessions?limit=1", "/documents?limit=1"):
        cursor = world.admin.good("GET", world.path + rest)["next_cursor"]
        assert world.admin.ask("GET", f"{world.path}{rest}&cursor={cursor}").status_code == 200
        assert world.plain.ask("GET", f"{world.path}{rest}&cursor={cursor}").status_code == 422


def test_a_document_changes_its_labels_by_being_kept_again(world: World) -> None:
    """Its new chunks have the new ones, the old chunks are gone; the same labels in another order change nothing."""
    path = world.admin.make_memory("relabelled")
    wait = {"prefer": "wait=30"}
    with world.admin.with_token("search", memories=["relabelled"], labels=[]) as plain:
        for labels, expected in (([], 1), (["hr"], 0), (["hr", "board"], 0), ([], 1)):
            kept = world.admin.ask("POST", f"{path}/documents", document("paper", "the weighbridge", labels=labels), headers=wait)
            assert kept.json().get("labels", []) == sorted(labels)
            assert wait_until(lambda wanted=expected: len(plain.found(path, "weighbridge", targets=["documents"])) == wanted, seconds=20)
            assert len(plain.good("GET", f"{path}/documents")["items"]) == expected
            again = world.admin.good("POST", f"{path}/documents", document("paper", "the weighbridge", labels=labels[::-1]))
            assert again["status"] == "unchanged"


def test_what_has_a_label_is_erased_by_it(world: World) -> None:
    """Events and documents, and nothing else; while it is only hidden it is in no list."""
    path = world.admin.make_memory("unlabelling")
    events = [
        {"session_id": "s", "kind": "note", "text": f"weighbridge {one}", "labels": one} for one in ([], ["hr"], ["hr", "board"], ["board"])
    ]
    told = world.admin.ask("POST", f"{path}/events", {"events": events}, headers={"prefer": "wait=30"}).json()["results"]
    for name, labels in (("open", []), ("closed", ["hr"])):
        world.admin.ask("POST", f"{path}/documents", document(name, f"weighbridge {name}", labels=labels), headers={"prefer": "wait=30"})
    assert world.admin.good("POST", f"{path}/erasures", {"label": "hr", "dry_run": True})["counts"] == {
        "events": 3,
        "sessions": 1,
        "documents": 1,
    }

    begun = world.admin.good("POST", f"{path}/erasures", {"label": "hr"})
    assert [one["document_id"] for one in world.admin.good("GET", f"{path}/documents")["items"]] == ["open"]
    assert wait_until(lambda: world.admin.good("GET", f"{path}/erasures/{begun['erasure_id']}")["state"] == "erased", seconds=120)

    left = {one["event_id"] for one in world.admin.good("GET", f"{path}/events")["items"] if one["document_id"] is None}
    assert left == {told[0]["event_id"], told[3]["event_id"]}
    assert [one["document_id"] for one in world.admin.good("GET", f"{path}/documents")["items"]] == ["open"]
    assert begun["selector"] == "label"
    assert world.admin.good("GET", f"{path}/erasures/{begun['erasure_id']}/receipt")["counts"]["documents"] == 1


async def test_over_nats_it_is_the_same(world: World) -> None:
    """One table of operations, one filter."""
    said: dict[str, str] = {}
    for name, person in (("hr", world.hr), ("plain", world.plain)):
        async with person.on_nats() as client:
            asked = {"search": {"query": CANARY, "mode": "lexical"}, "events.list": {}, "sessions.list": {}}
            answers = [await person.request(client, MEMORY, subject, body) for subject, body in asked.items()]
            said[name] = str([answer.data for answer in answers])

    assert CANARY in said["hr"]
    assert CANARY not in said["plain"]
    assert "talk" in said["plain"]


def test_the_sdk_and_the_command_line_know_labels(world: World) -> None:
    """They set them, show them, and make credentials of some."""
    world.admin.make_memory("by-sdk")
    instance = world.admin.instance
    with Kalends(instance.url, token=instance.token) as kalends:
        memory = kalends.memory("by-sdk")
        receipt = memory.append(NewEvent(text="a word", session_id="s", labels=("hr",)), wait_s=20)
        assert memory.event(receipt.event_ids[0]).labels == ["hr"]
        assert memory.put_document("paper", "text", labels=["hr", "board"]).labels == ["board", "hr"]
        assert [one.labels for one in memory.documents()] == [["board", "hr"]]
        made = kalends.create_token(memories=["by-sdk"], role="reader", labels=["board"])
        assert made.labels == ["board"]

    def run(*arguments: str) -> Any:
        env = {**clean_environment(), "KALENDS_URL": instance.url, "KALENDS_TOKEN_FILE": str(instance.token_file)}
        command = [sys.executable, "-m", "kalends.app.cli", "--json", "--memory", "by-sdk", *arguments]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, env=env).stdout)

    added = run("add", "another word", "--label", "it", "--label", "hr")
    assert world.admin.good("GET", f"/memories/by-sdk/events/{added['event_id']}")["labels"] == ["hr", "it"]
    assert run("token", "create", "--sees", "it", "--sees", "hr")["labels"] == ["hr", "it"]
    assert run("token", "create", "--sees-no-labels")["labels"] == []
    assert run("token", "create")["labels"] is None
    assert run("forget", "--label", "it", "--dry-run")["counts"]["events"] == 1
