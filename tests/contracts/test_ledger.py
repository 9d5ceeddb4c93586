"""The suite of the port ``ledger``, on the real broker and on a cluster of three."""

import asyncio
import json

import pytest
from tests.support.broker import another_bus

from kalends.adapters.nats import NatsBus
from kalends.adapters.nats.requests import Requests
from kalends.domain.scope import MemoryName, Scope, Tenant

pytestmark = pytest.mark.usefixtures("broker")

HERE = Scope(Tenant("acme"), MemoryName("notes"))
THERE = Scope(Tenant("acme"), MemoryName("diary"))


async def test_what_is_put_is_found_by_its_id_in_its_memory_only(bus: NatsBus) -> None:
    """Also from another connection; an unknown id has nothing."""
    assert await bus.ledger.put(HERE, "01A", b"one") == b"one"

    async with another_bus() as other:
        assert await other.ledger.get(HERE, "01A") == b"one"
    assert await bus.ledger.get(THERE, "01A") is None
    assert await bus.ledger.get(HERE, "01B") is None


async def test_the_first_entry_stays(bus: NatsBus) -> None:
    """Whoever comes second is told what is there, also when both come at once."""
    await bus.ledger.put(HERE, "01A", b"first")

    assert await bus.ledger.put(HERE, "01A", b"second") == b"first"
    assert await bus.ledger.get(HERE, "01A") == b"first"
    answers = await asyncio.gather(*(bus.ledger.put(HERE, "01C", f"try {number}".encode()) for number in range(5)))
    assert len(set(answers)) == 1


async def test_nothing_can_be_taken_out(bus: NatsBus) -> None:
    """The stream itself refuses, whoever asks."""
    await bus.ledger.put(HERE, "01A", b"one")
    requests = Requests(bus.link, timeout=5.0)
    await requests.open()

    deleted = json.loads((await requests.ask("$JS.API.STREAM.MSG.DELETE.LEDGER", json.dumps({"seq": 1}).encode())).data)
    purged = json.loads((await requests.ask("$JS.API.STREAM.PURGE.LEDGER", b"")).data)

    assert "error" in deleted
    assert "error" in purged
    assert await bus.ledger.get(HERE, "01A") == b"one"
