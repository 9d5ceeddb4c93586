"""The formats by name, and reading a file of one.

Belongs here: the table. Does not belong here: finding files, or sending what was read (``app``). A newcomer would get wrong: a plain line
of JSON is an event as the API takes it; without an id its content makes one, and a line that stands there twice is two events.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from kalends.domain.events import digest_id
from kalends.foreign import chats, elements, stores, transcripts
from kalends.foreign.drafts import Bad, Draft, Record, WrongRecord, as_json, events_of

Reader = Callable[[Record], Iterator[Draft]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How files of one program are read: *reader* is made for a file of a name; ``pattern`` finds such files in a folder."""

    title: str
    pattern: str
    reader: Callable[[str], Reader]
    member: str = ""
    """The file that is read of a zip archive."""


def _always(reader: Reader) -> Callable[[str], Reader]:
    return lambda _name: reader


FORMATS = {
    "agent-memory": Format(
        title="agent-memory: exported events, or GetEvents as JSON", pattern="*.json*", reader=_always(stores.agent_memory)
    ),
    "chatgpt": Format(
        title="ChatGPT: conversations.json, or the archive that it came in",
        pattern="conversations*.json",
        reader=_always(chats.chatgpt),
        member="conversations.json",
    ),
    "claude": Format(
        title="Claude: conversations.json, or the archive that it came in",
        pattern="conversations*.json",
        reader=_always(chats.claude),
        member="conversations.json",
    ),
    "claude-code": Format(
        title="Claude Code: transcripts below ~/.claude/projects", pattern="*.jsonl", reader=_always(transcripts.claude_code)
    ),
    "codex": Format(title="Codex: rollouts below ~/.codex/sessions", pattern="rollout-*.jsonl", reader=transcripts.codex),
    "langgraph": Format(title="LangGraph: items of a store", pattern="*.json*", reader=_always(stores.langgraph)),
    "mem0": Format(title="Mem0: get_all, or an export", pattern="*.json*", reader=_always(stores.mem0)),
    "zep": Format(title="Zep: messages, episodes, facts", pattern="*.json*", reader=_always(stores.zep)),
}

EVENT_FIELDS = frozenset(
    {
        *("event_id", "session_id", "kind", "role", "text", "actor", "occurred_at", "expires_at"),
        *("metadata", "channel", "thread_id", "priority", "trust", "labels"),
    }
)
"""What a line of plain JSONL may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One event to append, and the line of the record that it stood in."""

    line: int
    event: dict[str, Any]


def read(stream: BinaryIO, source: str, *, name: str) -> Iterator[Found | Bad]:
    """What the file *name* of the program *source* holds; ``jsonl`` is plain lines of events."""
    if source == "jsonl":
        yield from _plain(stream)
        return
    reader = FORMATS[source].reader(name)
    first = stream.readline(elements.RECORD_BYTES)
    stream.seek(0)
    for record in elements.lines(stream) if elements.by_lines(first) else elements.objects(stream):
        if isinstance(record, Bad):
            yield record
            continue
        try:
            drafts = list(reader(record))
        except WrongRecord as error:
            yield Bad(line=record.line, reason=str(error))
            continue
        for draft in drafts:
            for event in events_of(draft, source=source):
                yield Found(line=record.line, event=event)


def _plain(stream: BinaryIO) -> Iterator[Found | Bad]:
    seen: Counter[str] = Counter()
    for record in elements.lines(stream):
        if isinstance(record, Bad):
            yield record
            continue
        event = dict(record.value)
        unknown = sorted(event.keys() - EVENT_FIELDS)
        missing = sorted({"session_id", "kind", "text"} - event.keys())
        if unknown or missing:
            yield Bad(line=record.line, reason=f"has no {missing[0]}" if missing else f"has a field that no event has: {unknown[0]}")
            continue
        if event.get("event_id") is None:
            content = as_json(event)
            seen[content] += 1
            event["event_id"] = digest_id("import", "jsonl", content, str(seen[content]))
        yield Found(line=record.line, event=event)
