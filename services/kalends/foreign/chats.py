"""Exports of chats: ChatGPT's and Claude's ``conversations.json``.

A newcomer would get wrong: ChatGPT keeps a tree, in which an answer that was asked for again is a branch of its own. Every branch comes in,
in the order in which it is shown; what is not on the way to the last message is marked ``branch``.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from kalends.domain.events import Scalar
from kalends.foreign.drafts import Draft, Record, as_json, list_of, mapping_of, maybe, scalars, text_of, when

_KINDS = {"user": "user_message", "assistant": "assistant_message", "tool": "tool_result"}
_SPOKEN = frozenset({"text", "multimodal_text"})


def chatgpt(record: Record) -> Iterator[Draft]:
    """The messages of one conversation of ChatGPT."""
    conversation = record.value
    name = text_of(maybe(conversation.get("conversation_id")) or conversation.get("id"), "conversation_id")
    nodes = mapping_of(conversation.get("mapping"), "mapping")
    shown = _way(nodes, maybe(conversation.get("current_node")))
    begun = when(conversation.get("create_time"))
    for node_id, times in _walk(nodes, begun):
        message = nodes[node_id].get("message")
        if not isinstance(message, Mapping) or _is_hidden(message):
            continue
        author = message.get("author")
        author = author if isinstance(author, Mapping) else {}
        role = str(author.get("role") or "user")
        content = message.get("content")
        text = _chatgpt_text(content if isinstance(content, Mapping) else {})
        if not text:
            continue
        called = role == "assistant" and message.get("recipient") not in (None, "all")
        metadata: dict[str, Scalar] = {"title": maybe(conversation.get("title")), "model": _model(message)}
        if shown and node_id not in shown:
            metadata["branch"] = "other"
        yield Draft(
            line=record.line,
            native=(name, str(message.get("id") or node_id)),
            session_id=f"chatgpt:{name}",
            text=text,
            kind="tool_call" if called else _KINDS.get(role, "message"),
            role=role,
            actor=maybe(author.get("name")),
            occurred_at=times,
            metadata=metadata,
        )


def _walk(nodes: Mapping[str, Any], begun: datetime | None) -> Iterator[tuple[str, datetime | None]]:
    """Every node, each branch after the other, with its time or that of the one before it."""
    roots = [name for name, node in nodes.items() if mapping_of(node, "node").get("parent") not in nodes]
    left = [(name, begun) for name in reversed(roots)]
    seen: set[str] = set()
    while left:
        name, before = left.pop()
        if name in seen or name not in nodes:
            continue
        seen.add(name)
        message = nodes[name].get("message")
        at = (when(message.get("create_time")) if isinstance(message, Mapping) else None) or before
        yield name, at
        left += [(str(child), at) for child in reversed(nodes[name].get("children") or [])]


def _way(nodes: Mapping[str, Any], last: str | None) -> set[str]:
    found: set[str] = set()
    while last is not None and last in nodes and last not in found:
        found.add(last)
        last = maybe(nodes[last].get("parent"))
    return found


def _is_hidden(message: Mapping[str, Any]) -> bool:
    metadata = message.get("metadata")
    return isinstance(metadata, Mapping) and bool(metadata.get("is_visually_hidden_from_conversation"))


def _model(message: Mapping[str, Any]) -> str | None:
    metadata = message.get("metadata")
    return maybe(metadata.get("model_slug")) if isinstance(metadata, Mapping) else None


def _chatgpt_text(content: Mapping[str, Any]) -> str:
    """What was said, without pictures; what the model thought to itself is no part of it."""
    kind = content.get("content_type")
    if kind in ("thoughts", "reasoning_recap", "user_editable_context", "model_editable_context"):
        return ""
    if kind in _SPOKEN or kind is None:
        parts = [_part(one) for one in content.get("parts") or []]
        return "\n\n".join(part for part in parts if part)
    return maybe(content.get("text")) or maybe(content.get("result")) or ""


def _part(part: object) -> str:
    if isinstance(part, str):
        return part
    return maybe(part.get("text")) or "" if isinstance(part, Mapping) else ""


def claude(record: Record) -> Iterator[Draft]:
    """The messages of one conversation of Claude."""
    conversation = record.value
    name = text_of(conversation.get("uuid"), "uuid")
    begun = when(conversation.get("created_at"))
    for number, message in enumerate(list_of(conversation.get("chat_messages"), "chat_messages")):
        message = mapping_of(message, "message")  # noqa: PLW2901 - the same, checked
        told = text_of(message.get("sender"), "sender")
        role = "user" if told == "human" else told
        at = when(message.get("created_at")) or begun
        native = (name, maybe(message.get("uuid")) or str(number))
        title: dict[str, Scalar] = {"title": maybe(conversation.get("name"))}
        found = [*_blocks(message, role), *_files(message, role)]
        for place, (kind, speaker, text, more) in enumerate(found):
            yield Draft(
                line=record.line,
                native=(*native, str(place)),
                session_id=f"claude:{name}",
                text=text,
                kind=kind,
                role=speaker,
                occurred_at=at,
                metadata={**title, **more},
            )


def _files(message: Mapping[str, Any], role: str) -> Iterator[tuple[str, str, str, dict[str, Scalar]]]:
    """What stood in the files that came with a message."""
    for file in message.get("attachments") or []:
        text = maybe(file.get("extracted_content")) if isinstance(file, Mapping) else None
        if text:
            yield "observation", role, text, {"file": maybe(file.get("file_name"))}


def _blocks(message: Mapping[str, Any], role: str) -> Iterator[tuple[str, str, str, dict[str, Scalar]]]:
    """What a message holds, as kind, role, text and metadata; texts that follow each other are one."""
    blocks = message.get("content")
    if not isinstance(blocks, list) or not blocks:
        text = maybe(message.get("text"))
        if text:
            yield _KINDS.get(role, "message"), role, text, {}
        return
    yield from blocks_of(blocks, role)


def blocks_of(blocks: list[Any], role: str) -> Iterator[tuple[str, str, str, dict[str, Scalar]]]:
    """Anthropic's content blocks as kind, role, text and metadata; thoughts and pictures are left out."""
    spoken: list[str] = []
    for block in blocks:
        kind = block.get("type") if isinstance(block, Mapping) else "text"
        text = block.get("text") if isinstance(block, Mapping) else block
        if kind == "text" and maybe(text):
            spoken.append(str(text))
            continue
        if kind not in ("tool_use", "tool_result"):
            continue
        if spoken:
            yield _KINDS.get(role, "message"), role, "\n\n".join(spoken), {}
            spoken = []
        if kind == "tool_use":
            called = maybe(block.get("name")) or "tool"
            yield "tool_call", role, f"{called} {as_json(block.get('input'))}", {"tool": called}
        elif result := _result(block.get("content")):
            yield "tool_result", "tool", result, scalars({"error": block.get("is_error")} if block.get("is_error") else {})
    if spoken:
        yield _KINDS.get(role, "message"), role, "\n\n".join(spoken), {}


def _result(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n\n".join(str(one["text"]) for one in content if isinstance(one, Mapping) and maybe(one.get("text")))
    return ""
