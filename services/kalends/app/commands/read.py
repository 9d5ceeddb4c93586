"""Commands that read: search, context, events, event, sessions.

Belongs here: turning options into a question and an answer into lines. Does not belong here: ranking or paging, which are the server's and
the client's. A newcomer would get wrong: ``events --all`` prints one JSON object per line, so that a pipe need not hold them all.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from kalends.app.invocation import Command, Invocation
from kalends.app.moments import Moment, shown

if TYPE_CHECKING:
    from rich.console import Console

    from kalends.client import Event, Hit, Page, SearchAnswer
    from kalends.client.requests import ContextOptions, ListOptions, SearchOptions
    from kalends.client.results import TimeFilter

F = TypeVar("F", bound=Callable[..., Any])


def filtered(function: F) -> F:
    """Options that narrow down a question."""
    for option in reversed(
        [
            click.option("--from", "since", type=Moment(), help="Not before this time or date (UTC)."),
            click.option("--to", "until", type=Moment(), help="Before this time or date (UTC)."),
            click.option("--session", "session_id", multiple=True, help="Only of this session; may be repeated."),
            click.option("--kind", multiple=True, help="Only of this kind; may be repeated."),
            click.option("--actor", multiple=True, help="Only by this actor; may be repeated."),
            click.option("--role", multiple=True, help="Only in this role; may be repeated."),
        ]
    ):
        function = option(function)
    return function


def timed(function: F) -> F:
    """Options about words of time in a question."""
    literal = click.option("--no-time-phrases", "literal", is_flag=True, help="Do not let words such as 'last week' narrow down.")
    zone = click.option("--timezone", help="Where such words are read, as in Europe/Berlin; UTC by default.")
    return literal(zone(function))


def _asked(*, literal: bool, **options: Any) -> dict[str, Any]:
    """What is given, and that time phrases are to be left alone if *literal*."""
    return _given(**options) | ({"time_phrases": False} if literal else {})


def _given(**options: Any) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items() if value not in (None, (), False)}


@click.command(cls=Command)
@click.argument("query")
@click.option("--mode", type=click.Choice(["hybrid", "lexical", "vector"]), help="Which arms to ask; hybrid by default.")
@click.option("--limit", type=click.IntRange(1, 100), default=10, show_default=True, help="Most hits.")
@click.option("--rerank", type=click.Choice(["auto", "on", "off"]), help="Whether to rerank; auto by default.")
@click.option("--documents", is_flag=True, help="Search chunks of documents too.")
@click.option(
    "--target",
    "targets",
    multiple=True,
    type=click.Choice(["events", "documents", "toc", "grips"]),
    help="What to search; may be repeated. Events by default; toc is the calendar, grips are its evidence.",
)
@click.option("--explain", is_flag=True, help="Say how the ranking came about.")
@timed
@filtered
@click.pass_obj
def search(invocation: Invocation, /, query: str, *, documents: bool, **options: Any) -> None:
    """Find events by words, by meaning and by time."""
    if documents:
        options["targets"] = tuple(dict.fromkeys([*(options["targets"] or ("events",)), "documents"]))
    with invocation.client() as kalends:
        answer = kalends.memory(invocation.memory).search(query, **cast("SearchOptions", _asked(**options)))
    invocation.output.give(answer, lambda console: show_answer(console, answer))


@click.command(cls=Command)
@click.argument("query", required=False)
@click.option("--max-tokens", type=click.IntRange(64, 131_072), default=2000, show_default=True, help="Never more than this.")
@click.option("--recent", type=click.IntRange(0, 200), help="How many of the last events to offer too.")
@click.option("--no-calendar", is_flag=True, help="Let no lines of the calendar tell what is older than two weeks.")
@timed
@filtered
@click.pass_obj
def context(
    invocation: Invocation, /, query: str | None, *, max_tokens: int, recent: int | None, no_calendar: bool, **options: Any
) -> None:
    """Print a block to put before a model: what QUERY finds, the last events, and the calendar's lines of what is long past."""
    chosen = _asked(**options) | ({} if recent is None else {"recent": recent}) | ({"calendar": False} if no_calendar else {})
    with invocation.client() as kalends:
        answer = kalends.memory(invocation.memory).context(query, max_tokens=max_tokens, **cast("ContextOptions", chosen))

    def show(console: "Console") -> None:
        from kalends.app.output import harmless

        console.print(harmless(answer.text), markup=False)
        console.print(f"[dim]{answer.tokens} tokens{', truncated' if answer.truncated else ''}[/dim]")
        show_time_filter(console, answer.time_filter)

    invocation.output.give(answer, show)


@click.command(cls=Command)
@click.option("--from", "since", type=Moment(), help="Not before this time or date (UTC).")
@click.option("--to", "until", type=Moment(), help="Before this time or date (UTC).")
@click.option("--session", "session_id", help="Only of this session.")
@click.option("--kind", help="Only of this kind.")
@click.option("--actor", help="Only by this actor.")
@click.option("--role", help="Only in this role.")
@click.option("--order", type=click.Choice(["asc", "desc"]), help="By the time it happened; asc by default.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="Events of a page.")
@click.option("--cursor", help="Where a list goes on: next_cursor of the page before.")
@click.option("--all", "every", is_flag=True, help="All pages; JSON is then one object per line.")
@click.pass_obj
def events(invocation: Invocation, /, *, cursor: str | None, every: bool, **options: Any) -> None:
    """List events as they happened."""
    chosen = cast("ListOptions", _given(**options))
    output = invocation.output
    with invocation.client() as kalends:
        memory = kalends.memory(invocation.memory)
        if every:
            chosen["limit"] = 200
            output.give_each(memory.events(**chosen), show_event)
            return
        page = memory.events_page(cursor=cursor, **chosen)
    output.give(page, lambda console: _show_page(console, page))


@click.command(cls=Command)
@click.argument("event_id")
@click.option("--before", type=click.IntRange(0, 100), default=0, help="Also so many before it in its session.")
@click.option("--after", type=click.IntRange(0, 100), default=0, help="Also so many after it in its session.")
@click.pass_obj
def event(invocation: Invocation, event_id: str, *, before: int, after: int) -> None:
    """Show one event, and what was said around it."""
    with invocation.client() as kalends:
        found = kalends.memory(invocation.memory).event(event_id, before=before, after=after)

    def show(console: "Console") -> None:
        for one in found.before:
            show_event(console, one)
        show_event(console, found, strong=bool(found.before or found.after))
        for one in found.after:
            show_event(console, one)

    invocation.output.give(found, show)


@click.command(cls=Command)
@click.argument("session_id", required=False)
@click.pass_obj
def sessions(invocation: Invocation, session_id: str | None) -> None:
    """List sessions, the last active first; or show one."""
    output = invocation.output
    with invocation.client() as kalends:
        memory = kalends.memory(invocation.memory)
        found = list(memory.sessions()) if session_id is None else [memory.session(session_id)]
    value: Any = {"items": found} if session_id is None else found[0]
    rows = ((one.session_id, one.events, shown(one.first_at), shown(one.last_at)) for one in found)
    output.give(value, lambda _: output.table(["session", ">events", "first (UTC)", "last (UTC)"], rows))


def show_answer(console: "Console", answer: "SearchAnswer") -> None:
    """Hits for people, best first, and what was missing."""
    show_hits(console, answer.hits)
    remarks = [f"arms: {', '.join(answer.arms) or 'none'}", f"{answer.took_ms.get('total', 0):.0f} ms"]
    if answer.stale:
        remarks.append("stale")
    behind = {name: lag.events for name, lag in answer.lag.items() if lag.events}
    remarks += [f"{name} is {count} events behind" for name, count in behind.items()]
    console.print(f"{len(answer.hits)} {'hit' if len(answer.hits) == 1 else 'hits'}; {'; '.join(remarks)}", style="dim", markup=False)
    show_time_filter(console, answer.time_filter)
    if answer.degraded:
        console.print(f"degraded: without {', '.join(answer.degraded)}", style="yellow", markup=False)
    if answer.explain:
        console.print_json(data=answer.explain)


def show_time_filter(console: "Console", found: "TimeFilter | None") -> None:
    """What a time phrase did, in one line; nothing if there was none."""
    if found is None:
        return
    from kalends.app.output import harmless

    did = {"filter": "nothing else was searched", "boost": "ranked higher"}.get(found.mode, found.mode)
    did = did if found.applied else "nothing was found there"
    bounds = [f"{word} {shown(moment)}" for word, moment in (("from", found.since), ("to", found.until)) if moment is not None]
    line = f"time: '{harmless(found.phrase)}' is {' '.join(bounds)} (UTC): {did}"
    console.print(line, style="dim", markup=False, soft_wrap=True)


def show_hits(console: "Console", hits: Iterable["Hit"]) -> None:
    """Hits for people, each with its evidence's id."""
    from rich.padding import Padding
    from rich.text import Text

    from kalends.app.output import harmless

    for number, hit in enumerate(hits, start=1):
        who, where = harmless(hit.actor or hit.role or hit.speaker or hit.level), harmless(hit.session_id)
        head = Text.assemble((f"{number:>3}  ", "bold"), (shown(hit.occurred_at), "cyan"), "  ", (who, "green"), (f"  {where}", "dim"))
        console.print(head, Text(f"  {hit.score:.3f}  {hit.id}", style="dim"), sep="", soft_wrap=True)
        console.print(Padding(Text(harmless(hit.text)), (0, 0, 0, 5)))


def show_event(console: "Console", one: "Event", *, strong: bool = False) -> None:
    """An event for people."""
    from rich.padding import Padding
    from rich.text import Text

    from kalends.app.output import harmless

    mark = "▶ " if strong else "  "
    head = Text.assemble(
        mark, (shown(one.occurred_at), "cyan"), "  ", (harmless(one.actor or one.role), "green"), f"  {harmless(one.kind)}"
    )
    console.print(head, Text(f"  {harmless(one.session_id)}  {one.event_id}", style="dim"), sep="", soft_wrap=True)
    console.print(Padding(Text(harmless(one.text), style="bold" if strong else ""), (0, 0, 0, 4)))


def _show_page(console: "Console", page: "Page[Event]") -> None:
    for one in page.items:
        show_event(console, one)
    if page.next_cursor:
        console.print(f"more: --cursor {page.next_cursor}", style="dim", markup=False, soft_wrap=True)
