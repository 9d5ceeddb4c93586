"""What trust costs: sealing, TLS and credentials for each acked event, and how long it takes until something is erased.

Belongs here: the two procedures. Does not belong here: the load (``load``). A newcomer would get wrong: nothing can be acked unsealed or
without a credential, so what those two cost is measured apart, in process, and set against the time that an acked event takes.
"""

import asyncio
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from kalends.adapters.embedded.clock import SystemClock
from kalends.adapters.nats import open_nats
from kalends.domain.credentials import RIGHTS
from kalends.domain.events import Event, EventId, Facets, new_ulid
from kalends.domain.scope import MemoryName, Scope, Tenant
from kalends.edge.auth import Authenticator
from kalends.kit import aead
from kalends.wire import envelopes
from kalends.wire.envelopes import Stamp
from tests.bench import corpus
from tests.bench.instance import Instance
from tests.bench.report import Report, Row
from tests.support import tls

COSTS = "Trust: what sealing, TLS and credentials cost of the acked events"
ERASING = "Erasing one session of 20 events"
BATCH, CLIENTS, SECONDS = 100, 4, 4.0
TOGETHER_AIM = 15.0
AIMS_S = {"hidden": 1.0, "unreadable": 10.0, "erased": 60.0}

_TIMES = 5_000
_LOOK_S = 0.02
_FIRST = 1_000_000
_PIECE = 500
_SCOPE = Scope(Tenant("bench"), MemoryName("bench"))


def costs(folder: Path, report: Report, *, rounds: int = 4) -> None:
    """Acked events in the clear, over TLS, and into sessions that exist, in turns; and what sealing and looking a token up take."""
    places = tls.certificates(folder / "certificates")
    kinds: dict[str, Callable[[Path], float]] = {
        "in the clear": lambda data: _rate(Instance(data)),
        "over TLS 1.3, broker included": lambda data: _rate(Instance(data, settings=tls.variables(places), ca=places.ca)),
        "in the clear, into sessions that exist": lambda data: _rate(Instance(data), known=True),
    }
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(rounds):
        for name, measured in kinds.items():
            data = folder / f"trust-{number}"
            found[name].append(measured(data))
            shutil.rmtree(data)
    rates = {name: median(runs) for name, runs in found.items()}
    for name, runs in found.items():
        told = f"batches of {BATCH}, {CLIENTS} clients; runs {', '.join(f'{run:,.0f}' for run in runs)}"
        report.add(Row(section=COSTS, name=name, value=rates[name], unit="events/s", note=told))
    plain, secured, known = rates.values()
    with Instance(folder / "trust-tokens") as instance:
        token_us = asyncio.run(_looking_up(instance.data))
    sealing_us = _sealing()
    shares = {
        "TLS": 100 * (1 - secured / plain),
        "sealing and digest of an event": sealing_us * plain / 10_000,
        "a data key for each new session of 20 events": 100 * (1 - plain / known),
        "looking a token up, once a batch": token_us / BATCH * plain / 10_000,
    }
    notes = {
        "sealing and digest of an event": f"{sealing_us:.1f} us an event",
        "looking a token up, once a batch": f"{token_us:.1f} us a request",
    }
    for name, share in shares.items():
        report.add(Row(section=COSTS, name=f"cost of {name}", value=share, unit="%", note=notes.get(name, "")))
    together = sum(max(0.0, share) for share in shares.values())
    report.add(Row(section=COSTS, name="together", value=together, unit="%", aim=TOGETHER_AIM, at_most=True))


def erasing(instance: Instance, report: Report, *, events: int, times: int = 3) -> None:
    """Erase sessions of *instance*, which holds *events*, one after the other; the median of how long each state took from the request."""
    turns = corpus.turns(times * corpus.SESSION_TURNS, first=0)
    sessions = list(dict.fromkeys(turn.session_id for turn in turns))[:times]
    found: dict[str, list[float]] = {state: [] for state in AIMS_S}
    for session in sessions:
        for state, seconds in _erased(instance, session).items():
            found[state].append(seconds)
    section = f"{ERASING} among {events:,}"
    for state, aim in AIMS_S.items():
        told = f"runs {', '.join(f'{one:.2f}' for one in found[state])}"
        report.add(Row(section=section, name=state, value=median(found[state]), unit="s", aim=aim, at_most=True, note=told))


def _erased(instance: Instance, session: str) -> dict[str, float]:
    """Seconds from the request until its answer, which comes when all is hidden, and until each later state is told."""
    path = f"/v1/memories/{instance.memory}/erasures"
    started = time.perf_counter()
    made = instance.ask("POST", path, {"session_id": session})
    reached = {"hidden": time.perf_counter() - started}
    while len(reached) < len(AIMS_S):
        told: Any = instance.ask("GET", f"{path}/{made['erasure_id']}")
        now = time.perf_counter() - started
        order = list(AIMS_S)
        for state in order[: order.index(told["state"]) + 1]:
            reached.setdefault(state, now)
        time.sleep(_LOOK_S)
    return reached


def _rate(made: Instance, *, known: bool = False) -> float:
    """Acked events a second; *known*: the sessions have their keys already, and nothing else is different."""
    requests = int(30_000 * SECONDS / BATCH)
    with made as instance:
        instance.load(kind="append", batch=BATCH, requests=5)
        if known:
            _begin_sessions(instance, requests * BATCH // 2)
        instance.wait_indexed(seconds=300)
        found = instance.load(kind="append", clients=CLIENTS, batch=BATCH, requests=requests, seconds=SECONDS, first=_FIRST, expect='"new"')
        if found.unexpected:
            raise RuntimeError(f"not everything was stored: {found.statuses}")
        return found.answered * BATCH / found.seconds


def _begin_sessions(instance: Instance, count: int) -> None:
    """One event in each session of the *count* that the load begins with; so many as it can reach."""
    turns = corpus.turns(count, first=_FIRST)[:: corpus.SESSION_TURNS]
    for start in range(0, len(turns), _PIECE):
        items = [turn.item() for turn in turns[start : start + _PIECE]]
        instance.ask("POST", f"/v1/memories/{instance.memory}/events", {"events": items})


def _sealing() -> float:
    """Microseconds that an event's digest and seal take, of what the log stores of it."""
    box, stamp = aead.Box(aead.new_key()), Stamp(writer="bench-000000000000", number=1, acked_up_to=0)
    events = [_event(turn) for turn in corpus.turns(_TIMES, first=0)]
    started = time.perf_counter()
    for event in events:
        envelopes.content_mac(event, box)
    digested = time.perf_counter() - started
    bodies = [envelopes.seal_event(event, scope=_SCOPE, key_reference="0" * 32, box=box, mac=b"\0" * 16, stamp=stamp) for event in events]
    started = time.perf_counter()
    for body in bodies:
        box.seal(body, context=b"what it is bound to, some sixty bytes of scope, event and key")
    return (digested + time.perf_counter() - started) / _TIMES * 1e6


def _event(turn: corpus.Turn) -> Event:
    facets = Facets(session_id=turn.session_id, kind="message", actor=turn.actor)
    made = EventId(new_ulid(turn.occurred_at))
    return Event(id=made, facets=facets, text=turn.text, occurred_at=turn.occurred_at, recorded_at=turn.occurred_at)


async def _looking_up(data: Path) -> float:
    """Microseconds that it takes to know whose a token is."""
    user = json.loads((data / "nats" / "broker.conf").read_bytes())["authorization"]["users"][0]
    nats_url = json.loads((data / "instance.json").read_bytes())["nats_url"]
    async with open_nats(url=nats_url, user=user["user"], password=user["password"]) as bus:
        known = Authenticator(bus.records, clock=SystemClock())
        token, _ = await known.issue(Tenant("bench"), memories=None, rights=RIGHTS)
        async with asyncio.TaskGroup() as group:
            following = group.create_task(known.run())
            await known.wait_ready()
            started = time.perf_counter()
            for _ in range(_TIMES):
                known.authenticate(f"Bearer {token}")
            took = time.perf_counter() - started
            following.cancel()
        return took / _TIMES * 1e6
