"""Dumps of other memories: agent-memory, Mem0, Zep, and stores of LangGraph.

A newcomer would get wrong: these keep what was concluded and not only what was said. A memory, a fact, an item comes in as an observation;
one that was changed since the last import has another text, and so is another event.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from kalends.domain.errors import Invalid
from kalends.domain.events import Scalar, canonical_id
from kalends.foreign.drafts import Draft, Record, WrongRecord, as_json, list_of, mapping_of, maybe, scalars, text_of, when

_ROLES = {"human": "user", "ai": "assistant", "norole": "user", "function": "tool"}
_TEXTS = ("text", "content", "memory", "data", "value")


def agent_memory(record: Record) -> Iterator[Draft]:
    """An event of agent-memory: a line of an export, or the answer of GetEvents as JSON. Its calendar is not taken; ours is made anew."""
    value = record.value
    found = value.get("events") if isinstance(value.get("events"), list) else [value.get("event") or value]
    for one in list_of(found, "events"):
        event = mapping_of(one, "event")
        kind = event.get("event_type", event.get("eventType"))
        if kind is None and "event_id" not in event and "eventId" not in event:
            continue  # a node, a grip, an episode or the manifest
        at = when(event.get("timestamp_ms", event.get("timestampMs", event.get("timestamp"))), unit="ms")
        event_id = text_of(event.get("event_id", event.get("eventId")), "event_id")
        yield Draft(
            line=record.line,
            native=(event_id,),
            event_id=_valid(event_id),
            session_id=text_of(event.get("session_id", event.get("sessionId")), "session_id"),
            text=maybe(event.get("text")) or "",
            kind=_word(kind, "EVENT_TYPE_") or "user_message",
            role=_word(event.get("role"), "EVENT_ROLE_") or "user",
            actor=maybe(event.get("agent")),
            occurred_at=at,
            metadata=scalars(event.get("metadata")),
        )


def _word(value: object, prefix: str) -> str:
    """A name of an enumeration, as protobuf or as Rust spells it."""
    return "" if value is None else str(value).removeprefix(prefix).lower().replace("unspecified", "")


def _valid(event_id: str) -> str | None:
    try:
        return canonical_id(event_id)
    except Invalid:
        return None


def mem0(record: Record) -> Iterator[Draft]:
    """Memories of Mem0: an object of ``get_all`` or of an export with ``results`` or ``memories``, or one memory."""
    value = record.value
    found = next((value[name] for name in ("results", "memories") if isinstance(value.get(name), list)), [value])
    for one in found:
        memory = mapping_of(one, "memory")
        text = text_of(maybe(memory.get("memory")) or memory.get("text"), "memory")
        owner = next((str(memory[name]) for name in ("user_id", "agent_id", "app_id") if memory.get(name)), "")
        categories = memory.get("categories")
        named: dict[str, Scalar] = {name: maybe(memory.get(name)) for name in ("user_id", "agent_id", "app_id", "run_id", "updated_at")}
        if isinstance(categories, list) and categories:
            named["categories"] = ", ".join(str(category) for category in categories)
        yield Draft(
            line=record.line,
            native=(text_of(memory.get("id"), "id"), _mark(text)),
            session_id=maybe(memory.get("run_id")) or f"mem0:{owner or 'memories'}",
            text=text,
            kind="observation",
            role=maybe(memory.get("role")) or "user",
            actor=maybe(memory.get("actor_id")) or owner or None,
            occurred_at=when(memory.get("created_at")),
            metadata={**scalars(memory.get("metadata")), **named},
        )


def _mark(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def zep(record: Record) -> Iterator[Draft]:
    """Zep: a session or thread with ``messages``, a list of ``episodes``, ``facts`` or ``edges``, or one of these by itself."""
    value = record.value
    session = next((str(value[name]) for name in ("session_id", "thread_id") if value.get(name)), "")
    lists = [name for name in ("messages", "episodes", "facts", "edges") if isinstance(value.get(name), list)]
    if not lists:
        yield _zep(record.line, value, session or "zep")
    if lists and not session:
        session = next((str(value[name]) for name in ("uuid", "id", "user_id") if value.get(name)), "zep")
    for name in lists:
        for one in value[name]:
            # of old, facts were plain texts
            yield _zep(record.line, {"fact": one} if isinstance(one, str) else mapping_of(one, "message or fact"), session)


def _zep(line: int, value: Mapping[str, Any], session: str) -> Draft:
    native = maybe(value.get("uuid")) or maybe(value.get("uuid_")) or ""
    own = next((str(value[name]) for name in ("session_id", "thread_id") if value.get(name)), session)
    fact = maybe(value.get("fact"))
    if fact is not None:
        told: dict[str, Scalar] = {name: maybe(value.get(name)) for name in ("valid_at", "invalid_at", "expired_at", "name")}
        at = when(value.get("valid_at")) or when(value.get("created_at"))
        return Draft(
            line=line,
            native=(native, _mark(fact)),
            session_id=own,
            text=fact,
            kind="observation",
            role="system",
            occurred_at=at,
            metadata=told,
        )
    typed = maybe(value.get("role_type"))
    role = _role(typed or maybe(value.get("role")) or "user")
    text = text_of(value.get("content"), "content, nor fact")
    return Draft(
        line=line,
        native=(own, native or f"{value.get('created_at')} {_mark(text)}"),
        session_id=own,
        text=text,
        kind={"user": "user_message", "assistant": "assistant_message", "tool": "tool_result"}.get(role, "message"),
        role=role,
        actor=maybe(value.get("role")) if typed else maybe(value.get("name")),
        occurred_at=when(value.get("created_at")),
        metadata=scalars(value.get("metadata")),
    )


def _role(told: str) -> str:
    return _ROLES.get(told, told)


def langgraph(record: Record) -> Iterator[Draft]:
    """Items of a LangGraph store: the answer of a search with ``items``, or one item with namespace, key and value."""
    value = record.value
    for one in value["items"] if isinstance(value.get("items"), list) else [value]:
        item = mapping_of(one, "item")
        told = item.get("namespace", item.get("prefix"))
        namespace = "/".join(str(part) for part in told) if isinstance(told, list) else str(told or "").replace(".", "/")
        if "value" not in item or "key" not in item:
            raise WrongRecord("has no key and value")
        text = _value_text(item["value"])
        key = str(item["key"])
        yield Draft(
            line=record.line,
            native=(namespace, key, _mark(text)),
            session_id=f"langgraph:{namespace}",
            text=text,
            kind="observation",
            role="system",
            occurred_at=when(item.get("created_at")) or when(item.get("updated_at")),
            metadata={"namespace": namespace, "key": key, "updated_at": maybe(item.get("updated_at"))},
        )


def _value_text(value: object) -> str:
    """The text of a value that is little else; of any other all of it, as JSON."""
    if isinstance(value, str) and value:
        return value
    if isinstance(value, Mapping) and len(value) == 1:
        ((name, only),) = value.items()
        if name in _TEXTS and isinstance(only, str) and only:
            return only
    return as_json(value)
