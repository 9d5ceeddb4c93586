"""Sessions: a short-lived bearer for an agent that signs a nonce with its key.

Belongs here: nonces, signatures, bearers. Does not belong here: who the agents are (``agents``). A newcomer would get wrong: neither nonces
nor bearers are stored, since a keyed digest proves that they are ours; only a nonce that was *used* is, so that whoever has no registered
key cannot make us write anything. The digests' key is the same in every process, so any of them may answer.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
import struct
from datetime import UTC, datetime, timedelta

import msgspec

from kalends.domain.credentials import Principal
from kalends.domain.errors import Conflict, Throttled, Unauthenticated
from kalends.edge.agents import OWNER, AgentRecord, Agents
from kalends.kit import nkeys
from kalends.ports.clock import Clock
from kalends.ports.records import Records
from kalends.settings import AgentSettings

BEARER_PREFIX = "kas_"
SIGNED_PREFIX = b"\xffkalends session v1\n"
"""Before the nonce in what is signed. An NKey also signs what a NATS server asks for, which is UTF-8, and no UTF-8 begins like this."""

KIND = "agent-nonces"
_MAC_BYTES = 32
_RANDOM_BYTES = 16
_NONCE = struct.Struct(f">Q{_RANDOM_BYTES}s")
_BEARER = struct.Struct(f">Q{_RANDOM_BYTES}s26s")
_USED_MOST = 256
_TRIES = 8

_Used = msgspec.json.Decoder(dict[str, int])


class Sessions:
    """Gives bearers to *agents* and knows them again; *secret* is the digests' key, the same in every process."""

    def __init__(self, agents: Agents, records: Records, *, clock: Clock, settings: AgentSettings, secret: bytes) -> None:
        self._agents = agents
        self._records = records
        self._clock = clock
        self._settings = settings
        self._secret = secret

    def nonce(self, public_key: str) -> tuple[str, datetime]:
        """A nonce to be signed by *public_key*, and when it ends; the same whether or not anybody has that key."""
        ends = self._clock.now() + timedelta(seconds=self._settings.nonce_s)
        body = _NONCE.pack(_milliseconds(ends), secrets.token_bytes(_RANDOM_BYTES))
        return _text(body + self._digest(b"nonce", body, public_key.encode("utf-8", "surrogatepass"))), ends

    async def open(self, public_key: str, *, nonce: str, signature: str) -> tuple[str, datetime, AgentRecord]:
        """A bearer for the agent with *public_key*, when it ends, and the agent.

        Raises:
            Unauthenticated: the nonce is not ours, another key's, over or used; the key is no agent's; the signature is not of both.
            Throttled: the agent has too many sessions to begin at once. Unavailable: the agents or the records are away.
        """
        used = self._checked_nonce(public_key, nonce)
        agent = self._agents.by_key(public_key)
        if agent is None:
            raise _refused("unknown_agent")
        if not nkeys.verify(public_key, SIGNED_PREFIX + nonce.encode("ascii"), _bytes(signature, reason="signature")):
            raise _refused("signature")
        await self._use(public_key, nonce, ends=used)
        ends = self._clock.now() + timedelta(seconds=self._settings.session_s)
        if agent.expires_at is not None:
            ends = min(ends, agent.expires_at)
        body = _BEARER.pack(_milliseconds(ends), secrets.token_bytes(_RANDOM_BYTES), agent.id.encode("ascii"))
        return BEARER_PREFIX + _text(body + self._digest(b"bearer", body)), ends, agent

    def recognize(self, bearer: str) -> Principal | None:
        """Whose *bearer* is; None if it is no session's at all.

        Raises:
            Unauthenticated: it has ended, is forged, or its agent was revoked. Unavailable: the agents were not read yet.
        """
        if not bearer.startswith(BEARER_PREFIX):
            return None
        raw = _bytes(bearer.removeprefix(BEARER_PREFIX), reason="unknown")
        body, digest = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if len(body) != _BEARER.size or not hmac.compare_digest(digest, self._digest(b"bearer", body)):
            raise _refused("unknown")
        ends, _, agent_id = _BEARER.unpack(body)
        agent = self._agents.by_id(agent_id.decode("ascii"))
        if ends <= _milliseconds(self._clock.now()):
            raise _refused("expired")
        if agent is None:
            raise _refused("revoked")
        return agent.principal(expires_at=datetime.fromtimestamp(ends / 1000, tz=UTC))

    def _checked_nonce(self, public_key: str, nonce: str) -> int:
        """When *nonce* ends, in milliseconds."""
        raw = _bytes(nonce, reason="foreign_nonce")
        body, digest = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        expected = self._digest(b"nonce", body, public_key.encode("utf-8", "surrogatepass"))
        if len(body) != _NONCE.size or not hmac.compare_digest(digest, expected):
            raise _refused("foreign_nonce")
        ends = int(_NONCE.unpack(body)[0])
        if ends <= _milliseconds(self._clock.now()):
            raise _refused("expired_nonce")
        return ends

    async def _use(self, public_key: str, nonce: str, *, ends: int) -> None:
        """Note that *nonce* was used, in the one record that each agent has for all that have not ended."""
        name = hashlib.sha256(nonce.encode("ascii")).hexdigest()
        for _ in range(_TRIES):
            record = await self._records.get(KIND, OWNER, public_key)
            used = {} if record is None else _Used.decode(record.value)
            now = _milliseconds(self._clock.now())
            used = {known: until for known, until in used.items() if until > now}
            if name in used:
                raise _refused("replayed_nonce")
            if len(used) >= _USED_MOST:
                raise Throttled("too many sessions of this agent at once", retry_after=float(self._settings.nonce_s))
            value = msgspec.json.encode({**used, name: ends})
            try:
                await self._records.put(KIND, OWNER, public_key, value, revision=0 if record is None else record.revision)
            except Conflict:
                await asyncio.sleep(0)  # another session of the same agent was noted first; look again
            else:
                return
        raise Throttled("too many sessions of this agent at once", retry_after=1.0)

    def _digest(self, purpose: bytes, *parts: bytes) -> bytes:
        framed = b"".join(len(part).to_bytes(4, "big") + part for part in (purpose, *parts))
        return hmac.digest(self._secret, framed, "sha256")


def _refused(reason: str) -> Unauthenticated:
    """One answer, whatever is wrong."""
    return Unauthenticated("the signature or the session is not accepted", reason=reason)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(text: str, *, reason: str) -> bytes:
    """The bytes of base64url without padding; only the one text that they would be written as is taken.

    Raises:
        Unauthenticated: it is none.
    """
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _refused(reason) from None
    if _text(raw) != text:
        raise _refused(reason)
    return raw
