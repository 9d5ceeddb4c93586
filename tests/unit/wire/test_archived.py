"""Objects of a backup: what is written is read back, and every change is found where it is."""

import hashlib
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalends.domain.errors import Damaged
from kalends.kit import aead
from kalends.wire import archived
from kalends.wire.archived import CopiedRecord, Reading, Writing

BOX = aead.Box(bytes(range(32)))
NAME = "backups/01A/records"


def records(*sizes: int) -> list[CopiedRecord]:
    """Records with values of so many bytes."""
    return [CopiedRecord("kind", "owner", str(number), bytes(size)) for number, size in enumerate(sizes)]


async def each(items: Sequence[CopiedRecord]) -> AsyncIterator[CopiedRecord]:
    """One by one."""
    for item in items:
        yield item


async def written(items: Sequence[CopiedRecord], name: str = NAME) -> bytes:
    """All bytes of an object."""
    writing = Writing(name, BOX)
    content = b"".join([piece async for piece in writing.pieces(each(items))])
    assert writing.written.items == len(items)
    assert writing.written.sha256 == hashlib.sha256(content).hexdigest()
    return content


async def read(content: bytes, *, name: str = NAME, step: int = 1000) -> list[CopiedRecord]:
    """All items of an object, from pieces of *step* bytes."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), step):
            yield content[start : start + step]

    reading = Reading(name, BOX)
    found = [item async for items in reading.items(pieces(), CopiedRecord) for item in items]
    assert reading.sha256 == hashlib.sha256(content).hexdigest()
    return found


@given(st.lists(st.integers(0, 90_000), max_size=6), st.integers(1, 100_000))
async def test_what_is_written_is_read_back(sizes: list[int], step: int) -> None:
    """However it is cut on its way, and if there is nothing."""
    items = records(*sizes)

    assert await read(await written(items), step=step) == items


async def test_a_frame_is_full_at_its_size() -> None:
    """So the place of a fault is told that precisely."""
    writing = Writing(NAME, BOX)
    pieces = [piece async for piece in writing.pieces(each(records(*[1000] * 200)))]

    assert writing.written.frames == len(pieces) - 1 == 200_000 // archived.FRAME_BYTES + 1


@given(st.data())
async def test_a_changed_byte_is_found_where_it_is(data: st.DataObject) -> None:
    """Whichever it is."""
    content = await written(records(*[900] * 150))
    at = data.draw(st.integers(0, len(content) - 1))
    changed = content[:at] + bytes([content[at] ^ data.draw(st.integers(1, 255))]) + content[at + 1 :]

    with pytest.raises(Damaged) as caught:
        await read(changed)

    first, last = (int(word) for word in caught.value.detail.split() if word.isdigit())
    assert NAME in caught.value.detail
    assert first <= at <= last


async def test_a_changed_length_that_asks_for_more_than_there_is_is_found_where_it_stands() -> None:
    """Not where the bytes that it asks for would be."""
    content = bytearray(await written(records(900)))
    content[len(archived.MAGIC) + 1] ^= 1

    with pytest.raises(Damaged, match=f"{len(archived.MAGIC)} ") as caught:
        await read(bytes(content))
    assert min(int(word) for word in caught.value.detail.split() if word.isdigit()) == len(archived.MAGIC)


async def test_what_is_cut_off_or_too_long_is_found() -> None:
    """Also at the border of two frames: the last one says that it is the last."""
    content = await written(records(*[900] * 150))
    borders = [len(archived.MAGIC)]
    while borders[-1] < len(content):
        borders.append(borders[-1] + 4 + int.from_bytes(content[borders[-1] : borders[-1] + 4]))

    for end in (0, 5, *borders[:-1], len(content) - 1):
        with pytest.raises(Damaged):
            await read(content[:end])
    with pytest.raises(Damaged):
        await read(content + b"x")


async def test_frames_cannot_be_moved() -> None:
    """Neither within an object nor into another."""
    content = await written(records(*[900] * 150))
    start = len(archived.MAGIC)
    first = 4 + int.from_bytes(content[start : start + 4])
    second = 4 + int.from_bytes(content[start + first : start + first + 4])
    one, two = content[start : start + first], content[start + first : start + first + second]

    with pytest.raises(Damaged):
        await read(content[:start] + two + one + content[start + first + second :])
    with pytest.raises(Damaged):
        await read(content, name="backups/01B/records")
