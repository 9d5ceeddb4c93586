"""Which streams there are and how they are set; made and mended when we start, that of a dedicated memory when it is created.

Belongs here: names and settings of streams. Does not belong here: reading and writing them, or which memory is in which stream of events
(``layout``). A newcomer would get wrong: a memory's subject follows from its slot, its stream only from what the broker says; and that of
a dedicated memory is never deleted, for projections take a log that lost a stream for one that was put back.
"""

import json
from collections.abc import Mapping

import structlog

from kalends.adapters.nats import widening
from kalends.adapters.nats.failures import DEPENDENCY
from kalends.adapters.nats.layout import is_own, own_subject
from kalends.adapters.nats.options import NatsOptions
from kalends.adapters.nats.requests import Requests
from kalends.domain.errors import Misconfigured, NotFound, Throttled
from kalends.domain.positions import stream_of_own
from kalends.domain.scope import Scope, token
from kalends.wire.leases import Lease

log = structlog.get_logger(__name__)

RECORDS = "RECORDS_0"
KEYS = "KEYS"
DEAD = "DEAD"
LEDGER = "LEDGER"
AUDIT = "AUDIT"
ADVISORIES = ("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>", "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>")
DUPLICATE_WINDOW = 120.0
_SECOND = 1_000_000_000
_REPLICAS = "num_replicas"


def subject_of(scope: Scope) -> str:
    """The subject of the events of *scope*, unless it is dedicated."""
    return f"ev.v1.u.{scope.slot}.{token(scope.tenant)}.{token(scope.memory)}"


def event_settings(options: NatsOptions) -> dict[str, object]:
    """The settings of a stream of events that memories share, without its name and what it holds (``layout``)."""
    return {**_common(options), "max_bytes": options.events_bytes}


def own_settings(options: NatsOptions) -> dict[str, object]:
    """The settings of a dedicated memory's stream, without its name and subject."""
    return {**_common(options), "max_bytes": options.dedicated_bytes}


async def ensure_own(requests: Requests, scope: Scope, *, options: NatsOptions) -> None:
    """Make the stream of a dedicated memory; again changes nothing.

    Raises:
        Throttled: the broker has no room for it. KalendsError: it refuses or does not answer.
    """
    name = stream_of_own(scope)
    settings = {**own_settings(options), "name": name, "subjects": [own_subject(scope)]}
    try:
        info = await requests.api(f"STREAM.INFO.{name}", repeat=True)
    except NotFound:
        try:
            await requests.api(f"STREAM.CREATE.{name}", json.dumps(settings).encode(), repeat=True)
        except Throttled as error:
            detail = f"the log has no room for another dedicated memory; it keeps {options.dedicated_bytes} bytes free for each"
            raise Throttled(detail, dependency=DEPENDENCY, retry_after=error.retry_after) from error
        return
    await _mend(requests, settings, _config(info))


def wanted(options: NatsOptions) -> dict[str, dict[str, object]]:
    """The settings of every other stream, by name."""
    common = _common(options)
    # The broker itself writes the advisories and would not notice a refusal, so here the oldest make room for the newest.
    dead = {**common, "subjects": ["dead.v1.>", *ADVISORIES], "max_bytes": options.dead_bytes, "discard": "old", "allow_atomic": False}
    kept = {**common, "deny_delete": True, "deny_purge": True, "allow_atomic": False}
    return {
        # Of keys there is one each; the second is for the moment of ``replace``, because what a limit takes away leaves its bytes.
        RECORDS: {**common, "name": RECORDS, "subjects": ["rec.v1.>"], "max_bytes": options.records_bytes, "max_msgs_per_subject": 10},
        KEYS: {**common, "name": KEYS, "subjects": ["key.v1.>"], "max_bytes": options.keys_bytes, "max_msgs_per_subject": 2},
        DEAD: {**dead, "name": DEAD},
        LEDGER: {**kept, "name": LEDGER, "subjects": ["ledger.v1.>"], "max_bytes": options.ledger_bytes},
        AUDIT: {**kept, "name": AUDIT, "subjects": ["audit.v1.>"], "max_bytes": options.audit_bytes},
    }


def _common(options: NatsOptions) -> dict[str, object]:
    return {
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


async def ensure_streams(requests: Requests, *, options: NatsOptions, turn: Lease) -> widening.Found:
    """Make the streams that are missing and mend those that were set otherwise; again changes nothing. The streams of events then.

    *turn* is only asked for once the stream of records is there.

    Raises:
        Misconfigured: a stream that exists cannot become what is wanted, or there is no room for one more.
        KalendsError: the broker refuses or does not answer.
    """
    for name, settings in wanted(options).items():
        try:
            info = await requests.api(f"STREAM.INFO.{name}", repeat=True)
        except NotFound:
            await requests.api(f"STREAM.CREATE.{name}", json.dumps(settings).encode(), repeat=True)
            continue
        await _mend(requests, settings, _config(info))
    settings = event_settings(options)
    found = await widening.widen(requests, partitions=options.partitions, settings=settings, turn=turn)
    if len(found.layout.shared) > options.partitions:
        log.info("the log has more streams than log.partitions says and keeps them", streams=len(found.layout.shared))
    for name, config in found.configs.items():
        its = own_settings(options) if is_own(name) else settings
        if drift(its, config):
            # asked again, so that no subjects are written back that another process takes away right now
            await _mend(requests, its, _config(await requests.api(f"STREAM.INFO.{name}", repeat=True)))
    return found


async def _mend(requests: Requests, settings: Mapping[str, object], current: Mapping[str, object]) -> None:
    if not drift(settings, current):
        return
    name = current["name"]
    if current.get("storage") != settings["storage"] or current.get("retention") != settings["retention"]:
        raise Misconfigured(f"stream {name} exists with another storage or retention")
    await requests.api(f"STREAM.UPDATE.{name}", json.dumps({**current, **drift(settings, current)}).encode(), repeat=True)


def _config(info: Mapping[str, object]) -> dict[str, object]:
    config = info["config"]
    assert isinstance(config, dict)  # noqa: S101 - the broker's own answer
    return config


def drift(settings: Mapping[str, object], current: Mapping[str, object]) -> dict[str, object]:
    """The wanted settings that are not the current ones; the broker leaves out what is false or nothing.

    More replicas than wanted are none: one process that was told of fewer would take them from under all others.
    """
    found = {key: value for key, value in settings.items() if (current.get(key) or False) != (value or False)}
    if int(str(current.get(_REPLICAS) or 1)) > int(str(settings.get(_REPLICAS) or 1)):
        found.pop(_REPLICAS, None)
    return found
