"""Who talks to an instance in these tests: somebody with a token, over HTTP and over NATS.

Belongs here: requests as they are, and the few acts that many tests begin with. Does not belong here: what must hold. A newcomer would get
wrong: the token's id is the user name on the broker, and ``_INBOX_<token id>`` the only inbox that it lets the user read.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Self

import httpx
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from tests.support.instance import Instance
from tests.support.visitors import connected

TENANT = "local"
OTHER_TENANT = "other"
JSON = {"content-type": "application/json"}
AGAIN_S = 0.1
"""Pause between two tries to connect to the broker."""


class Person:
    """Somebody with *token* (or None) at *instance*; a context manager that closes the connections."""

    def __init__(self, instance: Instance, token: str | None, *, token_id: str = "", tenant: str = TENANT) -> None:
        self.instance = instance
        self.token = token
        self.token_id = token_id
        self.tenant = tenant
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self.client = httpx.Client(base_url=f"{instance.url}/v1", headers=headers, timeout=40.0, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def ask(self, method: str, path: str, body: object = None, *, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """One request below ``/v1``; *body* is sent as JSON, bytes as they are."""
        if body is None:
            return self.client.request(method, path, headers=headers)
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.request(method, path, content=content, headers={**JSON, **(headers or {})})

    def good(self, method: str, path: str, body: object = None, *, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON of an answer that must be a success."""
        answer = self.ask(method, path, body, headers=headers)
        assert answer.is_success, (method, path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def make_memory(self, name: str, *, isolation: str = "shared") -> str:
        """Make a memory, and give its path."""
        self.good("PUT", f"/memories/{name}", {"isolation": isolation})
        return f"/memories/{name}"

    def remember(self, memory: str, *texts: str, **facets: object) -> list[str]:
        """Write events into the memory of that path, wait until every projection has them, and give their ids."""
        events = [{"session_id": "s", "kind": "message", "text": text, **facets} for text in texts]
        told = self.ask("POST", f"{memory}/events", {"events": events}, headers={"prefer": "wait=30"})
        assert told.status_code == 200, told.text
        return [result["event_id"] for result in told.json()["results"]]

    def found(self, memory: str, query: str, **options: object) -> list[str]:
        """The texts that a search finds, best first."""
        return [hit["text"] for hit in self.good("POST", f"{memory}/search", {"query": query, **options})["hits"]]

    def with_token(self, *rights: str, memories: Sequence[str] | None, **more: object) -> "Person":
        """Somebody to whom this person gives a token."""
        made = self.good("POST", "/tokens", {"memories": memories, "rights": rights, **more})
        return Person(self.instance, made["token"], token_id=made["id"], tenant=self.tenant)

    @property
    def nats_url(self) -> str:
        """Where the instance's broker is."""
        url: str = json.loads((self.instance.data / "instance.json").read_bytes())["nats_url"]
        return url

    @contextlib.asynccontextmanager
    async def on_nats(self, *, errors: list[str] | None = None) -> AsyncIterator[Client]:
        """A connection to the broker as this token's user; what the broker complains of is added to *errors*."""
        complaints = [] if errors is None else errors
        async with asyncio.timeout(15):
            while True:
                try:
                    async with contextlib.AsyncExitStack() as stack:
                        how = {"user": self.token_id, "password": self.token, "inbox_prefix": f"_INBOX_{self.token_id}"}
                        client = await stack.enter_async_context(connected(self.nats_url, complaints, **how))
                        closing = stack.pop_all()
                        break
                except nats.errors.Error:
                    # the broker is told of new users only twice a second
                    complaints.clear()
                    await asyncio.sleep(AGAIN_S)
        async with closing:
            yield client

    async def request(self, client: Client, memory: str, subject: str, body: object, *, tenant: str | None = None) -> Msg:
        """One request over NATS to the memory of that name."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}"}
        return await client.request(f"kalends.v1.{tenant or self.tenant}.{memory}.{subject}", content, timeout=10, headers=headers)


def described(person: Person) -> dict[str, Any]:
    """The OpenAPI document of the running instance."""
    document: dict[str, Any] = person.good("GET", "/openapi.json")
    return document
