"""The suite of the port ``dead_letters``, on the real broker and on a cluster of three.

A newcomer would get wrong: the port itself adds nothing; letters come from consumers that give up, so that is how they are made here.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.drafts import draft
from tests.support.broker import ALONE, SMALL, fresh_bus, own_bus, watched_server
from tests.support.waiting import until

from kalends.adapters.nats import NatsBus
from kalends.domain.errors import DeadlineExceeded, Unavailable
from kalends.domain.positions import Position

pytestmark = pytest.mark.usefixtures("broker")

SECRET = b"secret content"


async def give_up(bus: NatsBus, count: int, *, consumer: str = "c") -> list[Position]:
    """Append *count* messages that *consumer* rejects, one after the other, each once the letter of the one before is kept."""
    found: list[Position] = []
    reader = await bus.log.consumer(consumer)
    before = await bus.dead_letters.count()
    for number in range(count):
        [appended] = await bus.log.append([draft(f"{consumer}-{before}-{number}", body=SECRET)])
        [delivery] = await reader.fetch(limit=1, wait=5)
        await delivery.reject(reason=f"reason {number}")
        await kept(bus, before + number + 1)
        found.append(appended.position)
    return found


async def kept(bus: NatsBus, count: int) -> None:
    """Wait until there are *count* letters: the broker keeps one some time after the consumer gave up."""

    async def met() -> bool:
        return await bus.dead_letters.count() == count

    await until(met)


async def ids(bus: NatsBus) -> Sequence[int]:
    """The ids of all letters."""
    return [letter.id for letter in await bus.dead_letters.list()]


async def test_there_are_none_at_first(bus: NatsBus) -> None:
    """An empty list is no error, and no id is known."""
    assert await bus.dead_letters.list() == []
    assert await bus.dead_letters.count() == 0
    assert [await bus.dead_letters.get(number) for number in (-1, 0, 1, 2**62)] == [None] * 4


async def test_a_rejected_message_becomes_a_letter_and_its_neighbours_flow(bus: NatsBus) -> None:
    """It says which message, whose consumer and why; one that is retried comes again."""
    appended = await bus.log.append([draft("retry"), draft("poison"), draft("good")])
    consumer = await bus.log.consumer("c")
    retry, poison, good = await consumer.fetch(limit=10, wait=5)
    await poison.reject(reason="cannot be parsed")
    await good.ack()
    await retry.retry(after=0.05)
    [again] = await consumer.fetch(limit=10, wait=5)
    await again.ack()
    await kept(bus, 1)

    letters = await bus.dead_letters.list()

    assert [(letter.position, letter.consumer, letter.reason) for letter in letters] == [(appended[1].position, "c", "cannot be parsed")]
    [state] = await consumer.states()
    assert (state.floor, state.pending, state.in_flight) == (3, 0, 0)


async def test_a_message_that_was_delivered_too_often_becomes_a_letter() -> None:
    """Nobody has to be awake for it: the broker keeps the pointer by itself."""
    async with fresh_bus(replace(SMALL, ack_wait=0.1, redelivery=(0.1,), max_deliver=2)) as bus:
        [appended] = await bus.log.append([draft("poison", body=SECRET)])
        consumer = await bus.log.consumer("c")

        async def given_up() -> bool:
            await consumer.fetch(limit=10, wait=0.1)
            return await bus.dead_letters.count() == 1

        await until(given_up)
        [letter] = await bus.dead_letters.list()

        assert (letter.position, letter.consumer, letter.deliveries, letter.reason) == (appended.position, "c", 2, "max_deliveries")


async def test_a_message_that_is_erased_while_a_consumer_has_it_is_no_letter(bus: NatsBus) -> None:
    """The broker tells of it as of one that was given up; the letters beside it stay."""
    [before] = await give_up(bus, 1)
    appended = await bus.log.append([draft("erased"), draft("kept")])
    consumer = await bus.log.consumer("c")
    assert len(await consumer.fetch(limit=10, wait=5)) == 2

    assert await bus.log.erase([appended[0].position]) == 1

    async def told() -> bool:
        return await raw(bus) == 2

    await until(told)
    assert [letter.position for letter in await bus.dead_letters.list()] == [before]
    assert await bus.dead_letters.get(2) is None
    assert [await bus.dead_letters.count() for _ in range(2)] == [1, 1]
    assert await raw(bus, "messages") == 1


async def raw(bus: NatsBus, what: str = "last_seq") -> int:
    """What the broker itself says of the stream of letters."""
    state = (await bus.dead_letters._requests.api("STREAM.INFO.DEAD", repeat=True))["state"]
    assert isinstance(state, dict)
    return int(state[what])


async def test_a_letter_holds_no_content_and_tells_when(bus: NatsBus) -> None:
    """It is a pointer; what it points at is read from the log, by those who may."""
    await give_up(bus, 1)

    [letter] = await bus.dead_letters.list()

    assert SECRET.decode() not in repr(letter)
    assert letter.at_us > 1_600_000_000_000_000
    [message] = await bus.log.read([letter.position])
    assert message is not None
    assert message.body == SECRET


async def test_letters_are_listed_oldest_first_page_by_page(bus: NatsBus) -> None:
    """The next page begins after the last id of this one."""
    positions = await give_up(bus, 5)

    first = await bus.dead_letters.list(limit=2)
    second = await bus.dead_letters.list(after=first[-1].id, limit=2)
    third = await bus.dead_letters.list(after=second[-1].id, limit=2)

    found = [*first, *second, *third]
    assert [len(page) for page in (first, second, third)] == [2, 2, 1]
    assert [letter.position for letter in found] == positions
    assert [letter.reason for letter in found] == [f"reason {number}" for number in range(5)]
    assert [letter.id for letter in found] == sorted({letter.id for letter in found})
    assert await bus.dead_letters.list(after=third[-1].id) == []


async def test_every_letter_is_got_by_its_id(bus: NatsBus) -> None:
    """As it stands in the list."""
    await give_up(bus, 3)

    letters = await bus.dead_letters.list()

    assert [await bus.dead_letters.get(letter.id) for letter in letters] == list(letters)


async def test_a_removed_letter_is_gone_and_the_others_stay(bus: NatsBus) -> None:
    """Removing it again, or one that never was, is no error."""
    await give_up(bus, 3)
    first, second, third = await ids(bus)

    for gone in (second, second, third + 100):
        await bus.dead_letters.remove(gone)

    assert await ids(bus) == [first, third]
    assert await bus.dead_letters.get(second) is None
    assert await bus.dead_letters.count() == 2


async def test_two_consumers_that_give_up_on_one_message_are_two_letters(bus: NatsBus) -> None:
    """Each has its own work to do again."""
    [appended] = await bus.log.append([draft("poison")])
    for number, name in enumerate(("lexical", "vector"), start=1):
        [delivery] = await (await bus.log.consumer(name)).fetch(limit=1, wait=5)
        await delivery.reject(reason="no")
        await kept(bus, number)

    letters = await bus.dead_letters.list()

    assert [(letter.consumer, letter.position) for letter in letters] == [("lexical", appended.position), ("vector", appended.position)]


@ALONE
async def test_letters_outlive_the_broker(tmp_path: Path) -> None:
    """They are as durable as the log."""
    async with watched_server(tmp_path) as server:
        async with own_bus(server) as bus:
            positions = await give_up(bus, 2)
        await server.stop()
    async with watched_server(tmp_path) as server, own_bus(server) as bus:
        assert [letter.position for letter in await bus.dead_letters.list()] == positions


@ALONE
async def test_a_broker_that_stays_away_is_said_and_not_waited_for(tmp_path: Path) -> None:
    """Every operation ends within its deadline with an error that names the broker; none shows an empty list."""
    async with watched_server(tmp_path) as server, own_bus(server, replace(SMALL, request_timeout=0.3)) as bus:
        await server.stop()
        letters = bus.dead_letters
        for operation in (letters.list(), letters.get(1), letters.remove(1), letters.count()):
            with pytest.raises((Unavailable, DeadlineExceeded)) as caught:
                await operation
            assert caught.value.dependency == "nats"
