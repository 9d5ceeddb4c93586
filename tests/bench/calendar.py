"""The section ``calendar``: from a quiet session to its segment, and writing the calendar of many events.

Belongs here: the procedure. Does not belong here: starting an instance (``instance``) or printing (``report``). A newcomer would get wrong:
events of the past are quiet at once, so what is measured begins when the sweep is asked for; and a calendar is written anew only when
every projection has its events, because the model that embeds is the one that summarizes.
"""

import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.bench.instance import Instance
from tests.bench.report import Report, Row, percentile

VISIBLE_AIM_S, REBUILD_AIM = 5.0, 300.0
"""The seed system's segmenter, wired by hand with a summarizer that does nothing, took 4 to 7 turns a second."""

_SESSIONS = 20
_TURNS = 10
_BATCH = 100
_LONGEST_S = 3600.0
_LOOK_S = 0.02
_SETTLED_S = 2.5
"""A unit whose last event came less than two seconds ago is not looked at yet (``summarize.settle_s``)."""

_START = datetime(2023, 3, 1, 9, tzinfo=UTC)


def measure(folder: Path, report: Report, *, events: int) -> None:
    """Both parts, on an instance each."""
    with Instance(folder / "calendar-fresh") as instance:
        _first_segments(instance, report)
    with Instance(folder / "calendar") as instance:
        _rebuild(instance, report, events)
    shutil.rmtree(folder / "calendar")


def _first_segments(instance: Instance, report: Report) -> None:
    section = "Calendar: from the sweep that finds a quiet session until its segment is visible, on a fresh install"
    taken = []
    for number in range(_SESSIONS):
        day = _START + timedelta(days=number)
        instance.ask("POST", f"/v1/memories/{instance.memory}/events", {"events": [_event(number, turn, day) for turn in range(_TURNS)]})
        instance.wait_indexed(seconds=60)
        time.sleep(_SETTLED_S)
        node = f"toc:day:{day.date().isoformat()}"
        instance.ask("POST", "/v1/scheduler/jobs/segment-sweep/run")
        started = time.perf_counter()
        while not _children(instance, node):
            time.sleep(_LOOK_S)
        taken.append(time.perf_counter() - started)
    for share in (0.5, 0.95):
        aim = VISIBLE_AIM_S if share == 0.95 else None
        note = f"{_SESSIONS} sessions of {_TURNS} turns, one after the other; the sweep is asked for over HTTP"
        report.add(
            Row(
                section=section,
                name=f"visible, p{share * 100:.0f}",
                value=percentile(taken, share),
                unit="s",
                aim=aim,
                at_most=True,
                note=note,
            )
        )


def _children(instance: Instance, node: str) -> bool:
    """Whether the day has a segment; a day that is not there yet has none."""
    try:
        return bool(instance.ask("GET", f"/v1/memories/{instance.memory}/toc/{node}/children")["items"])
    except RuntimeError as error:
        if ": 404 " in str(error):
            return False
        raise


def _event(session: int, turn: int, day: datetime) -> dict[str, str]:
    return {
        "session_id": f"first-{session}",
        "kind": "message",
        "role": "user" if turn % 2 else "assistant",
        "text": f"In talk {session} we went through point {turn} of the list: the harbour office wants the tide table by Friday.",
        "occurred_at": (day + timedelta(minutes=turn)).isoformat(),
    }


def _rebuild(instance: Instance, report: Report, events: int) -> None:
    section = f"Calendar: writing it for {events:,} events, with the extractive summarizer"
    instance.load(kind="append", clients=2, batch=_BATCH, requests=events // _BATCH, expect='"new"')
    begun = time.perf_counter()
    indexed = instance.wait_indexed(seconds=_LONGEST_S)
    instance.wait_settled(seconds=_LONGEST_S)
    first = time.perf_counter() - begun - indexed
    report.add(
        Row(
            section=section,
            name="for the first time, from when every projection has the events",
            value=events / first,
            unit="events/s",
            note=f"{first:.0f} s; its nodes are indexed meanwhile",
        )
    )
    begun = time.perf_counter()
    operation = instance.ask("POST", "/v1/admin/toc-rebuilds", {})["operation_id"]
    while (state := instance.ask("GET", f"/v1/operations/{operation}")["state"]) in {"queued", "running"}:
        time.sleep(_LOOK_S)
    seconds = time.perf_counter() - begun
    if state != "succeeded":
        raise RuntimeError(f"the rebuild has {state}")
    stats = instance.ask("GET", f"/v1/memories/{instance.memory}")
    note = f"{seconds:.0f} s; {stats['toc_nodes']:,} nodes, {stats['grips']:,} grips, none written again"
    report.add(Row(section=section, name="rebuild", value=events / seconds, unit="events/s", aim=REBUILD_AIM, note=note))
