"""A memory is handed over while its owner writes, others read and the key-encryption key is rotated: each call is before it or refused.

Belongs here: the hand-over under load, on a whole instance. Does not belong here: its steps (``tests/services/test_handing_over``), deaths
(``test_failpoints``). A newcomer would get wrong: a write that the former owner was told of is kept, however late it came.
"""

import threading
from dataclasses import dataclass, field

from tests.support import verdicts
from tests.support.api import Api
from tests.support.instance import Instance, wait_until

from kalends.adapters.embedded.kek import add_successor

MEMORY = "passed-on"
WRITERS = 4


@dataclass
class Former:
    """Writes and reads as the owner that was, in a session of its own each time, and takes every answer down."""

    acked: list[str] = field(default_factory=list)
    after: list[int] = field(default_factory=list)
    """Statuses of calls that began after the hand-over was answered."""

    statuses: set[int] = field(default_factory=set)
    handed: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)

    def write(self, api: Api, number: int) -> None:
        """One call after the other until told to stop."""
        count = 0
        while not self.stop.is_set():
            count += 1
            late = self.handed.is_set()
            event = {"session_id": f"{number}-{count}", "kind": "note", "text": f"said by {number}, for the {count}th time"}
            reply = api.ask("POST", f"/memories/{MEMORY}/events", {"events": [event]})
            if reply.status in {200, 202}:
                self.acked.append(reply.body["results"][0]["event_id"])
            read = api.ask("GET", f"/memories/{MEMORY}/events?limit=1")
            self.statuses |= {reply.status, read.status}
            if late:
                self.after += [reply.status, read.status]


def test_under_load_each_call_is_before_the_hand_over_or_refused(instance: Instance) -> None:
    """What was acknowledged is there, nothing is let through afterwards, and a rotation at the same time ends as it should."""
    instance.start({"KALENDS_KEYS__RELOAD_S": "0.5"})
    with verdicts.api_of(instance) as api:
        api.make_memory(MEMORY)
        tokens = [api.good("POST", "/tokens", {"memories": [memory], "rights": ["append", "search"]}) for memory in (MEMORY, "other")]
        former, secret = Former(), tokens[0]["token"]
        clients = [Api(lambda: instance.url, lambda: secret) for _ in range(WRITERS)]
        threads = [threading.Thread(target=former.write, args=(one, number)) for number, one in enumerate(clients)]
        for thread in threads:
            thread.start()
        try:
            assert wait_until(lambda: len(former.acked) > 100, seconds=60)
            add_successor(instance.data / "keys" / "kek")
            rotation = api.good("POST", "/admin/key-rotations", {})["operation_id"]
            told = api.good("POST", f"/memories/{MEMORY}/hand-over", {"to": f"token:{tokens[1]['id']}"})
            former.handed.set()
            assert wait_until(lambda: len(former.after) > 50, seconds=60)
            done = [api.finished(one, seconds=120.0) for one in (told["operation_id"], rotation)]
        finally:
            former.stop.set()
            for thread in threads:
                thread.join(30)
            for one in clients:
                one.close()
        api.quiet()
        found = {one["event_id"] for one in api.events(MEMORY)}

    assert set(former.after) == {404}
    assert former.statuses <= {200, 202, 404}
    assert set(former.acked) == found
    assert int(done[0]["result"].partition(" ")[0]) >= len(former.acked) - WRITERS
    assert "no older key-encryption key is needed" in done[1]["result"]
    with Api(lambda: instance.url, lambda: tokens[1]["token"]) as owner:
        assert {one["event_id"] for one in owner.events(MEMORY)} == found
