"""Writers that never give up, and the ledger of what was acknowledged to them.

Belongs here: sending, repeating with the same ids, and taking down what was acked. Does not belong here: judging what is stored
(``verdicts``). A newcomer would get wrong: a writer ends only when its last batch is acked, so after ``finish`` the log must hold exactly
the ledger, not more and not less.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from kalends.domain.events import new_ulid
from tests.support.api import Api, Away

AGAIN = frozenset({429, 503, 504})
"""Answers after which the same request is to be repeated."""
PAUSE_S = 0.03
WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "haven", "islet", "juniper", "krill", "lagoon")

PAST = datetime(2024, 1, 1, tzinfo=UTC)
PAST_DAYS = 700
STEP_MINUTES = 7
PAST_OF = 4
"""Of so many writers one tells of the past, so that the calendar has sessions that are quiet while the others still talk."""


@dataclass
class Ledger:
    """What was acked: by event id, the text and the session."""

    acked: dict[str, tuple[str, str]] = field(default_factory=dict)
    repeats: int = 0
    """Acked events that had been stored by an earlier try."""
    tries: int = 0
    requests: int = 0
    refusals: list[Any] = field(default_factory=list)
    """Answers that no writer should get."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, events: list[dict[str, Any]], results: list[dict[str, Any]]) -> None:
        """Take down an ack, item by item."""
        with self._lock:
            self.requests += 1
            for event, result in zip(events, results, strict=True):
                if result["status"] not in {"new", "duplicate"} or result["event_id"] != event["event_id"]:
                    self.refusals.append(result)
                    continue
                self.repeats += result["status"] == "duplicate"
                self.acked[event["event_id"]] = (event["text"], event["session_id"])

    @property
    def counts(self) -> tuple[int, int, int]:
        """Requests acked, tries, and events that an earlier try had stored."""
        return self.requests, self.tries, self.repeats

    def tried(self) -> None:
        """Count a try."""
        with self._lock:
            self.tries += 1

    def refuse(self, what: object) -> None:
        """Take down an answer that no writer should get."""
        with self._lock:
            self.refusals.append(what)


def an_event(source: random.Random, *, session: str, at: datetime | None = None) -> dict[str, Any]:
    """A short event with an id of its own; with *at* it occurred then, else when it comes in."""
    text = f"{source.choice(WORDS)} {source.choice(WORDS)} {source.randrange(10**9)}"
    event = {"event_id": str(new_ulid(datetime.now(UTC))), "session_id": session, "kind": "message", "role": "user", "text": text}
    return event if at is None else {**event, "occurred_at": at.isoformat()}


def past_moments(source: random.Random, count: int) -> list[datetime]:
    """*count* moments a few minutes apart on some day of two years that are over, or on that and the next."""
    start = PAST + timedelta(minutes=source.randrange(PAST_DAYS * 24 * 60))
    return [start + timedelta(minutes=STEP_MINUTES * number) for number in range(count)]


class Writer(threading.Thread):
    """Sends batches of random size, each until it is acked, and pauses as many seconds between them as *rest* says each time."""

    def __init__(
        self,
        number: int,
        *,
        api: Callable[[], Api],
        memory: str,
        ledger: Ledger,
        largest: int,
        rest: Callable[[], float],
        seed: int,
        give_up_s: float,
    ) -> None:
        super().__init__(name=f"writer-{number}")
        self._api = api
        self._memory = memory
        self._ledger = ledger
        self._largest = largest
        self._rest = rest
        self._random = random.Random(f"{seed}/{number}")
        self._session = f"session-{number}"
        self._tells_the_past = number % PAST_OF == PAST_OF - 1
        self._give_up_s = give_up_s
        self.stop = threading.Event()

    def run(self) -> None:
        """Write until told to stop, and until the last batch is acked."""
        with self._api() as api:
            while not self.stop.is_set():
                events = self._events(self._random.randint(1, self._largest))
                if not self._until_acked(api, events):
                    return
                self.stop.wait(self._random.uniform(0, 2 * self._rest()))

    def _events(self, count: int) -> list[dict[str, Any]]:
        moments = past_moments(self._random, count) if self._tells_the_past else [None] * count
        return [an_event(self._random, session=self._session, at=at) for at in moments]

    def _until_acked(self, api: Api, events: list[dict[str, Any]]) -> bool:
        end = time.monotonic() + self._give_up_s
        while time.monotonic() < end:
            self._ledger.tried()
            try:
                reply = api.append(self._memory, events)
            except Away:
                time.sleep(PAUSE_S)
                continue
            if reply.status in {200, 202}:
                self._ledger.note(events, reply.body["results"])
                return True
            if reply.status not in AGAIN:
                self._ledger.refuse(reply)
                return False
            time.sleep(PAUSE_S)
        self._ledger.refuse(f"not acked within {self._give_up_s:g} s: {[event['event_id'] for event in events]}")
        return False


@contextmanager
def writing(
    api: Callable[[], Api],
    *,
    memory: str,
    writers: int = 8,
    largest: int = 12,
    rest: float | Callable[[], float] = 0.3,
    seed: int = 0,
    give_up_s: float = 90.0,
) -> Iterator[Ledger]:
    """Load on *memory* for as long as the block runs; at its end every batch that was begun is acked, or in ``refusals``."""
    ledger = Ledger()
    pause = rest if callable(rest) else lambda: rest
    threads = [
        Writer(number, api=api, memory=memory, ledger=ledger, largest=largest, rest=pause, seed=seed, give_up_s=give_up_s)
        for number in range(writers)
    ]
    for thread in threads:
        thread.start()
    try:
        yield ledger
    finally:
        for thread in threads:
            thread.stop.set()
        for thread in threads:
            thread.join(give_up_s + 30)
    assert not any(thread.is_alive() for thread in threads), "a writer does not end"
