"""Index's rows of the operation table: rebuilds, compactions and dead letters."""

from typing import Protocol

import msgspec

from kalends.domain.errors import NotFound
from kalends.domain.events import moment
from kalends.domain.queries import decode_cursor, encode_cursor
from kalends.edge.long_work import OperationStarted
from kalends.edge.operations import Answer, Call, Operation
from kalends.index import schemas
from kalends.index.compacting import Compactions
from kalends.index.rebuilds import Rebuilds
from kalends.ports.dead_letters import DeadLetter, DeadLetters
from kalends.ports.log import Log


class Republish(Protocol):
    """Deals with one message of the log again."""

    async def __call__(self, letter: DeadLetter) -> None:
        """Write it again, or raise why it cannot be."""
        ...


class RebuildRoutes:
    """``/admin/reindexes``."""

    def __init__(self, *, rebuilds: Rebuilds, log: Log) -> None:
        self._rebuilds = rebuilds
        self._log = log

    async def start(self, call: Call) -> Answer:
        """Rebuild a projection from the log while it serves."""
        body: schemas.ReindexIn = call.body
        total = sum((await self._log.heads()).values())
        rebuild = await self._rebuilds.ask(body.projection, dry_run=body.dry_run, total=total)
        return Answer(body=OperationStarted(operation_id=rebuild.operation_id))


class CompactionRoutes:
    """``/admin/compactions``."""

    def __init__(self, compactions: Compactions) -> None:
        self._compactions = compactions

    async def start(self, call: Call) -> Answer:
        """Let every store, or one, give back what it does not need, while it serves."""
        query: schemas.CompactionQuery = call.query
        return Answer(body=OperationStarted(operation_id=(await self._compactions.join(query.store)).operation_id))


class DeadLetterRoutes:
    """``/dead-letters``."""

    def __init__(self, *, letters: DeadLetters, replay: Republish) -> None:
        self._letters = letters
        self._replay = replay

    async def list(self, call: Call) -> Answer:
        """Dead letters, oldest first."""
        query: schemas.ListQuery = call.query
        after = int(decode_cursor(query.cursor, bound_to="dead-letters", shape=(int,))[0]) if query.cursor else 0
        found = await self._letters.list(after=after, limit=query.limit + 1)
        page = found[: query.limit]
        cursor = encode_cursor([page[-1].id], bound_to="dead-letters") if len(found) > len(page) else None
        return Answer(body=schemas.DeadLetterList(items=[_letter(letter) for letter in page], next_cursor=cursor))

    async def replay(self, call: Call) -> Answer:
        """Deal with the message again; the letter goes once that succeeded."""
        text = call.path["dead_letter_id"]
        known = text.isascii() and text.isdigit() and len(text) < 19
        letter = await self._letters.get(int(text)) if known else None
        if letter is None:
            raise NotFound("no such dead letter")
        await self._replay(letter)
        await self._letters.remove(letter.id)
        return Answer(body=schemas.Replayed(dead_letter_id=str(letter.id), state="replayed"))


def _letter(letter: DeadLetter) -> schemas.DeadLetterOut:
    return schemas.DeadLetterOut(
        dead_letter_id=str(letter.id),
        stream=letter.position.stream,
        sequence=letter.position.sequence,
        consumer=letter.consumer,
        reason=letter.reason,
        deliveries=letter.deliveries,
        at=moment(letter.at_us),
    )


def operations(rebuilds: RebuildRoutes, compactions: CompactionRoutes, letters: DeadLetterRoutes) -> list[Operation]:
    """The rows for rebuilds, compactions and dead letters; all need ``admin``."""
    rows = [
        ("reindexes.start", "POST", "/admin/reindexes", "Rebuild a projection from the log while it serves", rebuilds.start),
        (
            "compactions.start",
            "POST",
            "/admin/compactions",
            "Let stores give back what they do not need, while they serve",
            compactions.start,
        ),
        ("dead_letters.list", "GET", "/dead-letters", "Messages that could not be indexed", letters.list),
        ("dead_letters.replay", "POST", "/dead-letters/{dead_letter_id}/replay", "Index such a message again", letters.replay),
    ]
    answers: dict[str, type[msgspec.Struct]] = {
        "reindexes.start": OperationStarted,
        "compactions.start": OperationStarted,
        "dead_letters.list": schemas.DeadLetterList,
        "dead_letters.replay": schemas.Replayed,
    }
    return [
        Operation(
            name=name,
            method=method,
            path=path,
            right="admin",
            summary=summary,
            handle=handle,
            answer=answers[name],
            status=202 if name.endswith(".start") else 200,
            body=schemas.ReindexIn if name == "reindexes.start" else None,
            query=schemas.CompactionQuery if name == "compactions.start" else schemas.ListQuery if name.endswith(".list") else None,
        )
        for name, method, path, summary, handle in rows
    ]
