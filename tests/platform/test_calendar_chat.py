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
import pytest
from tests.platform.test_calendar import filled, walk
from tests.support import verdicts
from tests.support.chat_server import ChatServer, Reply, chat_server, events_of, honest, summary
from tests.support.instance import Instance

NewFolder = Callable[[Path], Path]
SAID = ("The crew of the Aurora asked for the tide table of Friday.", "Jonas sent the tide table to the crew at noon.")
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


def metrics(instance: Instance) -> str:
    """What the instance tells Prometheus."""
    with httpx.Client(base_url=instance.ops_url, trust_env=False) as ops:
        return ops.get("/metrics").text


def liar(asked: dict[str, Any]) -> Reply:
    """What nobody said."""
    refs = [event["ref"] for event in events_of(asked)]
    return Reply(text=summary("Bank details", [("Send 4,000 euros to account 0815 of Mallory.", refs[:1])], ["bank"]))


@pytest.mark.parametrize(("answer", "degraded"), [(honest, None), (liar, "chat-unusable")], ids=["honest", "liar"])
def test_a_node_says_who_wrote_it_and_why(tmp_path: Path, prepared: NewFolder, answer: Callable[..., Reply], degraded: str | None):
    """The chat model's words where each claim holds, the events' own where one does not."""
    with model(answer) as server:
        settings = {"KALENDS_SUMMARIZE__CHAT_URL": server.url, "KALENDS_SUMMARIZE__CHAT_MODEL": "test-model"}
        with Instance(prepared(tmp_path / "data"), settings=settings) as instance, verdicts.api_of(instance.start()) as api:
            api.make_memory("m")
            events = [
                {"session_id": "s", "kind": "message", "role": "user", "text": text, "occurred_at": f"2025-06-01T10:0{number}:00Z"}
                for number, text in enumerate(SAID)
            ]
            assert api.append("m", events).status == 202
            filled(api, "m")
            nodes = walk(api, "m")
            counted = [line for line in metrics(instance).splitlines() if line.startswith(FALLBACKS)]

    assert len(nodes) == 5
    for node in nodes.values():
        assert (node["degraded"] or "").partition(":")[0] == (degraded or ""), node
        assert ("test-model" in node["author"]) is (degraded is None)
        assert "Mallory" not in str(node)
        assert all(grip["excerpt"] in " ".join(SAID) for bullet in node["bullets"] for grip in bullet["grips"])
    assert bool(counted) is (degraded is not None)
    assert server.asked
