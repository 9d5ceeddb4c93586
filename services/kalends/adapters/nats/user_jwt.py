"""Credentials for a NATS that is not ours: a user's JWT, signed by the account, limited to the agent's subjects.

Belongs here: the form that nats-server reads in operator mode. Does not belong here: users of a broker of our own (``broker_config``). A
newcomer would get wrong: the permissions are in the JWT and in no file of the broker's, so what was given cannot be narrowed later; it can
only end, or be revoked in the account's own JWT.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from kalends.adapters.nats.broker_config import BrokerUser
from kalends.kit.nkeys import KeyPair

_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}


def signed(claims: Mapping[str, Any], issuer: KeyPair) -> str:
    """*claims* as a JWT of NATS by *issuer*, with the id that NATS gives them: a digest of all the others."""
    named = {"iss": issuer.public, **claims}
    digest = hashlib.new("sha512_256", msgspec.json.encode({"jti": "", **named})).digest()
    claimed = {"jti": base64.b32encode(digest).decode().rstrip("="), **named}
    text = f"{_part(msgspec.json.encode(_HEADER))}.{_part(msgspec.json.encode(claimed))}"
    return f"{text}.{_part(issuer.sign(text.encode()))}"


def user_jwt(
    user: BrokerUser, *, signer: KeyPair, account: str = "", issued_at: datetime, expires_at: datetime | None, publish: Sequence[str]
) -> str:
    """A JWT with which the holder of the key of *user* may publish to *publish* and read its own inbox, nothing else.

    *signer* is the account's key, or a signing key of the account that *account* names.
    """
    limits: dict[str, Any] = {
        "type": "user",
        "version": 2,
        "pub": {"allow": list(publish)} if publish else {"deny": [">"]},
        "sub": {"allow": [f"{user.inbox}.>"]},
        "subs": -1,
        "data": -1,
        "payload": -1,
    }
    if account and account != signer.public:
        limits["issuer_account"] = account
    claims: dict[str, Any] = {"iat": int(issued_at.timestamp()), "name": user.name, "sub": user.nkey, "nats": limits}
    if expires_at is not None:
        claims["exp"] = int(expires_at.timestamp())
    return signed(claims, signer)


def creds_file(jwt: str, *, seed: str) -> str:
    """The text of a ``.creds`` file, which every NATS client reads; without a *seed* it holds the JWT alone."""
    text = f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n"
    if seed:
        text += f"\n-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    return text


def _part(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
