"""Making the streams of events, and giving slots of those that are there to new ones while everybody goes on writing.

Belongs here: reading the layout from the broker and taking one step after another. Does not belong here: which step is next (``layout``).
A newcomer would get wrong: the broker lets no two streams have a subject, so between giving and receiving nobody has it; what is sent then
is refused and sent again. Everything slow, such as electing a leader, happens before that. Whoever dies in between is stood in for by
whoever looks next, once the turn is over (``turns``).
"""

import asyncio
import json
from collections.abc import Mapping, Sequence

import structlog

from kalends.adapters.nats.failures import DEPENDENCY, NO_STREAM, accepted, decoded, refusal_code
from kalends.adapters.nats.layout import Layout, Placed, Step, is_of_events, metadata_of, next_step, placed, subjects_of
from kalends.adapters.nats.requests import Question, Requests
from kalends.domain.errors import KalendsError, Misconfigured, Throttled
from kalends.kit import failpoints
from kalends.wire.leases import Lease

log = structlog.get_logger(__name__)

Config = Mapping[str, object]

_SETTLED_S = 0.25
"""Many times what replicas take to agree on a message; those whose memories move wait for so long."""


class Found:
    """The streams of events as the broker told them: their configurations, the layout that these make, and where each stream ends."""

    def __init__(self, infos: Sequence[Mapping[str, object]]) -> None:
        self.configs: dict[str, dict[str, object]] = {}
        self.heads: dict[str, int] = {}
        for info in infos:
            config, state = info["config"], info["state"]
            assert isinstance(config, dict)  # noqa: S101 - the broker's own answer
            assert isinstance(state, dict)  # noqa: S101 - the broker's own answer
            self.configs[str(config["name"])] = config
            self.heads[str(config["name"])] = int(state.get("last_seq", 0))
        self.layout = Layout(placed(config) for config in self.configs.values())


async def names(requests: Requests, subject: str = "ev.v1.>") -> tuple[str, ...]:
    """The streams of events that have *subject*, or some of it; the broker tells a page at a time.

    Raises:
        KalendsError: the broker refuses or does not answer.
    """
    found: list[str] = []
    offset = total = 0
    while offset == 0 or offset < total:
        asked = json.dumps({"subject": subject, "offset": offset}).encode()
        told = await requests.api("STREAM.NAMES", asked, repeat=True)
        page, counted = told.get("streams"), told.get("total")
        if not isinstance(page, list) or not page:
            break
        found += _of_events(told)
        offset, total = offset + len(page), counted if isinstance(counted, int) else 0
    return tuple(found)


async def holders(requests: Requests, subjects: Sequence[str]) -> list[tuple[str, ...]]:
    """For each of *subjects*, the streams of events that have it.

    Raises:
        KalendsError: the broker refuses or does not answer.
    """
    questions: list[Question] = [("$JS.API.STREAM.NAMES", json.dumps({"subject": subject}).encode(), b"") for subject in subjects]
    return [_of_events(accepted(decoded(reply.data))) for reply in await requests.ask_all(questions, repeat=True)]


def _of_events(told: Mapping[str, object]) -> tuple[str, ...]:
    found = told.get("streams")
    return tuple(name for name in map(str, found if isinstance(found, list) else []) if is_of_events(name))


async def find(requests: Requests) -> Found:
    """All streams of events, as they are now.

    Raises:
        KalendsError: the broker refuses, or one of the streams does not answer.
    """
    questions: list[Question] = [(f"$JS.API.STREAM.INFO.{name}", b"", b"") for name in await names(requests)]
    replies = [decoded(reply.data) for reply in await requests.ask_all(questions, repeat=True)]
    return Found([accepted(reply) for reply in replies if refusal_code(reply) != NO_STREAM])


async def find_some(requests: Requests, *, wait: float) -> tuple[Found, frozenset[str]]:
    """The streams of events that answer within *wait* seconds, and the names of the others: a stream without a leader says nothing.

    Raises:
        KalendsError: the broker does not tell the names.
    """
    infos: list[Mapping[str, object]] = []
    silent: set[str] = set()

    async def ask(name: str) -> None:
        try:
            async with asyncio.timeout(wait):
                infos.append(await requests.api(f"STREAM.INFO.{name}"))
        except (TimeoutError, KalendsError):
            silent.add(name)

    wanted = await names(requests)
    async with asyncio.TaskGroup() as group:
        for name in wanted:
            group.create_task(ask(name))
    return Found(infos), frozenset(silent)


async def widen(requests: Requests, *, partitions: int, settings: Config, turn: Lease) -> Found:
    """See to it that every slot has a stream, and that there are *partitions* streams or more; again changes nothing.

    *settings* are those of a new stream. A number below that of the streams there are changes nothing: the log never gets narrower. While
    another process is at it only slots without a stream are waited for: it will not have finished when this returns.

    Raises:
        Misconfigured: the broker has no room for another stream. KalendsError: it refuses, or does not answer.
    """
    while True:
        found = await find(requests)
        if next_step(found.layout, partitions=partitions) is None:
            return found
        if await turn.attempt() is not None:
            await _in_turn(requests, partitions=partitions, settings=settings, turn=turn)
        elif not found.layout.holes:
            return found
        else:
            await asyncio.sleep(turn.pause_s)


async def _in_turn(requests: Requests, *, partitions: int, settings: Config, turn: Lease) -> None:
    """Take steps while it is our turn and there are any.

    The turn is only given back when nothing that we asked for can still happen: an error keeps it until it runs out.
    """
    found = await find(requests)
    while (step := next_step(found.layout, partitions=partitions)) is not None:
        if not await _take(requests, found, step, settings=settings, turn=turn):
            return
        log.info("stream of events receives slots", stream=step.name, slots=len(step.slots), given_by=sorted(step.givers))
        found = await find(requests)
    await turn.release()


async def _take(requests: Requests, found: Found, step: Step, *, settings: Config, turn: Lease) -> bool:
    """Take *step*: have a stream that waits, have its slots given up, and have it receive them; False if our turn ended meanwhile."""
    made = found.configs.get(step.name)
    if made is None:
        subjects, noted = subjects_of(step.name, frozenset()), metadata_of(step.epoch, {})
        try:
            made = await _change(requests, "CREATE", {**settings, "name": step.name, "subjects": subjects, "metadata": noted}, turn=turn)
        except Throttled as error:
            await turn.release()  # nothing was given up yet
            asked = f"log.max_bytes is {settings['max_bytes']} for each stream of events"
            detail = f"the broker has no room for {step.name}: {asked}, and that much it keeps free for it"
            raise Misconfigured(detail, dependency=DEPENDENCY) from error
    await failpoints.reach("log.before-giving")
    if await turn.attempt() is None:
        return False
    for name, kept in step.givers.items():
        await _change(requests, "UPDATE", {**found.configs[name], "subjects": subjects_of(name, kept)}, turn=turn)
    await failpoints.reach("log.before-receiving")
    noted = {**_metadata(made), **metadata_of(step.epoch, await _ends(requests, found.layout, step))}
    if turn.term is None:
        return False
    await _change(requests, "UPDATE", {**made, "subjects": subjects_of(step.name, step.slots), "metadata": noted}, turn=turn)
    return True


async def _ends(requests: Requests, layout: Layout, step: Step) -> dict[str, int]:
    """Where the streams end that the slots' earlier messages may be in: the givers, and for what nobody had, any.

    In a cluster what a leader took just before its subjects changed may still be on its way through the replicas, and is in no answer
    yet, so there is a pause before. An end that is too high does no harm: readers of the new stream wait a little longer.
    """
    sources: Sequence[Placed] = [one for one in layout.streams if one.slots and (one.name in step.givers or step.slots & layout.holes)]
    questions: list[Question] = [(f"$JS.API.STREAM.INFO.{one.name}", b"", b"") for one in sources]
    if requests.link.in_cluster:
        await asyncio.sleep(_SETTLED_S)
    ends = Found([accepted(decoded(reply.data)) for reply in await requests.ask_all(questions, repeat=True)]).heads
    return {name: end for name, end in ends.items() if end}


async def _change(requests: Requests, operation: str, config: Config, *, turn: Lease) -> dict[str, object]:
    """The configuration of a stream after making or changing it; what may still be carried out is not repeated, for it may come late."""
    asked, body = f"STREAM.{operation}.{config['name']}", json.dumps(config).encode()
    now = (await requests.change(asked, body, may=lambda: turn.term is not None))["config"]
    assert isinstance(now, dict)  # noqa: S101 - the broker's own answer
    return now


def _metadata(config: Config) -> dict[str, str]:
    noted = config.get("metadata")
    return dict(noted) if isinstance(noted, dict) else {}
