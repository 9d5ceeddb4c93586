"""Objects of an archive, read: small ones whole, and the sealed items of large ones frame by frame.

Belongs here: what every reader of the archive would do alike. Does not belong here: what an object says (``wire``), which are there
(``catalogue``, ``chains``, ``inventories``). A newcomer would get wrong: an object that is named and not there is damage to whoever reads
what names it, not a question about something that never was.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from kalends.domain.errors import Damaged, NotFound
from kalends.kit import aead
from kalends.ports.archive import Archive
from kalends.wire.archived import Item, Reading


async def small(archive: Archive, name: str, *, limit: int, called: str) -> bytes:
    """All bytes of an object that is *called* so and has *limit* of them at most.

    Raises:
        NotFound: there is none. Damaged: it is larger. Unavailable, DeadlineExceeded: the archive does not answer.
    """
    content = bytearray()
    async with aclosing(archive.get(name)) as pieces:
        async for piece in pieces:
            content += piece
            if len(content) > limit:
                raise Damaged(f"{name} is too large to be {called}")
    return bytes(content)


async def named(archive: Archive, name: str, *, limit: int, called: str) -> bytes:
    """As ``small``, of an object that something else names.

    Raises:
        Damaged: it is not there, or larger. Unavailable, DeadlineExceeded: the archive does not answer.
    """
    try:
        return await small(archive, name, limit=limit, called=called)
    except NotFound as error:
        raise Damaged(f"{name} is not there") from error


async def items(
    archive: Archive, name: str, box: aead.Box, form: type[Item], *, sha256: str, noted_in: str
) -> AsyncGenerator[list[Item], None]:
    """The items of an object, frame by frame, whose digest is *sha256* as its *noted_in* says.

    Raises:
        Damaged: it is not what was written, or is not there. Unavailable, DeadlineExceeded: the archive does not answer.
    """
    reading = Reading(name, box)
    try:
        async with aclosing(archive.get(name)) as pieces, aclosing(reading.items(pieces, form)) as frames:
            async for found in frames:
                yield found
    except NotFound as error:
        raise Damaged(f"{name} is not there") from error
    if reading.sha256 != sha256:
        raise Damaged(f"{name} is not what its {noted_in} says")
