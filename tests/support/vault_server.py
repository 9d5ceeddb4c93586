"""A small server with the routes of Vault that Kalends uses: transit's encrypt and decrypt in batches, and the Kubernetes login.

Belongs here: honest answers in the shapes of Vault's documented API, strict about paths, methods, headers and bodies, and faults. Does not
belong here: what is asserted. A newcomer would get wrong: it encrypts for real (AES-256-GCM, associated data and all), so what is moved or
spoiled does not open; and like Vault it answers a batch in which anything failed with 400, with a result for each item.
"""

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from kalends.kit import aead

TOKEN = "hvs.first"
JWT = "the.pods.jwt"
_REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}
_FIELDS = {"encrypt": {"plaintext", "associated_data"}, "decrypt": {"ciphertext", "associated_data"}}


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, *errors: str) -> None:
        super().__init__(status)
        self.status = status
        self.errors = list(errors)


@dataclass
class VaultServer:
    """Serves the transit key ``key`` at ``mount``; ``tokens`` are valid, ``faults`` are statuses for the next answers, 0 breaks off."""

    mount: str = "transit"
    key: str = "kalends"
    role: str = "kalends"
    namespace: str = ""
    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    versions: dict[int, bytes] = field(default_factory=lambda: {1: bytes(range(32))})
    oldest: int = 1
    faults: list[int] = field(default_factory=list)
    held: asyncio.Event | None = None
    asked: list[str] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    logins: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def rotate(self) -> None:
        """A newer version of the key, which encrypts from now on."""
        self.versions[max(self.versions) + 1] = aead.new_key()

    async def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        """The JSON of a success.

        Raises:
            Refused: as Vault would.
        """
        if method not in {"POST", "PUT"}:
            raise Refused(405)
        if headers.get("x-vault-request") != "true" or headers.get("x-vault-namespace", "") != self.namespace:
            raise Refused(400, "missing X-Vault-Request header or wrong namespace")
        try:
            given = json.loads(body)
        except ValueError:
            raise Refused(400, "failed to parse JSON input") from None
        if path == "/v1/auth/kubernetes/login":
            return self._login(given)
        if headers.get("x-vault-token") not in self.tokens:
            raise Refused(403, "permission denied")
        for verb in _FIELDS:
            if path == f"/v1/{self.mount}/{verb}/{self.key}":
                return self._batch(verb, given)
        raise Refused(404)

    def _login(self, given: dict[str, Any]) -> dict[str, Any]:
        if given != {"role": self.role, "jwt": JWT}:
            raise Refused(403, "permission denied")
        self.logins += 1
        token = f"hvs.login-{self.logins}"
        self.tokens.add(token)
        return {"auth": {"client_token": token, "lease_duration": 3600, "renewable": True}}

    def _batch(self, verb: str, given: dict[str, Any]) -> dict[str, Any]:
        items = given.get("batch_input")
        if set(given) != {"batch_input"} or not isinstance(items, list) or not items:
            raise Refused(400, "missing batch input to process")
        self.batches.append(len(items))
        work = self._encrypt if verb == "encrypt" else self._decrypt
        results = []
        for item in items:
            if set(item) != _FIELDS[verb]:
                raise Refused(400, "failed to parse batch input")
            try:
                results.append(work(item))
            except Refused as error:
                results.append({"error": error.errors[0]})
        return {"data": {"batch_results": results}}

    def _encrypt(self, item: dict[str, str]) -> dict[str, Any]:
        version = max(self.versions)
        context = _decoded(item["associated_data"])
        nonce, sealed = aead.Box(self.versions[version]).seal(_decoded(item["plaintext"]), context=context)
        return {"ciphertext": f"vault:v{version}:{base64.b64encode(nonce + sealed).decode()}", "key_version": version}

    def _decrypt(self, item: dict[str, str]) -> dict[str, Any]:
        prefix, version, text = [*item["ciphertext"].split(":", 2), "", ""][:3]
        if prefix != "vault" or version[:1] != "v" or not version[1:].isdigit():
            raise Refused(400, "invalid ciphertext: no prefix")
        if int(version[1:]) < self.oldest:
            raise Refused(400, "ciphertext or signature version is disallowed by policy (too old)")
        if int(version[1:]) not in self.versions:
            raise Refused(400, "invalid ciphertext: version is too new")
        raw = _decoded(text)
        try:
            plain = aead.Box(self.versions[int(version[1:])]).open(raw[:12], raw[12:], context=_decoded(item["associated_data"]))
        except aead.TamperedError:
            raise Refused(400, "cipher: message authentication failed") from None
        return {"plaintext": base64.b64encode(plain).decode()}


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise Refused(400, "failed to base64-decode input") from None


@asynccontextmanager
async def running(server: VaultServer) -> AsyncIterator[VaultServer]:
    """*server*, listening on loopback until the end of the block."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while line := await reader.readline():
                await _exchange(server, line, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            tasks.discard(task)
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in tuple(tasks):
            task.cancel()
        await listening.wait_closed()


async def _exchange(server: VaultServer, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    method, path, _ = line.decode().split()
    headers = {}
    while (header := await reader.readline()) not in {b"\r\n", b""}:
        name, _, value = header.decode().partition(":")
        headers[name.strip().lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    server.asked.append(path)
    if server.held is not None:
        await server.held.wait()
    if server.faults:
        status, content = server.faults.pop(0), {"errors": ["a fault of the test"]}
        if status == 0:
            raise asyncio.IncompleteReadError(b"", None)
    else:
        try:
            content = await server.answer(method, path, headers, body)
            failed = any("error" in one for one in content.get("data", {}).get("batch_results", []))
            status = 400 if failed else 200
        except Refused as error:
            status, content = error.status, {"errors": error.errors}
    text = json.dumps(content).encode()
    head = f"HTTP/1.1 {status} {_REASONS.get(status, '')}\r\ncontent-type: application/json\r\ncontent-length: {len(text)}\r\n\r\n"
    writer.write(head.encode() + text)
    await writer.drain()
