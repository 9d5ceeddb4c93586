"""Which streams there are, what they hold and how they are set; made and mended when we start.

Belongs here: names, subjects and settings of streams. Does not belong here: reading and writing them. A newcomer would get wrong: a
memory's stream follows from its slot and the number of partitions, so the number may not change under a log that already holds events.
"""

import json
from collections.abc import Mapping

from kalends.adapters.nats.options import NatsOptions
from kalends.adapters.nats.requests import Requests
from kalends.domain.errors import Misconfigured, NotFound
from kalends.domain.scope import SLOTS, Scope, token

RECORDS = "RECORDS_0"
KEYS = "KEYS"
DEAD = "DEAD"
ADVISORIES = ("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>", "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>")
DUPLICATE_WINDOW = 120.0
_SECOND = 1_000_000_000


def event_streams(partitions: int) -> tuple[str, ...]:
    """The names of the streams of events."""
    return tuple(f"EVENTS_{number}" for number in range(partitions))


def stream_of(scope: Scope, *, partitions: int) -> str:
    """The stream in which the events of *scope* are: ranges of slots, shared out evenly."""
    return f"EVENTS_{scope.slot * partitions // SLOTS}"


def subject_of(scope: Scope) -> str:
    """The subject of the events of *scope*."""
    return f"ev.v1.u.{scope.slot}.{token(scope.tenant)}.{token(scope.memory)}"


def event_subjects(number: int, *, partitions: int) -> list[str]:
    """The subjects of the stream *number* of *partitions*."""
    if partitions == 1:
        return ["ev.v1.u.>"]
    return [f"ev.v1.u.{slot}.>" for slot in range(SLOTS) if slot * partitions // SLOTS == number]


def wanted(options: NatsOptions) -> dict[str, dict[str, object]]:
    """Every stream's settings, by name."""
    common: dict[str, object] = {
        "retention": "limits",
        "storage": "file",
        "num_replicas": options.replicas,
        "discard": "new",
        "max_age": 0,
        "max_msgs": -1,
        "max_consumers": -1,
        "max_msg_size": -1,
        "max_msgs_per_subject": -1,
        "duplicate_window": int(DUPLICATE_WINDOW * _SECOND),
        "allow_direct": True,
        "allow_atomic": True,
        "deny_delete": False,
        "deny_purge": False,
        "compression": "none",
    }
    streams: dict[str, dict[str, object]] = {}
    for number, name in enumerate(event_streams(options.partitions)):
        subjects = event_subjects(number, partitions=options.partitions)
        streams[name] = {**common, "subjects": subjects, "max_bytes": options.events_bytes}
    streams[RECORDS] = {**common, "subjects": ["rec.v1.>"], "max_bytes": options.records_bytes, "max_msgs_per_subject": 10}
    streams[KEYS] = {**common, "subjects": ["key.v1.>"], "max_bytes": options.keys_bytes, "max_msgs_per_subject": 1}
    # The broker itself writes the advisories and would not notice a refusal, so here the oldest make room for the newest.
    dead = {**common, "subjects": ["dead.v1.>", *ADVISORIES], "max_bytes": options.dead_bytes, "discard": "old", "allow_atomic": False}
    streams[DEAD] = dead
    for name, settings in streams.items():
        settings["name"] = name
    return streams


async def ensure_streams(requests: Requests, *, options: NatsOptions) -> None:
    """Make the streams that are missing and mend those that were set otherwise; again changes nothing.

    Raises:
        Misconfigured: a stream that exists cannot become what is wanted, or the log was made with another number of partitions.
        KalendsError: the broker refuses or does not answer.
    """
    await _refuse_other_partitions(requests, options=options)
    for name, settings in wanted(options).items():
        try:
            info = await requests.api(f"STREAM.INFO.{name}")
        except NotFound:
            await requests.api(f"STREAM.CREATE.{name}", json.dumps(settings).encode())
            continue
        current = info["config"]
        assert isinstance(current, dict)  # noqa: S101 - the broker's own answer
        if drift(settings, current):
            if current.get("storage") != settings["storage"] or current.get("retention") != settings["retention"]:
                raise Misconfigured(f"stream {name} exists with another storage or retention")
            await requests.api(f"STREAM.UPDATE.{name}", json.dumps({**current, **settings}).encode())


def drift(settings: Mapping[str, object], current: Mapping[str, object]) -> dict[str, object]:
    """The wanted settings that are not the current ones; the broker leaves out what is false or nothing."""
    return {key: value for key, value in settings.items() if (current.get(key) or False) != (value or False)}


async def _refuse_other_partitions(requests: Requests, *, options: NatsOptions) -> None:
    names = await requests.api("STREAM.NAMES", json.dumps({"subject": "ev.v1.u.>"}).encode())
    found = {str(name) for name in _list(names.get("streams"))}
    expected = set(event_streams(options.partitions))
    if found and found != expected:
        held = [name for name in sorted(found) if await _messages(requests, name)]
        if held:
            raise Misconfigured(f"log.partitions is {options.partitions}, but {', '.join(held)} already hold events")
        for name in sorted(found):
            await requests.api(f"STREAM.DELETE.{name}")


async def _messages(requests: Requests, name: str) -> bool:
    state = (await requests.api(f"STREAM.INFO.{name}"))["state"]
    return isinstance(state, dict) and int(state.get("last_seq", 0)) > 0


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
