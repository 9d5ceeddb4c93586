"""Making a memory, with a kill at each step: asked for again it is made, once, and in the one place that was chosen.

Belongs here: the steps between the claim of a name and the answer. Does not belong here: what a dedicated memory is
(``contracts/dedicated``). A newcomer would get wrong: the stream comes before the record, so a kill in between leaves a stream that belongs
to nobody yet.
"""

import signal
from contextlib import suppress

import pytest
from tests.support import verdicts
from tests.support.api import Api, Away
from tests.support.instance import Instance, wait_until

from kalends.domain.positions import stream_of_own
from kalends.domain.scope import MemoryName, Scope, Tenant

PLACES = ("memory.after-claim", "memory.after-stream", "memory.after-record")
SAID = {"session_id": "s", "kind": "message", "text": "The heron stands in the shallow water."}


@pytest.mark.parametrize("isolation", ["dedicated", "shared"])
def test_a_memory_whose_making_was_cut_off_is_made_by_the_same_request(instance: Instance, isolation: str) -> None:
    """And takes and finds events; the other isolation is refused from the first step on."""
    other = {"dedicated": "shared", "shared": "dedicated"}[isolation]
    names = {place: place.replace(".", "-") for place in PLACES if isolation == "dedicated" or place != "memory.after-stream"}
    for place, name in names.items():
        instance.start({"KALENDS_FAILPOINTS": f"{place}=kill@1"})
        with verdicts.api_of(instance) as api, suppress(Away):
            api.make_memory(name, isolation=isolation)
        assert instance.wait() == -signal.SIGKILL

    instance.start()
    with verdicts.api_of(instance) as api:
        for name in names.values():
            assert api.ask("PUT", f"/memories/{name}", {"isolation": other}).status == 409
            api.make_memory(name, isolation=isolation)
            assert api.good("GET", f"/memories/{name}")["isolation"] == isolation
            reply = api.append(name, [SAID])
            assert reply.status == 202, reply
        api.quiet()
        assert [heron(api, name) for name in names.values()] == [1] * len(names)
    streams = {path.name for path in instance.data.glob("nats/store/jetstream/*/streams/*")}
    own = {stream_of_own(Scope(Tenant("local"), MemoryName(name))) for name in names.values()}
    assert own & streams == (own if isolation == "dedicated" else set())


def heron(api: Api, name: str) -> int:
    """How many events of a memory the word finds."""
    found = 0

    def met() -> bool:
        nonlocal found
        found = len(api.good("POST", f"/memories/{name}/search", {"query": "heron", "mode": "lexical"})["hits"])
        return found > 0

    wait_until(met, seconds=20)
    return found
