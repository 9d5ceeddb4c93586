"""Logging in with an agent's key: when it happens, what is sent, and what becomes of a refusal."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from kalends.client import AsyncKalends, Kalends, NotConnected, RetryPolicy, Unauthenticated
from kalends.client.agents import SIGNED_PREFIX, read_key
from kalends.edge import sessions
from kalends.kit import nkeys
from kalends.kit.nkeys import KeyPair

URL = "http://127.0.0.1:1"
STATUS = {"version": "1", "mode": "up", "state": "up", "dependencies": [], "lag": {}}
ONCE = RetryPolicy(total_s=0)


class Server:
    """Answers as the server does, and remembers what it was asked."""

    def __init__(self, pair: KeyPair, *, lives_s: float = 900) -> None:
        self.pair = pair
        self.lives_s = lives_s
        self.asked: list[str] = []
        self.valid = ""
        self.refuses_login = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if request.url.path == "/v1/auth/nonce":
            assert "authorization" not in request.headers
            return httpx.Response(200, json={"nonce": f"nonce-{len(self.asked)}", "expires_at": "2030-01-01T00:00:00Z"})
        if request.url.path == "/v1/auth/session":
            body = json.loads(request.content)
            signature = base64.urlsafe_b64decode(body["signature"] + "==")
            signed = nkeys.verify(self.pair.public, sessions.SIGNED_PREFIX + body["nonce"].encode(), signature)
            if self.refuses_login or not signed or body["public_key"] != self.pair.public:
                return httpx.Response(401, json={"code": "unauthenticated", "detail": "not accepted"})
            self.valid = f"kas_{len(self.asked)}"
            ends = datetime.now(UTC) + timedelta(seconds=self.lives_s)
            return httpx.Response(200, json={"agent_id": "a", "token": self.valid, "expires_at": ends.isoformat()})
        if request.headers.get("authorization") != f"Bearer {self.valid}":
            return httpx.Response(401, json={"code": "unauthenticated", "detail": "unknown"})
        return httpx.Response(200, json=STATUS)


@pytest.fixture
def pair() -> KeyPair:
    """An agent's key."""
    return nkeys.new_pair("user")


@pytest.fixture
def key_file(tmp_path: Path, pair: KeyPair) -> Path:
    """The key in a file."""
    path = tmp_path / "agent.seed"
    path.write_text(pair.seed + "\n")
    return path


def test_both_sides_agree_on_what_is_signed() -> None:
    """The client knows nothing of the server's modules, so the bytes stand in both."""
    assert SIGNED_PREFIX == sessions.SIGNED_PREFIX


def test_an_agent_logs_in_once_for_many_requests(pair: KeyPair, key_file: Path) -> None:
    """Before the first one, by itself."""
    server = Server(pair)
    with Kalends(URL, agent_key_file=key_file, through=httpx.MockTransport(server), retry=ONCE) as kalends:
        for _ in range(3):
            assert kalends.status().state == "up"
    assert server.asked == ["/v1/auth/nonce", "/v1/auth/session", *["/v1/status"] * 3]


async def test_the_asynchronous_client_does_the_same(pair: KeyPair, key_file: Path) -> None:
    """One flow drives both."""
    server = Server(pair)
    async with AsyncKalends(URL, agent_key_file=key_file, through=httpx.MockTransport(server), retry=ONCE) as kalends:
        for _ in range(2):
            assert (await kalends.status()).state == "up"
    assert server.asked == ["/v1/auth/nonce", "/v1/auth/session", *["/v1/status"] * 2]


def test_a_session_is_renewed_before_it_ends(pair: KeyPair, key_file: Path) -> None:
    """No request is lost to one that ran out on its way."""
    server = Server(pair, lives_s=20)
    with Kalends(URL, agent_key_file=key_file, through=httpx.MockTransport(server), retry=ONCE) as kalends:
        kalends.status()
        kalends.status()
    assert server.asked.count("/v1/auth/session") == 2


def test_a_session_that_the_server_lost_is_renewed_once(pair: KeyPair, key_file: Path) -> None:
    """And the request is sent again, with its answer as if nothing had been."""
    server = Server(pair)
    with Kalends(URL, agent_key_file=key_file, through=httpx.MockTransport(server), retry=ONCE) as kalends:
        kalends.status()
        server.valid = "another"
        assert kalends.status().state == "up"
    assert server.asked.count("/v1/auth/session") == 2


def test_a_refused_login_is_the_error_that_it_is(pair: KeyPair, key_file: Path) -> None:
    """Once, without trying for ever."""
    server = Server(pair)
    server.refuses_login = True
    with (
        Kalends(URL, agent_key_file=key_file, through=httpx.MockTransport(server), retry=ONCE) as kalends,
        pytest.raises(Unauthenticated, match="not accepted"),
    ):
        kalends.status()
    assert server.asked == ["/v1/auth/nonce", "/v1/auth/session"]


@pytest.mark.parametrize("content", ["", "hello", "SU", "SUAAAA", "UAAAA"])
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: str) -> None:
    """Before anything is sent; the error says which file and quotes nothing of it."""
    path = tmp_path / "agent.seed"
    path.write_text(content)
    with pytest.raises(NotConnected, match=r"agent\.seed") as caught:
        read_key(path)
    assert len(content) < 6 or content not in caught.value.detail


def test_a_credentials_file_of_nats_holds_the_key_too(tmp_path: Path, pair: KeyPair) -> None:
    """Agents that speak to both need one file."""
    path = tmp_path / "agent.creds"
    path.write_text(
        f"-----BEGIN NATS USER JWT-----\ney.ey.x\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n{pair.seed}\n"
    )
    assert read_key(path) == pair


@pytest.mark.parametrize("also", [{"token": "kal_x"}, {"token_file": "x"}])
def test_a_key_beside_a_token_is_a_mistake(key_file: Path, also: dict[str, str]) -> None:
    """Which one was meant cannot be guessed."""
    with pytest.raises(NotConnected, match="not both"):
        Kalends(URL, agent_key_file=key_file, **also)  # type: ignore[arg-type]  # tests choose


@pytest.mark.parametrize("make", [Kalends])
def test_the_environment_names_a_key(monkeypatch: pytest.MonkeyPatch, pair: KeyPair, key_file: Path, make: Callable[..., Kalends]) -> None:
    """A token that is given by hand wins over it."""
    monkeypatch.setenv("KALENDS_AGENT_KEY_FILE", str(key_file))
    server = Server(pair)
    with make(URL, through=httpx.MockTransport(server), retry=ONCE) as kalends:
        assert kalends.status().state == "up"
    with make(URL, token="kal_x", through=httpx.MockTransport(server), retry=ONCE) as kalends, pytest.raises(Unauthenticated):
        kalends.status()
