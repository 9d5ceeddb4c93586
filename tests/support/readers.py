"""Readers that know what was said, and hold every answer against it; and clients that go on with another replica.

Belongs here: asking while others write, and judging one answer. Does not belong here: the writers (``load``), or what must hold in the end
(``verdicts``). A newcomer would get wrong: what was sent and not acked may be stored, so a hit must have been *sent*; but only what was
acked must be found, and only by an answer that names its token of visibility and does not itself say that something is missing.
"""

import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.api import Api, Away, Reply
from tests.support.instance import Instance
from tests.support.load import AGAIN, PAUSE_S

_RECENT = 40
_LIMIT = 10
_JOIN_S = 60.0


class Client(Api):
    """Requests to one of several replicas; after an answer that did not come the next one goes to the next replica."""

    def __init__(self, replicas: Callable[[], Sequence[Instance]], *, first: int = 0, timeout: float = 40.0) -> None:
        super().__init__(self._where, lambda: self._instance().token, timeout=timeout)
        self._replicas = replicas
        self._turn = first

    def _instance(self) -> Instance:
        found = self._replicas()
        if not found:
            raise Away("no replica runs")
        return found[self._turn % len(found)]

    def _where(self) -> str:
        return self._instance().url

    def ask(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Reply:
        """See ``Api.ask``."""
        try:
            return super().ask(method, path, body, headers)
        except Away:
            self._turn += 1
            raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An acked event, and the token of the write that stored it."""

    memory: str
    event_id: str
    text: str
    visibility: str


class Known:
    """What writers sent, by memory and event id, and what was acked to them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: dict[str, dict[str, str]] = {}
        self._acked: list[Said] = []
        self._recent: deque[Said] = deque(maxlen=_RECENT)

    def send(self, memory: str, events: Sequence[Mapping[str, object]]) -> None:
        """Take down what is about to be sent."""
        with self._lock:
            self._sent.setdefault(memory, {}).update({str(event["event_id"]): str(event["text"]) for event in events})

    def ack(self, memory: str, events: Sequence[Mapping[str, object]], visibility: str) -> None:
        """Take down what was acked."""
        said = [Said(memory=memory, event_id=str(one["event_id"]), text=str(one["text"]), visibility=visibility) for one in events]
        with self._lock:
            self._acked += said
            self._recent.extend(said)

    def one(self, source: random.Random) -> Said | None:
        """An acked event, every other time one of the last."""
        with self._lock:
            if not self._acked:
                return None
            return source.choice(list(self._recent) if source.random() < 0.5 else self._acked)

    def acked_ids(self) -> set[str]:
        """The ids of everything that was acked."""
        with self._lock:
            return {said.event_id for said in self._acked}

    def text(self, memory: str, event_id: str) -> str | None:
        """What was sent to *memory* under this id; None if nothing was."""
        with self._lock:
            return self._sent.get(memory, {}).get(event_id)


class Telling(Client):
    """A writer's client, which tells *known* what it sends and what is acked."""

    def __init__(self, known: Known, replicas: Callable[[], Sequence[Instance]], *, first: int = 0) -> None:
        super().__init__(replicas, first=first)
        self._known = known

    def append(self, memory: str, events: Sequence[Mapping[str, object]]) -> Reply:
        """See ``Api.append``."""
        self._known.send(memory, events)
        reply = super().append(memory, events)
        if reply.status in {200, 202}:
            self._known.ack(memory, events, reply.body["visibility"])
        return reply


def wrong_with(reply: Reply, said: Said, known: Known) -> str:
    """What is wrong with the answer to a question for *said*; empty if nothing is."""
    if reply.status != 200:
        return "" if reply.status in AGAIN else f"status {reply.status}: {reply.body}"
    hits: list[dict[str, Any]] = reply.body["hits"]
    ids = [hit["id"] for hit in hits]
    if len(ids) != len(set(ids)):
        return f"an event is there twice: {ids}"
    for hit in hits:
        if hit["text"] != known.text(said.memory, hit["id"]):
            return f"{hit['id']} was never said to {said.memory} in these words: {hit['text']!r}"
    if reply.body["stale"] or reply.body["degraded"] or said.event_id in ids:
        return ""
    return f"{said.event_id} ({said.text!r}, visible from {said.visibility}) is not among {[hit['text'] for hit in hits]}: {reply.body}"


@dataclass
class Answers:
    """What readers were told: how many answers of each kind, and what was wrong with any."""

    kinds: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    """Why no whole answer came."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, reply: Reply, wrong: str) -> None:
        """Take down an answer."""
        with self._lock:
            self.kinds[_kind(reply)] += 1
            if wrong:
                self.wrong.append(wrong)

    def lose(self, why: Away) -> None:
        """Take down that there was none."""
        with self._lock:
            self.kinds["away"] += 1
            self.lost.append(str(why))


def _kind(reply: Reply) -> str:
    if reply.status != 200:
        return str(reply.status)
    if reply.body["degraded"]:
        return f"degraded {'+'.join(reply.body['degraded'])}"
    return "stale" if reply.body["stale"] else "whole"


class Reader(threading.Thread):
    """Asks for what was said, again and again, with *rest* seconds between."""

    def __init__(self, number: int, *, client: Callable[[], Api], known: Known, answers: Answers, rest: float, seed: int) -> None:
        super().__init__(name=f"reader-{number}")
        self._client = client
        self._known = known
        self._answers = answers
        self._rest = rest
        self._random = random.Random(f"reader {seed}/{number}")
        self.stop = threading.Event()

    def run(self) -> None:
        """Read until told to stop."""
        with self._client() as client:
            while not self.stop.wait(self._random.uniform(0, 2 * self._rest)):
                said = self._known.one(self._random)
                if said is not None:
                    self._ask(client, said)

    def _ask(self, client: Api, said: Said) -> None:
        body = {"query": said.text, "limit": _LIMIT, "min_visibility": said.visibility, "timeout_ms": self._random.choice([1000, 5000])}
        try:
            reply = client.ask("POST", f"/memories/{said.memory}/search", body)
        except Away as error:
            self._answers.lose(error)
            self.stop.wait(PAUSE_S)
            return
        self._answers.note(reply, wrong_with(reply, said, self._known))


@contextmanager
def reading(client: Callable[[int], Api], known: Known, *, readers: int = 8, rest: float = 0.2, seed: int = 0) -> Iterator[Answers]:
    """Readers for as long as the block runs; *client* gives the client of each by its number."""
    answers = Answers()
    threads = [
        Reader(number, client=lambda number=number: client(number), known=known, answers=answers, rest=rest, seed=seed)  # type: ignore[misc]
        for number in range(readers)
    ]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        for thread in threads:
            thread.stop.set()
        for thread in threads:
            thread.join(_JOIN_S)
    assert not any(thread.is_alive() for thread in threads), "a reader does not end"


def lossless(answers: Answers) -> None:
    """Nobody was told anything wrong, and somebody was told everything."""
    assert answers.wrong == [], f"{len(answers.wrong)} wrong of {answers.kinds}: {answers.wrong[0]}"
    assert answers.kinds["whole"], answers.kinds
