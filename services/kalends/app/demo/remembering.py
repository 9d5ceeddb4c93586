"""The scene of the calendar: it fills by itself, is walked from a year to a line, and the line opens into what proves it.

Belongs here: the walk and its checks. Does not belong here: how the command line draws a tree (``commands.calendar``). A newcomer would get
wrong: nothing asks for the calendar to be written; what happened long ago is quiet, and the next sweep finds it.
"""

from rich.text import Text

from kalends.app.demo.instance import wait_until
from kalends.app.demo.narrator import Narrator
from kalends.app.output import harmless
from kalends.client import Kalends, Memory, TocEntry, TocNode
from kalends.domain.errors import Unavailable

WRITTEN_S = 180.0
SHOWN_LINES = 3
_INDENT = {"year": 2, "month": 4, "week": 6, "day": 8}


def calendar(narrator: Narrator, memory: Memory) -> None:
    """Walk the calendar from its years down, and open one line."""
    with narrator.scene("What happened? The calendar, written without any language model"):
        narrator.command("toc")
        segments: list[TocNode] = []
        for year in memory.toc():
            _below(narrator, memory, year, segments)
        met = [event_id for segment in segments for event_id in segment.event_ids]
        events = memory.info().events
        narrator.check(f"each of the {events} events lies in exactly one of {len(segments)} conversations", holds=_each_once(met, events))
        month = next((entry for year in memory.toc() for entry in memory.toc_children(year.node_id)), None)
        if month is not None:
            _open(narrator, memory, memory.toc(month.node_id))


def wait_until_written(kalends: Kalends) -> None:
    """Wait until the calendar has everything that was stored.

    Raises:
        Unavailable: it was not written in time.
    """
    if not wait_until(lambda: settled(kalends), seconds=WRITTEN_S):
        raise Unavailable(f"the calendar was not written within {WRITTEN_S:g} s", dependency="summarize")


def settled(kalends: Kalends) -> bool:
    """Whether the calendar has everything that is quiet, and every projection has the calendar."""
    calendar = kalends.status().calendar
    due = calendar is not None and (calendar.units_due or calendar.periods_due)
    return not due and followed(kalends)


def followed(kalends: Kalends) -> bool:
    """Whether every projection has what the log holds."""
    return not any(lag.events for lag in kalends.status().lag.values())


def _below(narrator: Narrator, memory: Memory, entry: TocEntry, segments: list[TocNode]) -> None:
    """Show years, months and weeks; visit everything."""
    if entry.level == "segment":
        segments.append(memory.toc(entry.node_id))
        return
    if entry.level != "day":
        indent = " " * _INDENT[entry.level]
        count = f"{entry.event_count} events"
        line = Text.assemble(indent, (entry.label, "bold cyan"), "  ", harmless(entry.title), (f"  {count}", "dim"))
        narrator.console.print(line, no_wrap=True, overflow="ellipsis")
    for child in memory.toc_children(entry.node_id):
        _below(narrator, memory, child, segments)


def _open(narrator: Narrator, memory: Memory, node: TocNode) -> None:
    narrator.command(f"toc {node.node_id}")
    for bullet in node.bullets[:SHOWN_LINES]:
        narrator.console.print(Text(f"  • {harmless(bullet.text)}"))
    first = node.bullets[0].grips[0]
    narrator.command(f"expand {first.grip_id} --before 1 --after 1")
    opened = memory.expand(first.grip_id, before=1, after=1)
    for event in opened.before:
        narrator.event(event)
    for event in opened.span:
        narrator.event(event, found=True)
    for event in opened.after:
        narrator.event(event)
    narrator.check("the line's excerpt stands in the event that it cites, letter by letter", holds=opened.excerpt in opened.span[0].text)


def _each_once(met: list[str], events: int | None) -> bool:
    return len(met) == len(set(met)) == events
