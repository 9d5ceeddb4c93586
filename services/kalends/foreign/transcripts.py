"""Transcripts of coding agents: Claude Code's ``projects/*/*.jsonl`` and Codex's ``rollout-*.jsonl``.

A newcomer would get wrong: what a tool answered comes in a line of the user's; and Codex names its session in the first line only, so its
reader remembers something.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from kalends.domain.events import Scalar
from kalends.foreign.chats import blocks_of
from kalends.foreign.drafts import Draft, Record, WrongRecord, as_json, mapping_of, maybe, text_of, when

_SPOKEN = {"user": "user_message", "assistant": "assistant_message"}
_PREPARED = ("<environment_context>", "<user_instructions>", "<permissions instructions>")
"""How messages begin that Codex writes in the user's name."""


def claude_code(record: Record) -> Iterator[Draft]:
    """What one line of Claude Code holds; summaries, settings and what it says to itself hold nothing."""
    line = record.value
    if line.get("type") not in _SPOKEN or line.get("isMeta"):
        return
    role = str(line["type"])
    message = mapping_of(line.get("message"), "message")
    content = message.get("content")
    found = [(_SPOKEN[role], role, content, {})] if isinstance(content, str) else blocks_of(content or [], role)
    metadata = {"cwd": maybe(line.get("cwd")), "git_branch": maybe(line.get("gitBranch")), "model": maybe(message.get("model"))}
    for number, (kind, speaker, text, more) in enumerate(found):
        if text:
            yield Draft(
                line=record.line,
                native=(text_of(line.get("uuid"), "uuid"), str(number)),
                session_id=text_of(line.get("sessionId"), "sessionId"),
                text=text,
                kind=kind,
                role=speaker,
                occurred_at=when(line.get("timestamp")),
                thread_id=maybe(line.get("agentId")) if line.get("isSidechain") else None,
                metadata={**metadata, **more},
            )


def codex(name: str) -> Callable[[Record], Iterator[Draft]]:
    """A reader of the rollout in the file *name*, line after line."""
    session, begun = name, None

    def read(record: Record) -> Iterator[Draft]:
        nonlocal session, begun
        line = record.value
        payload = line.get("payload") if "payload" in line else line
        payload = mapping_of(payload, "payload")
        at = when(line.get("timestamp"))
        if line.get("type") == "session_meta" or (record.line == 1 and "type" not in line):
            session, begun = text_of(payload.get("id"), "id of the session"), at or when(payload.get("timestamp"))
        elif line.get("type") == "response_item" or "payload" not in line:
            yield from _item(record.line, payload, session, at or begun)

    return read


def _item(line: int, item: Mapping[str, Any], session: str, at: datetime | None) -> Iterator[Draft]:
    kind, role, text, metadata = _said(item)
    if text:
        yield Draft(
            line=line, native=(session, str(line)), session_id=session, text=text, kind=kind, role=role, occurred_at=at, metadata=metadata
        )


def _said(item: Mapping[str, Any]) -> tuple[str, str, str, dict[str, Scalar]]:
    """Kind, role, text and metadata of an item; without text if there is nothing to keep."""
    match item.get("type"):
        case "message":
            return _message(item)
        case "function_call" | "custom_tool_call":
            called = text_of(item.get("name"), "name of a tool")
            given = item.get("arguments", item.get("input"))
            return "tool_call", "assistant", f"{called} {given if isinstance(given, str) else as_json(given)}", {"tool": called}
        case "local_shell_call":
            return "tool_call", "assistant", f"shell {as_json(item.get('action'))}", {"tool": "shell"}
        case "function_call_output" | "custom_tool_call_output":
            told = item.get("output")
            if isinstance(told, Mapping):
                told = told.get("content")
            return "tool_result", "tool", told if isinstance(told, str) else as_json(told) if told else "", {}
        case _:
            return "message", "assistant", "", {}


def _message(item: Mapping[str, Any]) -> tuple[str, str, str, dict[str, Scalar]]:
    content = item.get("content")
    if isinstance(content, str):
        text = content
    elif isinstance(content, list):
        text = "\n\n".join(str(one["text"]) for one in content if isinstance(one, Mapping) and maybe(one.get("text")))
    else:
        raise WrongRecord("has no content")
    role = text_of(item.get("role"), "role")
    if role == "developer" or text.startswith(_PREPARED):
        role = "system"
    return _SPOKEN.get(role, "message"), role, text, {}
