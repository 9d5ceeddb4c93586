"""Files of other programs, each made here in the program's format: what they hold as events, with times, roles and ids.

Belongs here: every format once as its program writes it, and what is wrong with lines of it. Does not belong here: sending
(``tests/platform/test_transfers``). A newcomer would get wrong: texts and names here are made up; only the shapes are the programs'.
"""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalends.domain.events import Event, EventId, Facets, Limits, canonical_id, check_event
from kalends.foreign import FORMATS, read
from kalends.foreign.drafts import TEXT_BYTES, Bad, WrongRecord, when
from kalends.foreign.formats import Found

ULID = "01HN4QXKN6YWXVKZ3JMHP4BCDE"


def file_of(records: Sequence[Any], *, lines: bool) -> bytes:
    """Records as a file: one on each line, or as an array that is broken into lines."""
    if lines:
        return b"".join(json.dumps(one).encode() + b"\n" for one in records)
    return json.dumps(list(records), indent=2, ensure_ascii=False).encode()


def found_in(source: str, content: bytes, *, name: str = "file") -> list[dict[str, Any]]:
    """The events of a file in which nothing is wrong."""
    found = list(read(io.BytesIO(content), source, name=name))
    assert [one for one in found if isinstance(one, Bad)] == []
    return [one.event for one in found if isinstance(one, Found)]


def told(events: Sequence[Mapping[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    """Some fields of each event."""
    return [tuple(event.get(name) for name in names) for event in events]


def node(name: str, parent: str | None, children: Sequence[str], message: Mapping[str, Any] | None) -> dict[str, Any]:
    """A node of a conversation of ChatGPT."""
    return {"id": name, "parent": parent, "children": list(children), "message": message}


def message(name: str, role: str, parts: Sequence[Any], **more: Any) -> dict[str, Any]:
    """A message of ChatGPT."""
    return {
        "id": name,
        "author": {"role": role, "name": None, "metadata": {}},
        "create_time": None,
        "content": {"content_type": "text", "parts": list(parts)},
        "recipient": "all",
        "metadata": {},
        **more,
    }


CHATGPT = {
    "title": "Ferries",
    "create_time": 1701830514.5,
    "conversation_id": "c-1",
    "current_node": "a2",
    "mapping": {
        "root": node("root", None, ["sys"], None),
        "sys": node("sys", "root", ["u1"], message("sys", "system", [""], metadata={"is_visually_hidden_from_conversation": True})),
        "u1": node("u1", "sys", ["a1", "a2"], message("u1", "user", ["When does it leave?"], create_time=1701830515.123456)),
        "a1": node("a1", "u1", [], message("a1", "assistant", ["At nine."], create_time=1701830516)),
        "a2": node(
            "a2",
            "u1",
            ["t1"],
            message("a2", "assistant", ["At ten.", {"content_type": "image_asset_pointer"}], metadata={"model_slug": "m-1"}),
        ),
        "t1": node(
            "t1", "a2", [], message("t1", "tool", [], content={"content_type": "execution_output", "text": "42"}, create_time=1701830520.0)
        ),
    },
}


def test_a_conversation_of_chatgpt_comes_with_all_its_branches() -> None:
    """Each message once, in the order of the tree; one without a time has that of the one before it, and what is not shown is marked."""
    events = found_in("chatgpt", file_of([CHATGPT, {**CHATGPT, "conversation_id": "c-2"}], lines=False))

    assert told(events[:4], "role", "kind", "text", "occurred_at") == [
        ("user", "user_message", "When does it leave?", "2023-12-06T02:41:55.123456+00:00"),
        ("assistant", "assistant_message", "At nine.", "2023-12-06T02:41:56+00:00"),
        ("assistant", "assistant_message", "At ten.", "2023-12-06T02:41:55.123456+00:00"),
        ("tool", "tool_result", "42", "2023-12-06T02:42:00+00:00"),
    ]
    assert [one["session_id"] for one in events] == ["chatgpt:c-1"] * 4 + ["chatgpt:c-2"] * 4
    assert [one["metadata"].get("branch") for one in events[:4]] == [None, "other", None, "other"]
    assert events[2]["metadata"] == {"title": "Ferries", "model": "m-1"}


def test_a_conversation_of_claude_comes_with_tools_and_files() -> None:
    """Humans are users; a text of old that has no blocks is taken as it is."""
    conversation = {
        "uuid": "c-9",
        "name": "Tides",
        "created_at": "2025-06-01T10:00:00.000000Z",
        "chat_messages": [
            {
                "uuid": "m1",
                "sender": "human",
                "created_at": "2025-06-01T10:00:01.5Z",
                "text": "High water?",
                "content": [],
                "attachments": [{"file_name": "tides.txt", "extracted_content": "12:04 4.1 m"}],
            },
            {
                "uuid": "m2",
                "sender": "assistant",
                "created_at": "2025-06-01T12:00:02+02:00",
                "text": "",
                "content": [
                    {"type": "thinking", "thinking": "hm"},
                    {"type": "text", "text": "Let me look."},
                    {"type": "tool_use", "name": "tides", "input": {"day": 1}},
                    {"type": "tool_result", "content": [{"type": "text", "text": "12:04"}]},
                    {"type": "text", "text": "At 12:04."},
                ],
            },
        ],
    }
    events = found_in("claude", file_of([conversation], lines=False))

    assert told(events, "role", "kind", "text", "occurred_at") == [
        ("user", "user_message", "High water?", "2025-06-01T10:00:01.500000+00:00"),
        ("user", "observation", "12:04 4.1 m", "2025-06-01T10:00:01.500000+00:00"),
        ("assistant", "assistant_message", "Let me look.", "2025-06-01T10:00:02+00:00"),
        ("assistant", "tool_call", 'tides {"day":1}', "2025-06-01T10:00:02+00:00"),
        ("tool", "tool_result", "12:04", "2025-06-01T10:00:02+00:00"),
        ("assistant", "assistant_message", "At 12:04.", "2025-06-01T10:00:02+00:00"),
    ]
    assert events[1]["metadata"] == {"title": "Tides", "file": "tides.txt"}


def test_a_transcript_of_claude_code_keeps_sessions_tools_and_side_chains() -> None:
    """Summaries and what it tells itself are nothing that was said."""
    common = {"sessionId": "s-1", "cwd": "boat", "gitBranch": "main", "version": "2.0.61", "isSidechain": False}
    lines = [
        {"type": "summary", "summary": "Boats", "leafUuid": "u3"},
        {
            **common,
            "type": "user",
            "uuid": "u0",
            "timestamp": "2025-05-26T07:27:40.079Z",
            "isMeta": True,
            "message": {"role": "user", "content": "x"},
        },
        {
            **common,
            "type": "user",
            "uuid": "u1",
            "timestamp": "2025-05-26T07:27:40.079Z",
            "message": {"role": "user", "content": "List files"},
        },
        {
            **common,
            "type": "assistant",
            "uuid": "u2",
            "timestamp": "2025-05-26T07:27:42Z",
            "message": {
                "role": "assistant",
                "model": "m-2",
                "content": [
                    {"type": "text", "text": "Looking."},
                    {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}},
                ],
            },
        },
        {
            **common,
            "type": "user",
            "uuid": "u3",
            "timestamp": "2025-05-26T07:27:43Z",
            "isSidechain": True,
            "agentId": "ag-1",
            "message": {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "a.txt", "is_error": True}]},
        },
    ]
    events = found_in("claude-code", file_of(lines, lines=True))

    assert told(events, "role", "kind", "text", "occurred_at", "session_id", "thread_id") == [
        ("user", "user_message", "List files", "2025-05-26T07:27:40.079000+00:00", "s-1", None),
        ("assistant", "assistant_message", "Looking.", "2025-05-26T07:27:42+00:00", "s-1", None),
        ("assistant", "tool_call", 'Bash {"command":"ls"}', "2025-05-26T07:27:42+00:00", "s-1", None),
        ("tool", "tool_result", "a.txt", "2025-05-26T07:27:43+00:00", "s-1", "ag-1"),
    ]
    assert events[2]["metadata"] == {"cwd": "boat", "git_branch": "main", "model": "m-2", "tool": "Bash"}
    assert events[3]["metadata"]["error"] is True


def test_a_rollout_of_codex_keeps_messages_calls_and_their_output() -> None:
    """In its newer envelope and in its older form; what it writes in the user's name is the system's."""
    at = "2025-12-08T00:37:4{}.102Z"
    items: list[dict[str, Any]] = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "<environment_context>here</environment_context>"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "what is 2+2?"}]},
        {"type": "reasoning", "summary": [], "encrypted_content": "…"},
        {"type": "function_call", "name": "shell", "arguments": '{"command":["bc"]}', "call_id": "k1"},
        {"type": "function_call_output", "call_id": "k1", "output": "4"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "4"}]},
    ]
    newer = [{"timestamp": at.format(0), "type": "session_meta", "payload": {"id": "s-7", "timestamp": at.format(0)}}]
    newer += [{"timestamp": at.format(number), "type": "response_item", "payload": item} for number, item in enumerate(items, start=1)]
    newer += [{"timestamp": at.format(9), "type": "event_msg", "payload": {"type": "user_message", "message": "what is 2+2?"}}]
    older = [{"id": "s-8", "timestamp": at.format(0), "instructions": None}, *items]

    expected = [
        ("system", "message", "<environment_context>here</environment_context>"),
        ("user", "user_message", "what is 2+2?"),
        ("assistant", "tool_call", 'shell {"command":["bc"]}'),
        ("tool", "tool_result", "4"),
        ("assistant", "assistant_message", "4"),
    ]
    events = found_in("codex", file_of(newer, lines=True))
    assert told(events, "role", "kind", "text") == expected
    assert [one["occurred_at"][17:23] for one in events] == ["41.102", "42.102", "44.102", "45.102", "46.102"]
    assert {one["session_id"] for one in events} == {"s-7"}
    before = found_in("codex", file_of(older, lines=True))
    assert told(before, "role", "kind", "text") == expected
    assert {(one["session_id"], one["occurred_at"]) for one in before} == {("s-8", "2025-12-08T00:37:40.102000+00:00")}


@pytest.mark.parametrize("shape", ["results", "memories", "list", "lines"])
def test_memories_of_mem0_are_observations_of_their_owner(shape: str) -> None:
    """At the time in UTC of whatever zone they were stored in; one that was changed since is another."""
    memory = {
        "id": "892db2ae-06d9-49e5-8b3e-585ef9b85b8e",
        "memory": "Ana likes ferries",
        "hash": "1a5c",
        "metadata": {"category": "travel", "nested": {"a": 1}},
        "created_at": "2024-07-26T01:37:11.123456-07:00",
        "updated_at": None,
        "user_id": "ana",
        "categories": ["travel", "sea"],
    }
    content = {
        "results": file_of([memory], lines=False)[1:-1].join([b'{"results":[', b"]}"]),
        "memories": json.dumps({"memories": [memory]}).encode(),
        "list": file_of([memory], lines=False),
        "lines": file_of([memory], lines=True),
    }[shape]
    (event,) = found_in("mem0", content)
    (changed,) = found_in("mem0", file_of([{**memory, "memory": "Ana loves ferries"}], lines=True))

    assert told([event], "kind", "session_id", "actor", "text", "occurred_at") == [
        ("observation", "mem0:ana", "ana", "Ana likes ferries", "2024-07-26T08:37:11.123456+00:00")
    ]
    assert event["metadata"] == {"category": "travel", "user_id": "ana", "categories": "travel, sea"}
    assert changed["event_id"] != event["event_id"]


def test_zep_gives_messages_of_threads_and_facts_with_when_they_held() -> None:
    """Of the versions that name the speaker in ``role`` and of those that name it in ``name``."""
    of_old = {
        "uuid": "z1",
        "created_at": "2023-12-08T22:17:33.185756Z",
        "role": "Ana",
        "role_type": "user",
        "content": "Ahoy",
        "metadata": {"a": 1},
    }
    newer = {"uuid": "z2", "created_at": "2024-01-01T00:00:00Z", "role": "assistant", "name": "Bot", "content": "Hello"}
    edge = {"uuid": "z3", "fact": "Ana sails", "name": "SAILS", "valid_at": "2023-05-01T00:00:00Z", "created_at": "2024-01-02T00:00:00Z"}
    ends = {"uuid": "z4", "created_at": "0001-01-01T00:00:00Z", "role": "human", "content": "Bye"}
    events = found_in(
        "zep", json.dumps({"session_id": "t-1", "messages": [of_old, newer, ends], "facts": [edge, "Ana lives by the sea"]}).encode()
    )

    assert told(events, "role", "kind", "actor", "text", "occurred_at", "session_id") == [
        ("user", "user_message", "Ana", "Ahoy", "2023-12-08T22:17:33.185756+00:00", "t-1"),
        ("assistant", "assistant_message", "Bot", "Hello", "2024-01-01T00:00:00+00:00", "t-1"),
        ("user", "user_message", None, "Bye", None, "t-1"),
        ("system", "observation", None, "Ana sails", "2023-05-01T00:00:00+00:00", "t-1"),
        ("system", "observation", None, "Ana lives by the sea", None, "t-1"),
    ]
    assert told(found_in("zep", file_of([{**edge, "thread_id": "t-2"}], lines=True)), "session_id", "text") == [("t-2", "Ana sails")]


def test_items_of_a_langgraph_store_are_observations_of_their_namespace() -> None:
    """Whether its SDK or its database spelled the namespace; a value that is more than a text comes whole."""
    plain = {
        "namespace": ["users", "ana"],
        "key": "k1",
        "value": {"text": "likes tea"},
        "created_at": "2025-01-01T00:00:00+00:00",
        "updated_at": "2025-01-02T00:00:00+00:00",
    }
    rich = {"prefix": "users.ana", "key": "k2", "value": {"b": 2, "a": [1]}, "created_at": "2025-01-01 00:00:00+01", "updated_at": None}
    events = found_in("langgraph", json.dumps({"items": [plain, rich]}, indent=1).encode())

    assert told(events, "kind", "session_id", "text", "occurred_at") == [
        ("observation", "langgraph:users/ana", "likes tea", "2025-01-01T00:00:00+00:00"),
        ("observation", "langgraph:users/ana", '{"a":[1],"b":2}', "2024-12-31T23:00:00+00:00"),
    ]
    assert events[0]["metadata"] == {"namespace": "users/ana", "key": "k1", "updated_at": "2025-01-02T00:00:00+00:00"}


def test_events_of_agent_memory_keep_their_ids() -> None:
    """From its export, and as its gRPC interface answers in JSON; nodes, grips and episodes are passed over."""
    stored = {
        "event_id": ULID,
        "session_id": "s-1",
        "timestamp": 1704067200123,
        "event_type": "tool_result",
        "role": "tool",
        "text": "ok",
        "metadata": {"tool": "Read"},
        "agent": "claude",
    }
    answered = {
        "eventId": ULID,
        "sessionId": "s-1",
        "timestampMs": "1704067200123",
        "eventType": "EVENT_TYPE_TOOL_RESULT",
        "role": "EVENT_ROLE_TOOL",
        "text": "ok",
        "metadata": {"tool": "Read"},
        "agent": "claude",
    }
    exported = file_of(
        [{"kind": "manifest", "events": 1}, {"kind": "event", "event": stored}, stored, {"node_id": "toc:year:2024"}], lines=True
    )
    events = found_in("agent-memory", exported) + found_in("agent-memory", json.dumps({"events": [answered]}, indent=2).encode())

    assert (
        told(events, "event_id", "session_id", "kind", "role", "actor", "text", "occurred_at")
        == [(ULID, "s-1", "tool_result", "tool", "claude", "ok", "2024-01-01T00:00:00.123000+00:00")] * 3
    )


def test_plain_lines_are_events_and_one_that_stands_there_twice_is_two() -> None:
    """The same file again gives the same ids, also where nobody said when it happened."""
    line = {"session_id": "s", "kind": "note", "text": "Buy salt"}
    content = file_of([line, line, {**line, "event_id": ULID}], lines=True)
    events = found_in("jsonl", content)

    assert len({one["event_id"] for one in events}) == 3
    assert events[2]["event_id"] == ULID
    assert found_in("jsonl", content) == events


BROKEN: list[tuple[str, bytes, list[tuple[int, str]]]] = [
    ("claude-code", b'{"type":"summary"}\n{"type":"user"}\n\n{oops\n', [(2, "has no message"), (4, "is no JSON object")]),
    ("codex", b'{"type":"session_meta","timestamp":"x","payload":{"id":"s"}}\n', [(1, "'x' is no time")]),
    ("chatgpt", b'[{"conversation_id":"c","mapping":{}},\n{"id":"d"}]', [(2, "has no mapping")]),
    ("chatgpt", b'[{"conversation_id":"c","mapping":{}},\n\n{"id":"d", "mapping": {', [(3, "was cut off")]),
    (
        "claude",
        b'[{"uuid":"c","chat_messages":[]}\n, 7, {"uuid":"c","chat_messages":[{"uuid":"m"}]}]',
        [(1, "no JSON object"), (2, "has no sender")],
    ),
    ("mem0", b'{"id":"m"}\n', [(1, "has no memory")]),
    ("mem0", b'[{"id":"m","memory":"x"}]}', [(1, "closes what was never opened")]),
    ("zep", b'{"uuid":"m"}\n', [(1, "has no content, nor fact")]),
    ("langgraph", b'{"namespace":["a"],"key":"k"}\n', [(1, "has no key and value")]),
    ("agent-memory", b'{"event_type":"user_message","session_id":"s"}\n', [(1, "has no event_id")]),
    ("jsonl", b'{"session_id":"s","kind":"note"}\n{"session_id":"s","kind":"note","text":"x","when":1}\n', [(1, "no text"), (2, "when")]),
]


@pytest.mark.parametrize(("source", "content", "wrong"), BROKEN)
def test_what_cannot_be_read_is_told_with_its_line(source: str, content: bytes, wrong: list[tuple[int, str]]) -> None:
    """And its neighbours are read all the same."""
    bad = [one for one in read(io.BytesIO(content), source, name="f") if isinstance(one, Bad)]

    assert [one.line for one in bad] == [line for line, _ in wrong]
    assert all(word in one.reason for one, (_, word) in zip(bad, wrong, strict=True)), bad


TIMES = [
    ("2024-07-26T08:37:11Z", "s", "2024-07-26T08:37:11+00:00"),
    ("2024-07-26T08:37:11", "s", "2024-07-26T08:37:11+00:00"),
    ("2024-07-26T01:37:11-07:00", "s", "2024-07-26T08:37:11+00:00"),
    ("2024-03-31T02:30:00+01:00", "s", "2024-03-31T01:30:00+00:00"),
    ("2024-07-26T08:37:11.123456789Z", "s", "2024-07-26T08:37:11.123456+00:00"),
    (1701830515.123456, "s", "2023-12-06T02:41:55.123456+00:00"),
    (1704067200123, "ms", "2024-01-01T00:00:00.123000+00:00"),
    ("1704067200123", "ms", "2024-01-01T00:00:00.123000+00:00"),
    ("0001-01-01T00:00:00Z", "s", None),
    (None, "s", None),
    ("", "s", None),
]


@pytest.mark.parametrize(("value", "unit", "expected"), TIMES)
def test_a_time_is_read_whatever_zone_and_unit_it_is_in(value: object, unit: str, expected: str | None) -> None:
    """In UTC, exactly; without a zone it is UTC, and what stands for no time is none."""
    found = when(value, unit=unit)
    assert (None if found is None else found.isoformat()) == expected


@pytest.mark.parametrize("value", ["tomorrow", True, [1], 1e300, "2024-13-01T00:00:00Z", "9999-12-31T23:59:59-12:00"])
def test_what_is_no_time_is_refused(value: object) -> None:
    """It never becomes another one."""
    with pytest.raises(WrongRecord):
        when(value)


@settings(max_examples=40)
@given(st.text(max_size=200), st.text(min_size=1, max_size=50), st.integers(min_value=1, max_value=4))
def test_every_event_that_is_made_can_be_stored(text: str, name: str, times: int) -> None:
    """Whatever stands in a record: within the limits, and what is cut is whole again when it is put together."""
    long = text * (times * TEXT_BYTES // max(len(text.encode("utf-8", "surrogatepass")), 1) // 2) if times > 1 else text
    memory = {"id": name, "memory": long or "x", "user_id": name, "metadata": {name: name}}
    content = json.dumps(memory).encode()
    events = found_in("mem0", content)

    for event in events:
        facets = Facets(
            session_id=event["session_id"],
            kind=event["kind"],
            role=event["role"],
            actor=event.get("actor"),
            metadata=event.get("metadata", {}),
        )
        assert canonical_id(event["event_id"]) == event["event_id"]
        stored = Event(id=EventId(event["event_id"]), facets=facets, text=event["text"], occurred_at=when(0), recorded_at=when(0))  # type: ignore[arg-type]  # there is one
        assert check_event(stored, limits=Limits()) == []
    expected = "".join("\ufffd" if character == "\0" or "\ud800" <= character <= "\udfff" else character for character in long or "x")
    assert "".join(event["text"] for event in events) == expected
    assert found_in("mem0", content) == events


def test_every_format_is_read_from_an_array_in_whatever_pieces_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a piece ends within a text, behind a backslash, or within a character."""
    odd = {**CHATGPT, "title": 'He said "{[\\\\" and left \\', "conversation_id": "ü"}
    content = file_of([odd, CHATGPT], lines=False)
    whole = found_in("chatgpt", content)
    for size in (1, 2, 3, 7, 64):
        monkeypatch.setattr("kalends.foreign.elements._CHUNK", size)
        assert found_in("chatgpt", content) == whole
    assert set(FORMATS) == {"agent-memory", "chatgpt", "claude", "claude-code", "codex", "langgraph", "mem0", "zep"}
