"""Drafts and messages for the suites of the ports that the log is behind.

Belongs here: what two or more of these suites need. Does not belong here: tests. A newcomer would get wrong: a body says its message's id,
so that order and completeness can be read from the bodies alone.
"""

import asyncio
from collections.abc import Iterable

from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.ports.log import Draft, Log, Message

SCOPE = Scope(Tenant("acme"), MemoryName("notes"))


def draft(name: str, *, scope: Scope = SCOPE, body: bytes | None = None) -> Draft:
    """A draft whose body says its id."""
    return Draft(scope=scope, message_id=name, body=body if body is not None else name.encode(), headers={"traceparent": f"00-{name}"})


def drafts(prefix: str, count: int, *, scope: Scope = SCOPE) -> list[Draft]:
    """Many of them."""
    return [draft(f"{prefix}-{number}", scope=scope) for number in range(count)]


def bodies(messages: Iterable[Message | None]) -> list[str | None]:
    """What the messages say."""
    return [message.body.decode() if message else None for message in messages]


async def everything(log: Log, *, count: int, after: dict[str, int] | None = None) -> list[Message]:
    """The first *count* messages that ``follow`` yields."""
    found: list[Message] = []
    async with asyncio.timeout(20):
        reader = log.follow(after=after or {}, limit=100)
        async for batch in reader:
            found.extend(batch)
            if len(found) >= count:
                break
        await reader.aclose()
    return found
