"""The connection to Vault: its token, its deadline, one more try, and what its answers mean.

Belongs here: how a question travels and who asks it. Does not belong here: what is asked (``kek``). A newcomer would get wrong: a token
ends while we run; a 403 is therefore answered with a new login, or the token file read again, and only the second one is believed.
"""

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec

from kalends.adapters.vault.failures import DEPENDENCY, HTTP_ERRORS, translate
from kalends.domain.errors import DeadlineExceeded, KalendsError, Misconfigured, Unavailable
from kalends.settings import KeysSettings

_TRIES = 2
_PAUSE_S = 0.1
_MOST_BYTES = 16 << 20
_DENIED = 403
_PASSING = frozenset({412, 429, 472, 473, 500, 502, 503, 504})
"""What another try, or a little later, may mend: 412 is a replica that is behind, 429 and 473 a standby, 472 a secondary, 503 sealed."""


class VaultConnection:
    """Asks one Vault."""

    def __init__(self, client: httpx.AsyncClient, settings: KeysSettings) -> None:
        self._client = client
        self._settings = settings
        self._token = ""
        self._login = asyncio.Lock()

    async def ask(self, path: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status (200 or 400) and JSON of the answer to *body* at *path* below ``/v1/``.

        Raises:
            Misconfigured: Vault denies it, or there is no such path. Unavailable: it does not answer, is sealed or fails.
            DeadlineExceeded: no answer in time.
        """
        deadline_s = self._settings.vault_deadline_s
        try:
            async with asyncio.timeout(deadline_s):
                status, answer = await self._asked(path, body)
        except TimeoutError as error:
            raise DeadlineExceeded(f"no answer from Vault within {deadline_s:g} s", dependency=DEPENDENCY) from error
        if status in {200, 400}:
            return status, answer
        if status == _DENIED:
            raise Misconfigured(f"Vault denies {path}: give the token's policy the capability `update` on it", dependency=DEPENDENCY)
        if status == 404:
            raise Misconfigured(f"Vault has no {path}: see keys.vault_mount and keys.vault_key", dependency=DEPENDENCY)
        raise _failed(status)

    async def _asked(self, path: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        token = await self._current()
        for left in reversed(range(_TRIES)):
            try:
                status, answer = await self._exchange(path, body, token)
            except tuple(HTTP_ERRORS) as error:
                if not left:
                    raise translate(error) from error
            else:
                if status == _DENIED and left:
                    token = await self._renewed(token)
                    continue
                if status not in _PASSING or not left:
                    return status, answer
            await asyncio.sleep(_PAUSE_S)
        raise AssertionError("the last try always ends it")

    async def _exchange(self, path: str, body: Mapping[str, Any], token: str) -> tuple[int, dict[str, Any]]:
        # no compression: what a few bytes may unfold into has no limit
        headers = {"content-type": "application/json", "x-vault-request": "true", "accept-encoding": "identity"}
        if token:
            headers["x-vault-token"] = token
        if self._settings.vault_namespace:
            headers["x-vault-namespace"] = self._settings.vault_namespace
        received = bytearray()
        async with self._client.stream("POST", f"/v1/{path}", content=msgspec.json.encode(body), headers=headers) as response:
            async for chunk in response.aiter_bytes():
                received += chunk
                if len(received) > _MOST_BYTES:
                    raise Unavailable("Vault's answer is too long", dependency=DEPENDENCY)
        try:
            answer = msgspec.json.decode(bytes(received), type=dict[str, Any]) if received else {}
        except msgspec.MsgspecError:
            answer = {}
        return response.status_code, answer

    async def _current(self) -> str:
        return self._token or await self._renewed("")

    async def _renewed(self, before: str) -> str:
        """A token other than *before*, if another caller has got one meanwhile; else a new one."""
        async with self._login:
            if self._token and self._token != before:
                return self._token
            settings = self._settings
            if settings.vault_token_file:
                self._token = await asyncio.to_thread(_read, settings.vault_token_file, "keys.vault_token_file")
                return self._token
            jwt = await asyncio.to_thread(_read, settings.vault_jwt_file, "keys.vault_jwt_file")
            status, answer = await self._exchange(f"auth/{settings.vault_login}/login", {"role": settings.vault_role, "jwt": jwt}, "")
            if status in _PASSING:
                raise _failed(status)
            given = answer.get("auth") if status == 200 else None
            token = given.get("client_token") if isinstance(given, dict) else None
            if not token:
                detail = f"Vault refuses the Kubernetes login as role {settings.vault_role!r} (status {status})"
                raise Misconfigured(detail, dependency=DEPENDENCY)
            self._token = str(token)
            return self._token


def open_client(settings: KeysSettings) -> httpx.AsyncClient:
    """The HTTP client for the Vault that *settings* name.

    Raises:
        Misconfigured: the URL is none, or the file with certificates cannot be used.
    """
    try:
        url = httpx.URL(settings.vault_url)
    except httpx.InvalidURL as error:
        raise Misconfigured("keys.vault_url is not a URL") from error
    if url.scheme not in {"http", "https"} or not url.host or url.userinfo:
        raise Misconfigured("keys.vault_url must be an http or https URL without user or password, such as https://vault:8200")
    if not settings.vault_token_file and not settings.vault_role:
        raise Misconfigured("Vault needs keys.vault_token_file, or keys.vault_role to log in with Kubernetes")
    verify: ssl.SSLContext | bool = True
    if settings.vault_ca_file:
        try:
            verify = ssl.create_default_context(cafile=settings.vault_ca_file)
        except (OSError, ssl.SSLError) as error:
            raise Misconfigured(f"keys.vault_ca_file: {settings.vault_ca_file} cannot be used: {error}") from error
    return httpx.AsyncClient(
        base_url=url,
        # the deadline is kept for the question as a whole
        timeout=httpx.Timeout(None, connect=settings.vault_deadline_s),
        verify=verify,
        trust_env=False,
        follow_redirects=False,
    )


def _read(path: str, setting: str) -> str:
    try:
        text = Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not plain text"
        raise Misconfigured(f"{setting}: {path} cannot be read: {reason}") from error
    if not text or any(not 32 < ord(one) < 127 for one in text):
        raise Misconfigured(f"{setting}: {path} holds no token")
    return text


def _failed(status: int) -> KalendsError:
    words = {429: "is a standby or has too much to do", 473: "is a standby", 503: "is sealed or in maintenance"}
    return Unavailable(f"Vault {words.get(status, 'fails')} (status {status})", dependency=DEPENDENCY)
