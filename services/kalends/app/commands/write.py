"""Commands that write: add, ingest.

Belongs here: storing what was handed over, and telling what became of it. Does not belong here: reading files (``intake``). A newcomer
would get wrong: one bad line is told with its number and the good ones are stored all the same; the exit code says that there was one.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

import click
import msgspec

from kalends.app import intake
from kalends.app.intake import Line, Source
from kalends.app.invocation import STUBBORN_S, Command, Invocation, scalars
from kalends.app.moments import Moment
from kalends.domain.errors import Forbidden, Invalid, KalendsError, Malformed, NotFound, TooLarge
from kalends.domain.events import KINDS, ROLES

if TYPE_CHECKING:
    from rich.console import Console

    from kalends.app.output import Output
    from kalends.client import AppendReceipt, Memory

LINES_OF_A_BATCH = 500
TOLD = 100
"""Rejected lines that are told one by one; the others are counted."""


@click.command(cls=Command)
@click.argument("text")
@click.option("--kind", type=click.Choice(KINDS), default="note", show_default=True, metavar="KIND")
@click.option("--role", type=click.Choice(ROLES), default="user", show_default=True)
@click.option("--actor", help="Who said or did it.")
@click.option("--session", "session_id", default="cli", show_default=True, help="Conversation or run it belongs to.")
@click.option("--at", "occurred_at", type=Moment(), help="When it happened; now if absent.")
@click.option("--meta", multiple=True, metavar="KEY=VALUE", help="Metadata; may be repeated.")
@click.option("--label", "labels", multiple=True, help="Only credentials that have it may see this; may be repeated: any of them.")
@click.pass_obj
def add(
    invocation: Invocation,
    text: str,
    *,
    kind: str,
    role: str,
    actor: str | None,
    session_id: str,
    occurred_at: datetime | None,
    meta: Sequence[str],
    labels: tuple[str, ...],
) -> None:
    """Remember TEXT ('-' reads it from standard input)."""
    from kalends.client import NewEvent

    if text == "-":
        text = sys.stdin.read()
    metadata: dict[str, Any] = dict(scalars(meta))
    event = NewEvent(
        text=text, kind=kind, role=role, actor=actor, session_id=session_id, occurred_at=occurred_at, metadata=metadata, labels=labels
    )
    with invocation.client() as kalends:
        receipt = append(kalends.memory(invocation.memory), [msgspec.to_builtins(event, builtin_types=(datetime,))])
    rejected = receipt.results[0].error
    if rejected is not None:
        raise Invalid(f"{rejected.pointer.removeprefix('/events/0') or '/'}: {rejected.detail}")
    result = {"event_id": receipt.results[0].event_id, "status": receipt.results[0].status, "visibility": receipt.visibility}
    invocation.output.give(result, lambda console: console.print(f"remembered as {receipt.results[0].event_id}"))


def append(memory: "Memory", events: Sequence[dict[str, Any]]) -> "AppendReceipt":
    """Append, and make the memory first if there is none of that name and the token may."""
    try:
        return memory.append(events, raise_on_rejected=False)
    except NotFound as missing:
        create(memory, missing)
    return memory.append(events, raise_on_rejected=False)


def create(memory: "Memory", missing: NotFound) -> None:
    """Make a memory that was found missing.

    Raises:
        NotFound: the token may not make it.
    """
    try:
        memory.create()
    except Forbidden:
        raise NotFound(f"{missing.detail}; this token may not create it (`kalends memory create` with an admin token)") from missing


class Rejected(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that was not stored, and why."""

    source: str
    line: int | None = None
    event_id: str | None = None
    reason: str


@dataclass(slots=True)
class Tally:
    """What became of what was handed over."""

    events: dict[str, int] = field(default_factory=lambda: {"new": 0, "duplicate": 0, "rejected": 0})
    documents: dict[str, int] = field(default_factory=lambda: {"new": 0, "unchanged": 0, "replaced": 0, "rejected": 0})
    rejected: list[Rejected] = field(default_factory=list)
    visibility: str = ""

    def reject(self, one: Rejected, *, of: dict[str, int]) -> None:
        """Count, and keep for telling if there is room."""
        of["rejected"] += 1
        if len(self.rejected) < TOLD:
            self.rejected.append(one)


@click.command(cls=Command)
@click.argument("paths", nargs=-1, required=True, metavar="FILE|FOLDER|-...")
@click.option("--label", "labels", multiple=True, help="Of documents: only credentials that have it may see them; may be repeated.")
@click.pass_obj
def ingest(invocation: Invocation, paths: Sequence[str], *, labels: tuple[str, ...]) -> int:
    """Store JSONL files of events, or Markdown and text files and folders as documents.

    '-' reads JSONL from standard input. Each line is one event: {"text", "session_id", "kind", "role"?, "actor"?, "occurred_at"?, ...}.
    """
    found = intake.sources(paths)
    output, tally = invocation.output, Tally()
    with invocation.client(retry_s=STUBBORN_S) as kalends:
        memory = kalends.memory(invocation.memory)
        documents = [source for source in found if source.document_id is not None]
        for source in found:
            if source.document_id is None:
                _take_events(memory, source, tally, output)
        _take_documents(memory, documents, tally, output, labels=labels)
    result = {"events": tally.events, "documents": tally.documents, "rejected": tally.rejected, "visibility": tally.visibility}
    output.give(result, lambda console: _show(console, tally, sources=len(found)))
    return 1 if tally.events["rejected"] or tally.documents["rejected"] else 0


def _take_events(memory: "Memory", source: Source, tally: Tally, output: "Output") -> None:
    size = source.path.stat().st_size if source.path else None
    last = 0
    with _opened(source) as stream, output.progress(f"events of {source.name}", total=size) as advance:
        try:
            for batch in batches(intake.lines(stream)):
                store_lines(memory, batch, tally, source=source.name)
                last = batch[-1].number
                advance(batch[-1].end, size)
        except KalendsError as error:
            error.detail = f"{source.name}: stopped after line {last}: {error.detail}"
            raise


def _opened(source: Source) -> BinaryIO:
    if source.path is None:
        return sys.stdin.buffer
    try:
        return source.path.open("rb")
    except OSError as error:
        raise Malformed(f"{source.path} cannot be read: {error.strerror}") from error


def batches(lines: Iterator[Line]) -> Iterator[list[Line]]:
    """Lines in runs that are appended together."""
    while batch := list(islice(lines, LINES_OF_A_BATCH)):
        yield batch


def store_lines(memory: "Memory", batch: Sequence[Line], tally: Tally, *, source: str) -> None:
    """Append the events of *batch* and count what became of each of its lines."""
    for line in batch:
        if line.event is None:
            tally.reject(Rejected(source=source, line=line.number, reason=line.reason), of=tally.events)
    good = [(line, line.event) for line in batch if line.event is not None]
    if not good:
        return
    receipt = append(memory, [event for _, event in good])
    for (line, _), result in zip(good, receipt.results, strict=True):
        if result.error is None:
            tally.events[result.status] = tally.events.get(result.status, 0) + 1
            continue
        where = result.error.pointer.split("/", 3)[3:]
        reason = f"{'/' + where[0] + ': ' if where else ''}{result.error.detail}"
        tally.reject(Rejected(source=source, line=line.number, event_id=result.event_id, reason=reason), of=tally.events)
    tally.visibility = receipt.visibility or tally.visibility


def _take_documents(memory: "Memory", documents: Sequence[Source], tally: Tally, output: "Output", *, labels: Sequence[str]) -> None:
    if not documents:
        return
    with output.progress("documents", total=len(documents)) as advance:
        for number, source in enumerate(documents, start=1):
            store_document(memory, source, tally, labels=labels)
            advance(number, len(documents))


def store_document(memory: "Memory", source: Source, tally: Tally, *, labels: Sequence[str] = ()) -> None:
    """Keep one document and count what became of it."""
    name = source.document_id or source.name
    path = source.path
    suffix = path.suffix.lower() if path else ""

    def put(text: str) -> None:
        title = intake.title_of(text, fallback=name)
        media_type = intake.DOCUMENT_TYPES.get(suffix, "text/plain")
        kept = memory.put_document(name, text, title=title, source=name, media_type=media_type, labels=labels)
        tally.documents[kept.status or "new"] += 1
        tally.visibility = kept.visibility or tally.visibility

    try:
        text = intake.document_text(source)
        try:
            put(text)
        except NotFound as missing:
            create(memory, missing)
            put(text)
    except (Malformed, Invalid, TooLarge) as error:
        tally.reject(Rejected(source=source.name, reason=error.detail), of=tally.documents)


def _show(console: "Console", tally: Tally, *, sources: int) -> None:
    from kalends.app.output import harmless

    for one in tally.rejected:
        place = one.source if one.line is None else f"{one.source}:{one.line}"
        console.print(f"{harmless(place)}: {harmless(one.reason)}", style="red", markup=False, soft_wrap=True)
    told = len(tally.rejected)
    hidden = tally.events["rejected"] + tally.documents["rejected"] - told
    if hidden > 0:
        console.print(f"and {hidden} more", style="red")
    for what, counts in (("events", tally.events), ("documents", tally.documents)):
        if any(counts.values()):
            console.print(f"{what}: " + ", ".join(f"{count:,} {status}" for status, count in counts.items() if count))
    if not any(tally.events.values()) and not any(tally.documents.values()):
        console.print(f"nothing to store in {sources} {'source' if sources == 1 else 'sources'}")
