"""Dead letters: pointers to messages that a consumer gave up on, never their content.

Belongs here: listing, adding and removing pointers. Does not belong here: replaying (a worker reads the position and does its work again).
A newcomer would get wrong: nobody has to be awake for a pointer to be kept, because the stream itself takes in the broker's advisories.
It so takes in those of messages that were erased while a consumer had them; nobody gave up on these, and they are taken out when counted.
"""

import json
from collections.abc import Sequence

from kalends.adapters.nats import reading, streams
from kalends.adapters.nats.failures import NO_MESSAGE, accepted, decoded, refusal_code
from kalends.adapters.nats.options import NatsOptions
from kalends.adapters.nats.requests import Requests
from kalends.domain.errors import Damaged
from kalends.domain.positions import Position
from kalends.ports.dead_letters import DeadLetter

_DELIVERIES = "max_deliveries"
_ERASED = "Unacknowledged message was deleted"
"""Why, as the broker says of a message that left the stream while it was delivered (nats-server 2.15.1, ackTermUnackedLimitsReason)."""
_GONE = frozenset({NO_MESSAGE, 10043, 10057})


class DeadLetters:
    """The pointers that are kept, oldest first."""

    def __init__(self, requests: Requests, *, options: NatsOptions) -> None:
        self._requests = requests
        self._options = options
        self._looked_at = 0

    async def list(self, *, after: int = 0, limit: int = 100) -> Sequence[DeadLetter]:
        """Up to *limit* pointers whose id is above *after*.

        Raises:
            Unavailable, DeadlineExceeded: the broker does not answer.
        """
        found: list[DeadLetter] = []
        while len(found) < limit:
            stored = await self._next(after + 1)
            if stored is None:
                break
            after = stored.sequence
            letter = letter_of(stored)
            if letter is not None:
                found.append(letter)
        return found

    async def get(self, letter_id: int) -> DeadLetter | None:
        """The pointer *letter_id*, or None."""
        confirm = self._options.replicas > 1
        wanted = [letter_id] if letter_id > 0 else []
        stored = next(iter(await reading.by_sequence(self._requests, streams.DEAD, wanted, window=1, confirm=confirm)), None)
        return letter_of(stored) if stored else None

    async def add(self, position: Position, *, consumer: str, reason: str, deliveries: int) -> int:
        """Keep a pointer of our own making and return its id; *reason* must hold no content.

        Raises:
            Unavailable, DeadlineExceeded: it may not be kept.
        """
        body = json.dumps(
            {"stream": position.stream, "stream_seq": position.sequence, "consumer": consumer, "reason": reason, "deliveries": deliveries}
        )
        reply = decoded((await self._requests.ask("dead.v1.pointer", body.encode())).data)
        return int(str(accepted(reply)["seq"]))

    async def remove(self, letter_id: int) -> None:
        """Forget a pointer; one that does not exist is no error.

        Raises:
            Unavailable, DeadlineExceeded: it may still be there.
        """
        body = json.dumps({"seq": letter_id}).encode()
        reply = decoded((await self._requests.ask(f"$JS.API.STREAM.MSG.DELETE.{streams.DEAD}", body, repeat=True)).data)
        if refusal_code(reply) not in _GONE:
            accepted(reply)

    async def count(self) -> int:
        """How many pointers are kept.

        Raises:
            Unavailable, DeadlineExceeded: the broker does not answer.
        """
        state = (await self._requests.api(f"STREAM.INFO.{streams.DEAD}", repeat=True)).get("state")
        if not isinstance(state, dict):
            return 0
        messages, last = int(state.get("messages", 0)), int(state.get("last_seq", 0))
        return messages - (await self._clear(last) if messages else 0)

    async def _clear(self, last: int) -> int:
        """Take out what is about erased messages, up to the pointer *last*; how much that was. Nothing is looked at twice."""
        cleared = 0
        while self._looked_at < last and (stored := await self._next(self._looked_at + 1)) is not None:
            if _is_of_erased(stored):
                await self.remove(stored.sequence)
                cleared += 1
            self._looked_at = stored.sequence
        return cleared

    async def _next(self, sequence: int) -> reading.Stored | None:
        """The first pointer at *sequence* or behind it."""
        return await reading.from_leader(self._requests, streams.DEAD, {"seq": sequence, "next_by_subj": ">"})


def _is_of_erased(stored: reading.Stored) -> bool:
    try:
        said = json.loads(stored.body)
    except ValueError:
        return False  # whoever reads it is told
    return isinstance(said, dict) and said.get("reason") == _ERASED


def letter_of(stored: reading.Stored) -> DeadLetter | None:
    """The pointer in a message of the stream, be it ours or an advisory of the broker.

    None for another consumer's than of events, and for a message that was erased while it was delivered.

    Raises:
        Damaged: it is neither.
    """
    try:
        said = json.loads(stored.body)
        position = Position(str(said["stream"]), int(said["stream_seq"]))
        if not position.stream.startswith("EV") or said.get("reason") == _ERASED:
            return None
        return DeadLetter(
            id=stored.sequence,
            position=position,
            consumer=str(said["consumer"]),
            reason=str(said.get("reason") or _DELIVERIES),
            deliveries=int(said.get("deliveries", 0)),
            at_us=stored.recorded_us,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged("a dead letter that cannot be read") from error
