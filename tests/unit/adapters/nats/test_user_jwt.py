"""Credentials for a broker in operator mode: a real nats-server accepts them, and holds their holder to its subjects."""

import base64
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client
from tests.support.instance import Child, clean_environment, free_port
from tests.support.visitors import connected
from tests.support.waiting import until

from kalends.adapters.nats.broker_config import BrokerUser
from kalends.adapters.nats.server import find_binary
from kalends.adapters.nats.user_jwt import creds_file, signed, user_jwt
from kalends.kit import nkeys
from kalends.kit.nkeys import KeyPair

AGENT = "01M809Z7QTQVG6DKX9EMB930YG"
PUBLISH = ["kalends.v1.acme.notes.>"]


@dataclass(kw_only=True)
class Operated:
    """A broker in operator mode with one account, and a signing key of that account."""

    url: str
    folder: Path
    account: KeyPair
    signing: KeyPair

    def creds(self, user: KeyPair, *, signer: KeyPair | None = None, **changes: Any) -> Path:
        """A credentials file for *user*."""
        now = datetime.now(UTC)
        given = {"issued_at": now, "expires_at": now + timedelta(minutes=5), "publish": PUBLISH, "account": self.account.public, **changes}
        jwt = user_jwt(BrokerUser(name=AGENT, nkey=user.public), signer=signer or self.account, **given)
        path = self.folder / "agent.creds"
        path.write_text(creds_file(jwt, seed=user.seed))
        return path


@pytest.fixture
async def operated(tmp_path: Path) -> AsyncIterator[Operated]:
    """Started with an operator and an account of its own."""
    operator, account, signing = nkeys.new_pair("operator"), nkeys.new_pair("account"), nkeys.new_pair("account")
    now = int(datetime.now(UTC).timestamp())
    limits = dict.fromkeys(("subs", "conn", "leaf", "imports", "exports", "data", "payload"), -1) | {"wildcards": True}
    of_account = {"limits": limits, "signing_keys": [signing.public], "type": "account", "version": 2}
    operators = signed({"iat": now, "name": "op", "sub": operator.public, "nats": {"type": "operator", "version": 2}}, operator)
    accounts = signed({"iat": now, "name": "acc", "sub": account.public, "nats": of_account}, operator)
    port = free_port()
    config = {"operator": operators, "resolver": "MEMORY", "resolver_preload": {account.public: accounts}, "listen": f"127.0.0.1:{port}"}
    path = tmp_path / "operator.conf"
    path.write_text(json.dumps(config))
    child = Child([str(find_binary(None)), "-c", str(path)], env=clean_environment(), errors=tmp_path / "errors")
    try:

        def listens() -> bool:
            with socket.socket() as one:
                return one.connect_ex(("127.0.0.1", port)) == 0

        await until(listens)
        yield Operated(url=f"nats://127.0.0.1:{port}", folder=tmp_path, account=account, signing=signing)
    finally:
        child.close()


def entering(operated: Operated, creds: Path, complaints: list[str]) -> AbstractAsyncContextManager[Client]:
    """A connection with that file."""
    return connected(operated.url, complaints, user_credentials=str(creds), inbox_prefix=f"_INBOX_{AGENT}")


@pytest.mark.parametrize("signer", ["account", "signing"])
async def test_a_broker_in_operator_mode_accepts_the_credentials(operated: Operated, signer: str) -> None:
    """Signed by the account itself, or by a signing key of it; requests and their answers go through."""
    complaints: list[str] = []
    async with entering(operated, operated.creds(nkeys.new_pair("user"), signer=getattr(operated, signer)), complaints) as client:
        await client.subscribe(f"_INBOX_{AGENT}.own")
        await client.publish("kalends.v1.acme.notes.search", b"")
        await client.flush()
    assert complaints == []


@pytest.mark.parametrize("subject", [">", "_INBOX.>", "kalends.>", "_INBOX_other.>", "$SYS.>", "$JS.API.>"])
async def test_it_holds_them_to_their_own_inbox(operated: Operated, subject: str) -> None:
    """Whatever else is subscribed to is refused."""
    complaints: list[str] = []
    async with entering(operated, operated.creds(nkeys.new_pair("user")), complaints) as client:
        await client.subscribe(subject)
        await until(lambda: any("permissions violation for subscription" in one.lower() for one in complaints))


@pytest.mark.parametrize("subject", ["kalends.v1.acme.other.search", "kalends.v1.other.notes.search", "$JS.API.INFO", "ev.v1.u.1.x.y"])
async def test_it_holds_them_to_their_own_memory(operated: Operated, subject: str) -> None:
    """Whatever else is published to is refused."""
    complaints: list[str] = []
    async with entering(operated, operated.creds(nkeys.new_pair("user")), complaints) as client:
        await client.publish(subject, b"")
        await until(lambda: any("permissions violation for publish" in one.lower() for one in complaints))


async def test_it_refuses_what_has_ended_or_what_others_signed(operated: Operated) -> None:
    """An account that the operator does not know, and a time that is over."""
    user = nkeys.new_pair("user")
    past = datetime.now(UTC) - timedelta(minutes=1)
    stranger = nkeys.new_pair("account")
    for creds in (
        operated.creds(user, expires_at=past),
        operated.creds(user, signer=stranger, account=stranger.public),
        operated.creds(user, signer=stranger),
    ):
        with pytest.raises(nats.errors.Error):
            async with entering(operated, creds, []):
                pass


def test_whoever_may_publish_nothing_is_told_so_in_words() -> None:
    """An empty list would allow everything."""
    user, account = nkeys.new_pair("user"), nkeys.new_pair("account")
    made = user_jwt(BrokerUser(name=AGENT, nkey=user.public), signer=account, issued_at=datetime.now(UTC), expires_at=None, publish=[])
    claims = json.loads(base64.urlsafe_b64decode(made.split(".")[1] + "=="))
    assert claims["nats"]["pub"] == {"deny": [">"]}
    assert "exp" not in claims
