"""Health of what an instance depends on: state, since when, why, and what to do.

Belongs here: the words for each dependency. Does not belong here: finding out (the parts themselves know). A newcomer would get wrong:
only what is ``required`` makes an instance unready; a paused projection degrades answers and says so.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from kalends.adapters.nats.bus import NatsBus
from kalends.adapters.nats.room import STALLED_S
from kalends.app.engines import Engines, ServedEmbedder, ServedReranker
from kalends.app.floors import StoreWatch
from kalends.domain.errors import KalendsError
from kalends.edge.services import Health
from kalends.index.usecases import Projection
from kalends.kit.stalls import Stall
from kalends.summarize.writing import Writer
from kalends.wire.follower import TimelineFollower

_RERANKER_STEP = "answers do without it and say so; see that a server of reranker.urls serves reranker.model"

Ask = Callable[[], Sequence[Health]]


def of_log(bus: NatsBus, follower: TimelineFollower) -> Ask:
    """What to say of the log and of the timeline that follows it."""

    def ask() -> Sequence[Health]:
        since = datetime.fromtimestamp(bus.state.since, UTC).isoformat()
        log_step = "it is restarted by itself; see logs/ and nats/broker.log" if bus.state.status == "down" else ""
        behind = follower.failure is not None
        told = follower.failure or ("follows the log before it answers" if follower.is_new else "")
        return [
            Health(name="log", state=bus.state.status, since=since, detail=bus.state.detail, next_step=log_step),
            Health(
                name="timeline",
                state="down" if follower.is_new else "degraded" if behind else "up",
                since=since,
                detail=told,
                next_step="it goes on by itself once the log answers" if behind else "",
                required=follower.is_new,
            ),
        ]

    return ask


def of_disk(folder: Path, *, needed: int, stall: Stall) -> Ask:
    """What to say of the disk of *folder*: with less than *needed* bytes free, or while it hangs, nothing new is taken in."""
    seen = {"state": "up", "since": datetime.now(UTC).isoformat()}

    def ask() -> Sequence[Health]:
        hangs, free = stall.seconds(), shutil.disk_usage(folder).free
        state, detail, step = "degraded", "", ""
        if hangs >= STALLED_S:
            detail = f"hangs: it has taken nothing for {hangs:.0f} s"
            step = "see what holds it up; reads go on as far as they can, writes are refused until then and go on by themselves"
        elif free < needed:
            detail = f"full: {free >> 20} MiB free of the {needed >> 20} needed"
            step = "make room; reads go on, writes are refused until then and go on by themselves"
        else:
            state, detail = "up", f"{free / 1024**3:.1f} GiB free"
        if seen["state"] != state:
            seen.update(state=state, since=datetime.now(UTC).isoformat())
        return [Health(name="disk", state=state, since=seen["since"], detail=detail, next_step=step, required=False)]

    return ask


def of_chat(writer: Writer, *, url: str) -> Ask:
    """What to say of the chat model at *url*, where one is set."""
    started = datetime.now(UTC).isoformat()
    seen = {"away": "", "since": started}

    def ask() -> Sequence[Health]:
        if seen["away"] != writer.away:
            seen.update(away=writer.away, since=datetime.now(UTC).isoformat())
        step = "nodes are written without it and say so; it is asked again by itself: see that its server answers" if writer.away else ""
        state = "degraded" if writer.away else "up"
        return [Health(name="chat", state=state, since=seen["since"], detail=writer.away or url, next_step=step, required=False)]

    return ask


def of_engines(engines: Engines, projections: Mapping[str, Projection], watches: Sequence[StoreWatch]) -> Ask:
    """What to say of the projections and of the models.

    A store is required only where all of them are away: as long as one arm answers, answers say what is missing.
    """
    started = datetime.now(UTC).isoformat()

    def stores() -> dict[str, tuple[KalendsError | None, str, str]]:
        """By name, why it is away, since when, and what to do."""
        found = {}
        for name, projection in projections.items():
            step = "writes are paused and go on by themselves; `kalends admin reindex` builds it anew"
            found[name] = (projection.failure, projection.failing_since or started, step)
        for watch in watches:
            if found.get(watch.name, (None,))[0] is None:
                step = "answers do without it and say so; it is asked again by itself: see that its server answers"
                found[watch.name] = (watch.failure, watch.failing_since or started, step)
        return found

    def ask() -> Sequence[Health]:
        seen = stores()
        all_away = bool(watches) and all(failure is not None for failure, _, _ in seen.values())
        found = [
            Health(
                name=name,
                state="down" if failure else "up",
                since=since,
                detail=failure.detail if failure else "",
                next_step=step if failure else "",
                required=all_away,
            )
            for name, (failure, since, step) in seen.items()
        ]
        found.append(_of_model("model", engines.embedder, started, state="down", step=engines.model_step))
        if engines.reranker is not None:
            found.append(_of_model("reranker", engines.reranker, started, state="degraded", step=_RERANKER_STEP))
        return found

    return ask


def _of_model(name: str, model: ServedEmbedder | ServedReranker, started: str, *, state: str, step: str) -> Health:
    """What to say of *model*; *state* is how its absence is called."""
    failure = model.failure
    return Health(
        name=name,
        state=state if failure else "up",
        since=model.failing_since or started,
        detail=failure.detail if failure else model.identity,
        next_step=step if failure else "",
        required=False,
    )
