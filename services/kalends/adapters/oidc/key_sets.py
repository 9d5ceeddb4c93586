"""The keys of an issuer (JWKS): fetched, kept, and fetched again when a token names one that is not among them.

Belongs here: where keys come from and how long they serve. Does not belong here: tokens. A newcomer would get wrong: anybody can send a
token that names an unknown key, so keys are fetched for one only so often; and an issuer that is away is no reason to refuse what its keys
signed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jwt
import msgspec
import structlog

from kalends.adapters.oidc.failures import DEPENDENCY, refused
from kalends.adapters.oidc.fetching import Fetcher, check_url
from kalends.domain.errors import KalendsError, Misconfigured, Unavailable
from kalends.settings import IssuerSettings, OidcSettings

log = structlog.get_logger(__name__)

KEY_TYPES: Mapping[str, tuple[str, str]] = {
    "RS256": ("RSA", ""),
    "PS256": ("RSA", ""),
    "ES256": ("EC", "P-256"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""By algorithm: the type and the curve that its key must have."""

RSA_BITS = 2048

Source = Callable[[], Awaitable[Sequence[Mapping[str, Any]]]]
"""The keys as they are now."""


class KeySet:
    """The keys of one issuer; ``generation`` grows whenever they change."""

    def __init__(self, source: Source, *, name: str, settings: OidcSettings, now: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.generation = 0
        self.failure = ""
        self._source = source
        self._settings = settings
        self._now = now
        self._keys: list[Mapping[str, Any]] = []
        self._made: dict[tuple[str, str], Any] = {}
        self._fetched_at: float | None = None
        self._tried_at = float("-inf")
        self._lock = asyncio.Lock()

    @property
    def state(self) -> Literal["up", "degraded", "down"]:
        """Whether the keys are fresh, old, or none; ``up`` before they were ever asked for."""
        if not self.failure:
            return "up"
        return "degraded" if self._usable else "down"

    async def key(self, kid: str | None, algorithm: str) -> Any:
        """The key that *kid* names (None: the only one that fits), ready for *algorithm*.

        Raises:
            Unauthenticated: there is none, or it is not for that algorithm. Unavailable: the keys cannot be fetched.
        """
        if self._age > self._settings.refresh_s or (self._find(kid, algorithm) is None):
            await self.refresh()
        found = self._find(kid, algorithm)
        if found is None:
            raise refused("key")
        place = (str(found.get("kid")), algorithm)
        if place not in self._made:
            self._made[place] = self._ready(found, algorithm)
        return self._made[place]

    async def refresh(self) -> None:
        """Fetch the keys, unless that was tried just now; while that fails, what is known serves for ``keep_s``.

        Raises:
            Unavailable: there are none that could serve.
        """
        async with self._lock:
            if self._now() - self._tried_at >= self._settings.pause_s:
                self._tried_at = self._now()
                try:
                    self._take(await self._source())
                except KalendsError as error:
                    self.failure = error.detail
                    log.warning("an issuer's keys cannot be fetched", issuer=self.name, code=error.code)
            if not self._usable:
                detail = f"the keys of {self.name} are not known: {self.failure}"
                raise Unavailable(detail, dependency=DEPENDENCY, retry_after=float(self._settings.pause_s))

    @property
    def _age(self) -> float:
        return float("inf") if self._fetched_at is None else self._now() - self._fetched_at

    @property
    def _usable(self) -> bool:
        return self._age <= self._settings.keep_s

    def _take(self, keys: Sequence[Mapping[str, Any]]) -> None:
        if list(keys) != self._keys:
            self._keys = list(keys)
            self._made.clear()
            self.generation += 1
        self._fetched_at, self.failure = self._now(), ""

    def _find(self, kid: str | None, algorithm: str) -> Mapping[str, Any] | None:
        """The one key that *kid* names and *algorithm* fits; two that could be meant are none."""
        fitting = [key for key in self._keys if (kid is None or key.get("kid") == kid) and _fits(key, algorithm)]
        return fitting[0] if len(fitting) == 1 else None

    def _ready(self, key: Mapping[str, Any], algorithm: str) -> Any:
        try:
            made = jwt.PyJWK(dict(key), algorithm=algorithm).key
        except (jwt.exceptions.PyJWTError, ValueError, TypeError) as error:
            raise refused("key") from error
        if getattr(made, "key_size", RSA_BITS) < RSA_BITS and KEY_TYPES[algorithm][0] == "RSA":
            log.warning("an issuer's key is too short", issuer=self.name)
            raise refused("key")
        return made


def _fits(key: Mapping[str, Any], algorithm: str) -> bool:
    """Whether *key* is for signatures of *algorithm*, by all that it says of itself."""
    kind, curve = KEY_TYPES[algorithm]
    operations = key.get("key_ops")
    return (
        key.get("kty") == kind
        and (not curve or key.get("crv") == curve)
        and key.get("alg") in (None, algorithm)
        and key.get("use") in (None, "sig")
        and (operations is None or (isinstance(operations, list) and "verify" in operations))
    )


def source_of(issuer: IssuerSettings, fetcher: Fetcher) -> Source:
    """Where the keys of *issuer* come from: a file, an address, or what its discovery document names.

    Raises:
        Misconfigured: an address that is not to be asked, or both a file and an address.
    """
    if issuer.jwks_file and issuer.jwks_url:
        raise Misconfigured(f"oidc.issuers: {issuer.issuer}: jwks_file and jwks_url exclude each other")
    if issuer.jwks_file:
        return _File(Path(issuer.jwks_file)).read
    check_url(issuer.jwks_url or issuer.issuer)

    async def fetch() -> Sequence[Mapping[str, Any]]:
        return keys_in(await fetcher.json(issuer.jwks_url or await _discovered(issuer, fetcher)), name=issuer.issuer)

    return fetch


async def _discovered(issuer: IssuerSettings, fetcher: Fetcher) -> str:
    told = await fetcher.json(issuer.issuer.rstrip("/") + "/.well-known/openid-configuration")
    if not isinstance(told, dict) or told.get("issuer") != issuer.issuer or not isinstance(told.get("jwks_uri"), str):
        raise Unavailable(f"{issuer.issuer} describes another issuer than itself", dependency=DEPENDENCY, retry_after=5.0)
    return str(told["jwks_uri"])


class _File:
    """Keys in a file, which is read again when it was replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self) -> Sequence[Mapping[str, Any]]:
        try:
            raw = await asyncio.to_thread(self._path.read_bytes)
        except OSError as error:
            raise Unavailable(f"{self._path} cannot be read: {error.strerror}", dependency=DEPENDENCY, retry_after=5.0) from error
        try:
            told = msgspec.json.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Unavailable(f"{self._path} holds no JSON", dependency=DEPENDENCY, retry_after=5.0) from error
        return keys_in(told, name=str(self._path))


def keys_in(told: object, *, name: str) -> Sequence[Mapping[str, Any]]:
    """The keys in a JWKS document.

    Raises:
        Unavailable: it is none, or without any key.
    """
    keys = told.get("keys") if isinstance(told, dict) else None
    found = [key for key in keys if isinstance(key, dict)] if isinstance(keys, list) else []
    if not found:
        raise Unavailable(f"{name} gives no keys", dependency=DEPENDENCY, retry_after=5.0)
    return found
