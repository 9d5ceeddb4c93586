"""Logging in with an agent's key: a signed nonce for a short-lived bearer, renewed before it ends.

Belongs here: the key's file, and the exchange around each request. Does not belong here: requests themselves. A newcomer would get wrong:
it is httpx's own hook for authentication, so that waiting and asynchronous clients share it; a bearer that is refused is renewed once,
since a server that was started anew may have lost the key that it was made with.
"""

import base64
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import httpx
import msgspec

from kalends.client import exchanges
from kalends.client.errors import NotConnected, Unreadable
from kalends.client.exchanges import Answer
from kalends.kit import nkeys
from kalends.kit.nkeys import KeyPair

T = TypeVar("T")

SIGNED_PREFIX = b"\xffkalends session v1\n"
"""What is signed before the nonce, so that no signature for a NATS server is one for us."""

_EARLY = timedelta(seconds=30)
"""A bearer that ends sooner than this is renewed first; a clock that is wrong by more costs one more request."""


class _Nonce(msgspec.Struct):
    nonce: str


class _Session(msgspec.Struct):
    token: str
    expires_at: datetime


class AgentLogin(httpx.Auth):
    """Adds a bearer of the agent with *pair* to each request to *url*, the base of the API."""

    requires_response_body = True

    def __init__(self, pair: KeyPair, *, url: str) -> None:
        self._pair = pair
        self._url = url
        self._session: _Session | None = None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Log in where that is needed, then send *request*, and once more with a new bearer if the old one was refused.

        Raises:
            ClientError: the server refuses the login, or answers with something else.
        """
        session = self._session
        fresh = session is None or session.expires_at - datetime.now(UTC) < _EARLY
        if session is None or fresh:
            session = yield from self._log_in()
        request.headers["authorization"] = f"Bearer {session.token}"
        answer = yield request
        if answer.status_code == 401 and not fresh:
            session = yield from self._log_in()
            request.headers["authorization"] = f"Bearer {session.token}"
            yield request

    def _log_in(self) -> Generator[httpx.Request, httpx.Response, _Session]:
        asked = yield self._ask("nonce", {"public_key": self._pair.public})
        nonce = _read(asked, _Nonce).nonce
        signature = base64.urlsafe_b64encode(self._pair.sign(SIGNED_PREFIX + nonce.encode())).decode().rstrip("=")
        opened = yield self._ask("session", {"public_key": self._pair.public, "nonce": nonce, "signature": signature})
        self._session = _read(opened, _Session)
        return self._session

    def _ask(self, what: str, body: object) -> httpx.Request:
        return httpx.Request(
            "POST",
            f"{self._url}/v1/auth/{what}",
            content=msgspec.json.encode(body),
            headers={"content-type": "application/json", "accept": "application/json"},
        )


def _read(answer: httpx.Response, kind: type[T]) -> T:
    if answer.status_code != 200:
        raise exchanges.problem(Answer(status=answer.status_code, headers=dict(answer.headers), content=answer.content))
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except msgspec.MsgspecError as error:
        raise Unreadable(f"logging in: {error}") from error


def read_key(path: str | Path) -> KeyPair:
    """The agent's key in the file *path*: a seed, ``SU…``, on a line of its own.

    Raises:
        NotConnected: the file cannot be read or holds no seed.
    """
    try:
        text = Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not plain text"
        raise NotConnected(f"cannot read the agent's key file {path}: {reason}") from error
    seed = next((line.strip() for line in text.splitlines() if line.strip().startswith("SU")), "")
    try:
        return nkeys.pair_of(seed)
    except ValueError as error:
        raise NotConnected(f"the file {path} holds no agent's key: {error}") from error
