"""A thousand events with a canary in each, which go by one selector after the other; what must be gone and what must still be found.

Belongs here: what is told, what each selector means, and where is looked. Does not belong here: which stores there are, or what happens
meanwhile. A newcomer would get wrong: bodies are sealed, so that a canary is in no file of the log proves nothing; what is looked for there
are the sealed bytes and the wrapped keys, and all of it is found before.
"""

import asyncio
import contextlib
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from kalends.adapters.nats import NatsBus
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.wire import envelopes
from kalends.wire.documents import session_of
from kalends.wire.vault import key_reference
from tests.support.api import Api
from tests.support.files import contents
from tests.support.instance import Instance, wait_until

SESSIONS, EVENTS = 10, 100
SECTIONS = 5
BRISK = {"KALENDS_ERASURE__FENCE_S": "0.5", "KALENDS_SUMMARIZE__SETTLE_S": "0"}
_MEMORY = "canaries"
_DOCUMENT = "manual"
_SCOPE = Scope(Tenant("local"), MemoryName(_MEMORY))
_WORD = re.compile(rb"zz[0-9a-f]{12}zz", re.IGNORECASE)

OpenBus = Callable[[], AbstractAsyncContextManager[NatsBus]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One that was told."""

    session: int
    number: int
    word: str
    event_id: str = ""

    @property
    def minute(self) -> str:
        """The minute it happened in, as the clock's digits."""
        return f"{10 + self.number // 60}:{self.number % 60:02d}"

    def item(self) -> dict[str, Any]:
        """What is sent."""
        return {
            "session_id": f"session-{self.session}",
            "kind": "message",
            "text": f"{self.word} told of the river {self.session} and of stone {self.number}",
            "actor": f"actor-{self.number % 10}",
            "occurred_at": f"2026-01-{10 + self.session}T{self.minute}:00Z",
            "metadata": {"topic": f"topic-{self.number % 20}"},
            "labels": ["blue"] if self.number % 25 == 24 else [],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What one request names, and the events that it means."""

    selector: Mapping[str, Any]
    means: Callable[[Event], bool]


def _session(number: int) -> Slice:
    return Slice(selector={"session_id": f"session-{number}"}, means=lambda one: one.session == number)


def _actor(number: int) -> Slice:
    return Slice(selector={"actor": f"actor-{number}"}, means=lambda one: one.number % 10 == number)


def _range(session: int, since: str, until: str) -> Slice:
    day = f"2026-01-{10 + session}"
    return Slice(
        selector={"from": f"{day}T{since}:00Z", "to": f"{day}T{until}:00Z"},
        means=lambda one: one.session == session and since <= one.minute < until,
    )


def _topic(number: int) -> Slice:
    return Slice(selector={"metadata": {"topic": f"topic-{number}"}}, means=lambda one: one.number % 20 == number)


SLICES: tuple[Slice | None, ...] = (
    None,  # some event ids, which are known once they are told
    _session(1),
    _actor(3),
    _range(2, "10:10", "10:40"),
    _topic(7),
    Slice(selector={"label": "blue"}, means=lambda one: one.number % 25 == 24),
    Slice(selector={"document_id": _DOCUMENT}, means=lambda _: False),
)
"""One for each selector; ``Slice`` is None where it depends on ids."""

MORE_SLICES: tuple[Slice, ...] = (
    *(_session(4), _actor(5), _range(6, "10:00", "11:00"), _topic(11), _session(7)),
    *(_actor(0), _range(8, "11:00", "12:00"), _session(9), _topic(2), _session(3)),
)
"""Further ones, none of which means everything that an earlier one has left."""

EVERYTHING = Slice(selector={"everything": True}, means=lambda _: True)


@dataclass(kw_only=True)
class Canaries:
    """A memory, what was told to it, and what went. *open_bus* opens the log apart from any instance."""

    api: Api
    instance: Instance
    folders: Sequence[Path]
    open_bus: OpenBus
    events: dict[str, Event] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    has_document: bool = True
    sections: dict[str, str] = field(default_factory=dict)
    sealed: dict[str, bytes] = field(default_factory=dict)
    wrapped: dict[str, bytes] = field(default_factory=dict)

    def tell(self) -> None:
        """Tell everything, and have the calendar written; then see that all of it is where it will be looked for."""
        self.api.make_memory(_MEMORY)
        for session in range(SESSIONS):
            told = [Event(session=session, number=number, word=f"zz{secrets.token_hex(6)}zz") for number in range(EVENTS)]
            reply = self.api.append(_MEMORY, [one.item() for one in told])
            assert reply.status == 202, reply
            for one, result in zip(told, reply.body["results"], strict=True):
                made = Event(session=one.session, number=one.number, word=one.word, event_id=result["event_id"])
                self.events[made.event_id] = made
        self.sections = {f"zz{secrets.token_hex(6)}zz": f"heading {number}" for number in range(SECTIONS)}
        text = "".join(f"# {heading}\n\n{word} stands under {heading}.\n\n" for word, heading in self.sections.items())
        self.api.good("POST", self.path("/documents"), {"document_id": _DOCUMENT, "text": text})
        self.api.quiet()
        self.api.run_job("toc-day")
        self.api.quiet()
        asyncio.run(self._stored())
        needles = [*self.sealed.values(), *self.wrapped.values()]
        assert {needle for _, content in self._files() for needle in _held(content, needles)} == set(needles), "not all can be looked for"
        assert self.found() == self.events.keys()

    def path(self, rest: str = "") -> str:
        """A path below the memory."""
        return f"/memories/{_MEMORY}{rest}"

    def slice(self, number: int) -> Slice:
        """The *number*-th of all that there are; one of event ids takes thirty of the first session."""
        some = [*SLICES, *MORE_SLICES][number]
        if some is not None:
            return some
        ids = sorted(event_id for event_id, one in self.events.items() if one.session == 0)[:30]
        return Slice(selector={"event_ids": ids}, means=lambda one: one.event_id in ids)

    def asked(self, some: Slice) -> None:
        """Note that *some* is asked for: it is gone from here on."""
        meant = {event_id for event_id, one in self.events.items() if some.means(one)} - self.gone
        assert meant or "document_id" in some.selector, "nothing is left for this selector"
        self.gone |= meant
        if "document_id" in some.selector or "everything" in some.selector:
            self.has_document = False

    def erase(self, some: Slice) -> dict[str, Any]:
        """Erase *some*, and give its receipt."""
        expected = len(self.gone)
        self.asked(some)
        expected = len(self.gone) - expected
        begun = self.api.good("POST", self.path("/erasures"), dict(some.selector))
        receipt = self.erased(begun["erasure_id"])
        if "document_id" not in some.selector and "everything" not in some.selector:
            assert receipt["counts"]["timeline"] == expected, (some.selector, receipt)
        return receipt

    def erased(self, erasure_id: str, *, seconds: float = 300.0) -> dict[str, Any]:
        """Wait for the receipt of an erasure."""
        where = self.path(f"/erasures/{erasure_id}")
        over = wait_until(lambda: self.api.good("GET", where)["state"] == "erased", seconds=seconds, every=0.1)
        assert over, (self.api.good("GET", where), self.instance.last_words[-4000:])
        receipt: dict[str, Any] = self.api.good("GET", f"{where}/receipt")
        assert not any(receipt["probe"].values()), receipt
        return receipt

    def check(self) -> None:
        """What is gone is in no answer, log, metric or file; everything else is found, by its id and by its word."""
        self.api.quiet()
        left = {event_id: one for event_id, one in self.events.items() if event_id not in self.gone}
        # the chunks of the document are events, too
        assert {event["event_id"] for event in self.api.events(_MEMORY)} & self.events.keys() == left.keys()
        assert {event_id: self.api.event(_MEMORY, event_id).status for event_id in self.events} == {
            event_id: 410 if event_id in self.gone else 200 for event_id in self.events
        }
        assert self.found() == left.keys()
        assert {bool(self._hits(word)) for word in self.sections} == {self.has_document}
        words = {self.events[event_id].word for event_id in self.gone} | (set() if self.has_document else set(self.sections))
        said = "".join(map(str, self._every_answer())) + self.instance.logs + self._metrics()
        assert not [word for word in words if word in said]
        sessions = {f"session-{one.session}" for one in self.events.values()} - {f"session-{one.session}" for one in left.values()}
        bytes_gone = [self.sealed[event_id] for event_id in self.gone]
        bytes_gone += [
            key for session, key in self.wrapped.items() if session in sessions or (session == _DOCUMENT and not self.has_document)
        ]
        assert self.files_with(bytes_gone, words) == set()

    def found(self) -> set[str]:
        """The ids that the words of all events find."""
        return {hit for one in self.events.values() for hit in self._hits(one.word)}

    def _hits(self, word: str) -> list[str]:
        answer = self.api.good(
            "POST", self.path("/search"), {"query": word, "mode": "lexical", "limit": 3, "targets": ["events", "documents"]}
        )
        return [hit["id"] for hit in answer["hits"]]

    def files_with(self, needles: Sequence[bytes], words: set[str]) -> set[str]:
        """The files that hold one of *needles*, or one of *words* in any case."""
        found = set()
        for path, content in self._files():
            read = {match.group().decode().lower() for match in _WORD.finditer(content)}
            if _held(content, needles) or read & words:
                found.add(str(path))
        return found

    def _files(self) -> Iterator[tuple[Path, bytes]]:
        """All files but those of models, which nobody writes to."""
        return ((path, content) for path, content in contents(*self.folders) if "models" not in path.parts)

    def _every_answer(self) -> Iterator[Any]:
        """Nodes in every version that can be read, lists, and searches of each mode."""
        for path in ("/sessions", "", "/documents", "/erasures?limit=200"):
            yield self.api.good("GET", self.path(path))
        for query in ("river", "stone 7", "heading"):
            yield self.api.good("POST", self.path("/search"), {"query": query, "limit": 100})
            yield self.api.good("POST", self.path("/context"), {"query": query, "max_tokens": 4000})
        todo = [one["node_id"] for one in self.api.good("GET", self.path("/toc"))["items"]]
        for node_id in todo:  # grows while it is walked
            node = self.api.good("GET", self.path(f"/toc/{node_id}"))
            yield node
            for number in range(1, node["newest_version"]):
                yield self.api.ask("GET", self.path(f"/toc/{node_id}?version={number}")).body
            if node["level"] != "segment":
                todo += [one["node_id"] for one in self.api.good("GET", self.path(f"/toc/{node_id}/children"))["items"]]

    def _metrics(self) -> str:
        return httpx.get(f"{self.instance.ops_url}/metrics", timeout=10).raise_for_status().text

    async def _stored(self) -> None:
        """The sealed bodies of all events and the wrapped keys of all sessions, as the log has them."""
        sessions = {f"session-{number}": f"session-{number}" for number in range(SESSIONS)} | {_DOCUMENT: session_of(_DOCUMENT)}
        references = {key_reference(_SCOPE, session): name for name, session in sessions.items()}
        async with self.open_bus() as bus:
            self.wrapped = {references[one]: key for one, key in (await bus.keys.get(_SCOPE, list(references))).items()}
            async with asyncio.timeout(60), contextlib.aclosing(bus.log.follow(after={}, limit=500)) as batches:
                async for messages in batches:
                    for one in map(envelopes.parse, [message.body for message in messages]):
                        if one.scope == _SCOPE and one.event_id in self.events:
                            self.sealed[str(one.event_id)] = one.envelope.sealed
                    if self.sealed.keys() == self.events.keys():
                        break
        assert self.wrapped.keys() == sessions.keys()
        assert all(len(needle) > 16 for needle in [*self.sealed.values(), *self.wrapped.values()])


def _held(content: bytes, needles: Sequence[bytes]) -> set[bytes]:
    """Those of *needles*, of eight bytes and more, that are in *content*: a thousand of them in one go, by how they begin."""
    found: set[bytes] = set()
    heads = np.unique(np.frombuffer(b"".join(needle[:8] for needle in needles), dtype="<u8"))
    likely = np.zeros(1 << 16, dtype=bool)
    likely[heads & 0xFFFF] = True
    for offset in range(min(8, len(content) - 7) if needles else 0):
        words = np.frombuffer(content, dtype="<u8", count=(len(content) - offset) // 8, offset=offset)
        filled = np.flatnonzero(likely[words & 0xFFFF])
        places = np.searchsorted(heads, words[filled]).clip(max=len(heads) - 1)
        for place in filled[heads[places] == words[filled]]:
            start = offset + 8 * int(place)
            found.update(needle for needle in needles if content.startswith(needle, start))
    return found
