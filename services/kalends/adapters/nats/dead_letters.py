"""Dead letters: pointers to messages that a consumer gave up on, never their content.

Belongs here: listing, adding and removing pointers. Does not belong here: replaying (a worker reads the position and does its work again).
A newcomer would get wrong: nobody has to be awake for a pointer to be kept, because the stream itself takes in the broker's advisories.
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
_GONE = frozenset({NO_MESSAGE, 10043, 10057})


class DeadLetters:
    """The pointers that are kept, oldest first."""

    def __init__(self, requests: Requests, *, options: NatsOptions) -> None:
        self._requests = requests
        self._options = options

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
        return int(state.get("messages", 0)) if isinstance(state, dict) else 0

    async def _next(self, sequence: int) -> reading.Stored | None:
        """The first pointer at *sequence* or behind it."""
        return await reading.from_leader(self._requests, streams.DEAD, {"seq": sequence, "next_by_subj": ">"})


def letter_of(stored: reading.Stored) -> DeadLetter | None:
    """The pointer in a message of the stream, be it ours or an advisory of the broker; None for another consumer's than of events.

    Raises:
        Damaged: it is neither.
    """
    try:
        said = json.loads(stored.body)
        position = Position(str(said["stream"]), int(said["stream_seq"]))
        if not position.stream.startswith("EV"):
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
