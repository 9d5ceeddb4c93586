"""Issuers of tokens for tests: keys that sign, and an HTTPS server that gives the keys and reviews tokens.

Belongs here: what an OpenID issuer and a Kubernetes API server say, on a real socket with a certificate of its own. Does not belong here:
what must follow. A newcomer would get wrong: the TokenReview route speaks the API's form and checks audience and signature, but it is no
API server; that one accepts us is proven in ``kubernetes.test_service_accounts``.
"""

import base64
import hmac
import json
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.tls_proxy import Authority

AUDIENCE = "kalends"
ACCOUNT = "system:serviceaccount:agents:writer"


class SigningKey:
    """A key of an issuer, for one *algorithm*."""

    def __init__(self, algorithm: str = "ES256", *, kid: str = "k1", bits: int = 2048) -> None:
        self.algorithm = algorithm
        self.kid = kid
        self.private: Any
        if algorithm in ("RS256", "PS256"):
            self.private = rsa.generate_private_key(public_exponent=65537, key_size=bits)
        elif algorithm == "EdDSA":
            self.private = ed25519.Ed25519PrivateKey.generate()
        else:
            self.private = ec.generate_private_key(ec.SECP256R1())

    @property
    def jwk(self) -> dict[str, Any]:
        """The public half as an issuer publishes it."""
        kind: Any = jwt.get_algorithm_by_name(self.algorithm)
        made = cast("dict[str, Any]", kind.to_jwk(self.private.public_key(), as_dict=True))
        return {**made, "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    @property
    def public_pem(self) -> bytes:
        """The public half as a text that an attacker may take for a shared secret."""
        pem: bytes = self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return pem

    def sign(self, claims: Mapping[str, Any], **header: Any) -> str:
        """A token with these claims."""
        return jwt.encode(dict(claims), self.private, algorithm=self.algorithm, headers={"kid": self.kid, **header})


def claims(issuer: str, **changes: Any) -> dict[str, Any]:
    """Claims of a token that is good for five minutes; None takes one away."""
    now = int(time.time())
    made = {"iss": issuer, "aud": AUDIENCE, "sub": ACCOUNT, "iat": now, "nbf": now, "exp": now + 300, **changes}
    return {name: value for name, value in made.items() if value is not None}


def forged(header: Mapping[str, Any], payload: Mapping[str, Any], signature: bytes = b"") -> str:
    """A token of any header and payload, whatever a library would say to that."""
    return ".".join(encoded(part) for part in (json.dumps(header).encode(), json.dumps(payload).encode(), signature))


def confused(key: SigningKey, payload: Mapping[str, Any]) -> str:
    """A token whose HMAC has the public half of *key* as its secret."""
    unsigned = forged({"alg": "HS256", "kid": key.kid, "typ": "JWT"}, payload).rpartition(".")[0]
    return f"{unsigned}.{encoded(hmac.digest(key.public_pem, unsigned.encode(), 'sha256'))}"


def tampered(token: str, **changes: Any) -> str:
    """*token* with other claims under its signature."""
    header, _, signature = token.split(".")
    payload = {**jwt.decode(token, options={"verify_signature": False}), **changes}
    return f"{header}.{encoded(json.dumps(payload).encode())}.{signature}"


def encoded(raw: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@dataclass(kw_only=True)
class IssuerServer:
    """An HTTPS server on loopback that is an issuer and an API server; what it says can be changed while it runs."""

    url: str = ""
    ca_file: Path
    token_file: Path
    keys: list[SigningKey] = field(default_factory=list)
    issuer: str = ""
    """What discovery says of itself; empty: its address."""

    away: bool = False
    audiences: list[str] | None = None
    """What a review says in place of the audiences that were asked for."""

    wanted: str = "our-own-token"
    asked: list[str] = field(default_factory=list)

    def document(self, key_set: str) -> dict[str, Any]:
        """The discovery document."""
        return {"issuer": self.issuer or self.url, "jwks_uri": key_set}

    async def discovery(self, request: web.Request) -> web.Response:
        """``/.well-known/openid-configuration``."""
        return self._answer(request, self.document(f"{self.url}/keys"))

    async def jwks(self, request: web.Request) -> web.Response:
        """The keys; the cluster's want a bearer."""
        if request.path.startswith("/openid/") and request.headers.get("authorization") != f"Bearer {self.wanted}":
            return web.json_response({"kind": "Status", "code": 401}, status=401)
        if request.path.startswith("/openid/") and "application/jwk-set+json" not in request.headers.get("accept", ""):
            return web.json_response({"kind": "Status", "code": 406}, status=406)
        return self._answer(request, {"keys": [key.jwk for key in self.keys]})

    async def review(self, request: web.Request) -> web.Response:
        """``TokenReview``: looks at signature, time and audience, as an API server does."""
        if request.headers.get("authorization") != f"Bearer {self.wanted}":
            return web.json_response({"kind": "Status", "code": 401}, status=401)
        asked = await request.json()
        spec = asked["spec"]
        status: dict[str, Any] = {"authenticated": False, "error": "invalid bearer token"}
        for key in self.keys:
            try:
                found = jwt.decode(spec["token"], key.private.public_key(), algorithms=[key.algorithm], audience=spec["audiences"])
            except jwt.PyJWTError:
                continue
            namespace = found["sub"].split(":")[2]
            groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
            audiences = spec["audiences"] if self.audiences is None else self.audiences
            status = {"authenticated": True, "user": {"username": found["sub"], "uid": "1", "groups": groups}, "audiences": audiences}
        return self._answer(request, {**asked, "status": status}, status=201)

    def _answer(self, request: web.Request, body: object, *, status: int = 200) -> web.Response:
        self.asked.append(request.path)
        if self.away:
            return web.json_response({"kind": "Status", "code": 503}, status=503)
        return web.json_response(body, status=status)


@asynccontextmanager
async def issuing(folder: Path, *keys: SigningKey) -> AsyncIterator[IssuerServer]:
    """A server that gives *keys*, with its certificates in *folder*."""
    authority = Authority(folder)
    pair = authority.server()
    token_file = folder / "token"
    server = IssuerServer(ca_file=authority.file, token_file=token_file, keys=list(keys))
    token_file.write_text(server.wanted)
    application = web.Application()
    application.router.add_get("/.well-known/openid-configuration", server.discovery)
    application.router.add_get("/keys", server.jwks)
    application.router.add_get("/openid/v1/jwks", server.jwks)
    application.router.add_post("/apis/authentication.k8s.io/v1/tokenreviews", server.review)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        port = runner.addresses[0][1]
        server.url = f"https://127.0.0.1:{port}"
        yield server
    finally:
        await runner.cleanup()
