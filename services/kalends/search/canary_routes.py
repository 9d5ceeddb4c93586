"""Search's rows of the operation table for canary questions, and their shapes as JSON.

A newcomer would get wrong: setting the same question again changes nothing, so that a file of questions can be set as often as one likes;
and these rows are for credentials of every label, for a question is asked of everything.
"""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from kalends.domain import canaries as rules
from kalends.domain.canaries import Canary
from kalends.domain.events import EventId, moment
from kalends.edge.operations import Answer, Call, Handler, Operation
from kalends.search.canaries import KeepCanaries


class CanaryIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A question, and the ids of the events that must all be among the best ``within`` hits."""

    question: Annotated[str, Meta(min_length=1, max_length=4096)]
    expect: Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(min_length=1, max_length=rules.EXPECTED_AT_MOST)]
    within: Annotated[int, Meta(ge=1, le=100)] = rules.WITHIN


class CanaryOut(Struct, frozen=True, kw_only=True):
    """A question and what became of it: ``state`` is new, found, missed or gone, and is so since ``since``.

    ``gone``: how many more events were expected that are erased. Once all are, ``question`` is null and ``expect`` empty.
    """

    canary: str
    question: str | None
    expect: list[str]
    within: int
    gone: int
    state: Literal["new", "found", "missed", "gone"]
    since: datetime
    asked_at: datetime | None
    set_by: str
    set_at: datetime


class CanaryList(Struct, frozen=True, kw_only=True):
    """The questions, by name. ``accuracy``: the share that found what they must, of those that could; null before any was asked."""

    items: list[CanaryOut]
    accuracy: float | None


class CanaryRemoved(Struct, frozen=True, kw_only=True):
    """A question that is no more."""

    canary: str


class CanaryRoutes:
    """``/memories/{memory}/canaries``."""

    def __init__(self, *, canaries: KeepCanaries) -> None:
        self._canaries = canaries

    async def list(self, call: Call) -> Answer:
        """Every question of a memory, with what became of it."""
        found = await self._canaries.of_scope(call.scoped)
        return Answer(body=CanaryList(items=[_out(one) for one in found], accuracy=rules.accuracy(one.state for one in found)))

    async def show(self, call: Call) -> Answer:
        """One question."""
        return Answer(body=_out(await self._canaries.find(call.scoped, call.path["canary"])))

    async def set(self, call: Call) -> Answer:
        """Set one question; 201 if there was none of that name."""
        body: CanaryIn = call.body
        wanted = Canary(
            scope=call.scoped,
            name=call.path["canary"],
            question=body.question,
            expect=tuple(EventId(one) for one in body.expect),
            within=body.within,
            set_by=call.principal.token_id,
        )
        stored, made = await self._canaries.set(wanted)
        return Answer(body=_out(stored), status=201 if made else 200)

    async def remove(self, call: Call) -> Answer:
        """Forget one question."""
        await self._canaries.remove(call.scoped, call.path["canary"])
        return Answer(body=CanaryRemoved(canary=call.path["canary"]))


def _out(canary: Canary) -> CanaryOut:
    return CanaryOut(
        canary=canary.name,
        question=canary.question or None,
        expect=list(canary.expect),
        within=canary.within,
        gone=canary.gone,
        state=canary.state,
        since=moment(canary.since_us),
        asked_at=moment(canary.asked_us) if canary.asked_us else None,
        set_by=canary.set_by,
        set_at=moment(canary.set_us),
    )


def operations(routes: CanaryRoutes) -> list[Operation]:
    """The rows, which need ``admin`` and every label."""
    every = "/memories/{memory}/canaries"
    one = f"{every}/{{canary}}"
    rows: list[tuple[str, str, str, str, Handler, type[Struct]]] = [
        ("canaries.list", "GET", every, "Canary questions, and what became of them", routes.list, CanaryList),
        ("canaries.show", "GET", one, "One canary question", routes.show, CanaryOut),
        ("canaries.set", "PUT", one, "Set a question and the events that it must find", routes.set, CanaryOut),
        ("canaries.remove", "DELETE", one, "Forget a canary question", routes.remove, CanaryRemoved),
    ]
    return [
        Operation(
            name=name,
            method=method,
            path=path,
            right="admin",
            every_label=True,
            summary=summary,
            handle=handle,
            answer=answer,
            statuses=(201,) if name == "canaries.set" else (),
            body=CanaryIn if name == "canaries.set" else None,
        )
        for name, method, path, summary, handle, answer in rows
    ]
