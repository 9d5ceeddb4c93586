"""Canary questions through both clients: what is sent, and what is made of the answer."""

import httpx
from tests.support.answers import PreparedServer

from kalends.client import AsyncKalends, Kalends

URL = "http://127.0.0.1:7410"
ONE = {"canary": "pier", "question": "which pier?", "expect": ["a"], "within": 3, "gone": 0, "state": "missed", "set_by": "t"}
ASKED = [
    ("PUT", "/v1/memories/notes/canaries/pier"),
    ("GET", "/v1/memories/notes/canaries/pier"),
    ("GET", "/v1/memories/notes/canaries"),
    ("DELETE", "/v1/memories/notes/canaries/pier"),
]


def prepared() -> PreparedServer:
    """A server that answers to setting, showing, listing and removing."""
    listed = httpx.Response(200, json={"items": [ONE], "accuracy": 0.5})
    one, again, removed = (httpx.Response(200, json=said) for said in (ONE, ONE, {"canary": "pier"}))
    return PreparedServer(one, again, listed, removed)


def test_the_blocking_client_sets_shows_lists_and_removes():
    """Each by one request."""
    server = prepared()
    with Kalends(URL, token="kal_t", through=server.transport) as kalends:
        canaries = kalends.memory("notes").canaries
        made = canaries.set("pier", "which pier?", expect=["a"], within=3)
        assert canaries.show("pier") == made
        listed = canaries.list()
        canaries.remove("pier")

    assert (made.state, listed.accuracy, listed.items) == ("missed", 0.5, [made])
    assert [(one.method, one.url.path) for one in server.requests] == ASKED
    assert server.bodies() == [{"question": "which pier?", "expect": ["a"], "within": 3}]


async def test_the_asynchronous_client_sends_the_same():
    """Each by one request."""
    server = prepared()
    async with AsyncKalends(URL, token="kal_t", through=server.transport) as kalends:
        canaries = kalends.memory("notes").canaries
        made = await canaries.set("pier", "which pier?", expect=["a"], within=3)
        assert await canaries.show("pier") == made
        assert (await canaries.list()).items == [made]
        await canaries.remove("pier")

    assert [(one.method, one.url.path) for one in server.requests] == ASKED
    assert server.bodies() == [{"question": "which pier?", "expect": ["a"], "within": 3}]
