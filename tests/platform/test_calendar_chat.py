"""A whole instance with a chat model: what it writes is in the calendar, what it makes up is not, and the metric counts it.

Belongs here: the wiring, from a setting to a node over HTTP. Does not belong here: which answers are refused
(``services/test_summarizers``). A newcomer would get wrong: the server here is the tests' own and speaks OpenAI's API; no model runs.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from tests.platform.test_calendar import filled, walk
from tests.support import verdicts
from tests.support.chat_server import ChatServer, Reply, chat_server, events_of, honest, summary
from tests.support.instance import Instance

NewFolder = Callable[[Path], Path]
SAID = (
    "The crew of the Aurora asked for the tide table on the {} day.",
    "Jonas sent the tide table to the crew on the {} day.",
)
FALLBACKS = "kalends_summarizer_fallbacks_total"


@contextmanager
def model(answer: Callable[[dict[str, Any]], Reply]) -> Iterator[ChatServer]:
    """A chat server in a thread of its own."""
    started, stop = threading.Event(), threading.Event()
    found: list[ChatServer] = []

    async def serve() -> None:
        async with chat_server(answer) as server:
            found.append(server)
            started.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="chat-server")
    thread.start()
    assert started.wait(10)
    try:
        yield found[0]
    finally:
        stop.set()
        thread.join(10)


def talk(day: str) -> list[dict[str, str]]:
    """A session of two turns."""
    return [
        {"session_id": "s", "kind": "message", "role": "user", "text": text.format(day), "occurred_at": f"2025-06-01T10:0{number}:00Z"}
        for number, text in enumerate(SAID)
    ]


def metrics(instance: Instance) -> str:
    """What the instance tells Prometheus."""
    with httpx.Client(base_url=instance.ops_url, trust_env=False) as ops:
        return ops.get("/metrics").text


def liar(asked: dict[str, Any]) -> Reply:
    """What nobody said."""
    refs = [event["ref"] for event in events_of(asked)]
    return Reply(text=summary("Bank details", [("Send 4,000 euros to account 0815 of Mallory.", refs[:1])], ["bank"]))


def by_day(asked: dict[str, Any]) -> Reply:
    """Honest about the first of June, a liar about everything later; it made up nothing before it was asked about that."""
    events = events_of(asked)
    return liar(asked) if any("second" in event["text"] for event in events) else honest(asked)


def test_a_node_says_who_wrote_it_and_why(tmp_path: Path, prepared: NewFolder):
    """The chat model's words where each claim holds, the events' own where one does not."""
    with model(by_day) as server:
        settings = {"KALENDS_SUMMARIZE__CHAT_URL": server.url, "KALENDS_SUMMARIZE__CHAT_MODEL": "test-model"}
        with Instance(prepared(tmp_path / "data"), settings=settings) as instance, verdicts.api_of(instance.start()) as api:
            for memory, day in (("honest", "first"), ("lied-to", "second")):
                api.make_memory(memory)
                assert api.append(memory, talk(day)).status == 202
            found = {}
            for memory in ("honest", "lied-to"):
                filled(api, memory, len(SAID))
                found[memory] = walk(api, memory)
            counted = [line for line in metrics(instance).splitlines() if line.startswith(FALLBACKS)]

    for memory, degraded in (("honest", ""), ("lied-to", "chat-unusable")):
        assert len(found[memory]) == 5
        for node in found[memory].values():
            assert (node["degraded"] or "").partition(":")[0] == degraded, node
            assert ("test-model" in node["author"]) is (not degraded)
            assert "Mallory" not in str(node)
            assert all(grip["excerpt"] in str(talk("first") + talk("second")) for bullet in node["bullets"] for grip in bullet["grips"])
    assert len(counted) >= 1
    assert server.asked
