"""The identities that others issue: which issuer a token is of, and what it stands for.

Belongs here: reading a token, its signature and its claims, and remembering for a moment what was found. Does not belong here: keys
(``key_sets``), the API server's word (``reviews``), what claims mean (``claims``). A newcomer would get wrong: what a token says of itself
before its signature was checked serves one purpose only, to choose the issuer; an unknown one is refused without asking anybody.
"""

import contextlib
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import jwt

from kalends.adapters.oidc import claims as meanings
from kalends.adapters.oidc.failures import JWT_ERRORS, refusal, refused
from kalends.adapters.oidc.fetching import Fetcher
from kalends.adapters.oidc.key_sets import KEY_TYPES, KeySet, source_of
from kalends.adapters.oidc.reviews import Reviewer
from kalends.domain.credentials import Principal
from kalends.domain.errors import KalendsError, Misconfigured, Unauthenticated
from kalends.domain.grants import Grant
from kalends.ports.identities import IssuerState
from kalends.settings import IssuerSettings, KubernetesSettings, OidcSettings

LONGEST = 8192
_REMEMBERED = 4096
_REMEMBER_S = 60.0
_REQUIRED = ["exp", "iat", "iss", "aud", "sub"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found of a token: whom it stands for, and until when (``time.time``) it is taken as good without another look."""

    grant: Grant
    subject: str
    expires: float
    good_until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """A token, and what it says of itself, unchecked."""

    credential: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]


class Issuer(Protocol):
    """Whoever can tell whether a token of one issuer is genuine."""

    name: str

    @property
    def generation(self) -> int:
        """Grows when what was found before may not hold any more."""
        ...

    @property
    def health(self) -> tuple[Literal["up", "degraded", "down"], str]:
        """How it is, and what is wrong."""
        ...

    async def check(self, token: Presented) -> Found:
        """What *token* is.

        Raises:
            Unauthenticated: not genuine, or of nobody who is known here. Unavailable, DeadlineExceeded: that cannot be told now.
        """
        ...

    async def look(self) -> None:
        """Ask what is needed to check a token.

        Raises:
            KalendsError: it cannot be asked.
        """
        ...

    async def close(self) -> None:
        """End the connections."""
        ...


class SignedIdentities:
    """See ``ports.identities``; *issuers* by their names."""

    def __init__(self, issuers: Sequence[Issuer], *, now: Callable[[], float] = time.time) -> None:
        self._issuers = {issuer.name: issuer for issuer in issuers}
        if len(self._issuers) != len(issuers):
            raise Misconfigured("oidc.issuers, kubernetes.issuer: an issuer is named twice")
        self._now = now
        self._known: OrderedDict[bytes, tuple[Issuer, int, Found]] = OrderedDict()
        self._since: dict[str, tuple[str, datetime]] = {}

    async def principal(self, credential: str) -> Principal:
        """Whom *credential* stands for; see the port.

        Raises:
            Unauthenticated, Unavailable, DeadlineExceeded: as the port says.
        """
        if len(credential) > LONGEST:
            raise refused("form")
        digest = hashlib.sha256(credential.encode("ascii", "replace")).digest()
        remembered = self._remembered(digest)
        if remembered is None:
            token = _read(credential)
            name = token.claims.get("iss")
            issuer = self._issuers.get(name) if isinstance(name, str) else None
            if issuer is None:
                raise refused("issuer")
            remembered = issuer, await issuer.check(token)
            self._remember(digest, *remembered)
        issuer, found = remembered
        expires = datetime.fromtimestamp(min(found.expires, 253_402_300_799), tz=UTC)
        return found.grant.principal(issuer=issuer.name, subject=found.subject, expires_at=expires)

    def states(self) -> Sequence[IssuerState]:
        """How the issuers are."""
        found = []
        for name, issuer in self._issuers.items():
            state, detail = issuer.health
            if self._since.get(name, ("",))[0] != state:
                self._since[name] = state, datetime.fromtimestamp(self._now(), tz=UTC)
            found.append(IssuerState(name=name, state=state, since=self._since[name][1], detail=detail))
        return found

    async def look(self) -> Sequence[str]:
        """Ask every issuer for what is needed to check its tokens; what went wrong, in words."""
        found = []
        for issuer in self._issuers.values():
            try:
                await issuer.look()
            except KalendsError as error:
                found.append(f"{issuer.name}: {error.detail}")
        return found

    async def close(self) -> None:
        """End the connections."""
        for issuer in self._issuers.values():
            await issuer.close()

    def _remembered(self, digest: bytes) -> tuple[Issuer, Found] | None:
        issuer, generation, found = self._known.get(digest, (None, 0, None))
        if issuer is None or found is None:
            return None
        if generation != issuer.generation or self._now() >= found.good_until:
            del self._known[digest]
            return None
        self._known.move_to_end(digest)
        return issuer, found

    def _remember(self, digest: bytes, issuer: Issuer, found: Found) -> None:
        self._known[digest] = issuer, issuer.generation, found
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)


class KeyedIssuer:
    """An issuer whose keys are known: signature and claims are checked here. *meaning*: from claims to a grant."""

    def __init__(
        self,
        settings: IssuerSettings,
        keys: KeySet,
        fetcher: Fetcher,
        *,
        meaning: Callable[[Mapping[str, Any]], Grant],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name = settings.issuer
        self.keys = keys
        self._settings = settings
        self._fetcher = fetcher
        self._meaning = meaning
        self._now = now

    @property
    def generation(self) -> int:
        """Grows with every change of the keys."""
        return self.keys.generation

    @property
    def health(self) -> tuple[Literal["up", "degraded", "down"], str]:
        """How its keys are."""
        return self.keys.state, self.keys.failure

    async def check(self, token: Presented) -> Found:
        """What *token* is.

        Raises:
            Unauthenticated, Unavailable: as ``Issuer`` says.
        """
        algorithm, kid = token.header.get("alg"), token.header.get("kid")
        if algorithm not in self._settings.algorithms or algorithm not in KEY_TYPES:
            raise refused("algorithm")
        if not (kid is None or isinstance(kid, str)):
            raise refused("key")
        key = await self.keys.key(kid, str(algorithm))
        try:
            checked = jwt.decode(
                token.credential,
                key=key,
                algorithms=[str(algorithm)],
                audience=self._settings.audience,
                issuer=self.name,
                leeway=self._settings.leeway_s,
                options={"require": _REQUIRED},
            )
        except tuple(JWT_ERRORS) as error:
            raise refusal(error) from None
        now = self._now()
        ends = min(float(checked["exp"]), float(checked["iat"]) + self._settings.max_age_s) + self._settings.leeway_s
        if ends <= now:
            raise refused("too_old")
        return Found(grant=self._meaning(checked), subject=str(checked["sub"]), expires=ends, good_until=min(ends, now + _REMEMBER_S))

    async def look(self) -> None:
        """Fetch its keys.

        Raises:
            Unavailable: they cannot be fetched.
        """
        await self.keys.refresh()

    async def close(self) -> None:
        """End the connections."""
        await self._fetcher.close()


class ReviewedIssuer:
    """A cluster whose API server is asked of each token."""

    generation = 0

    def __init__(self, settings: KubernetesSettings, reviewer: Reviewer, *, now: Callable[[], float] = time.time) -> None:
        self.name = settings.issuer
        self._settings = settings
        self._reviewer = reviewer
        self._now = now

    @property
    def health(self) -> tuple[Literal["up", "degraded", "down"], str]:
        """How the API server was when it was last asked."""
        return ("down", self._reviewer.failure) if self._reviewer.failure else ("up", "")

    async def check(self, token: Presented) -> Found:
        """What the API server says of *token*.

        Raises:
            Unauthenticated, Unavailable, DeadlineExceeded: as ``Issuer`` says.
        """
        expires = token.claims.get("exp")
        if not isinstance(expires, int):
            raise refused("claims")
        if expires <= self._now():
            raise refused("expired")  # whoever sends old tokens costs the API server nothing
        seen = await self._reviewer.review(token.credential)
        grant = meanings.workload_grant(seen.names, self._settings.workloads)
        return Found(
            grant=grant, subject=seen.username, expires=float(expires), good_until=min(expires, self._now() + self._settings.cache_s)
        )

    async def look(self) -> None:
        """Have a token reviewed that is none; that it is refused is the proof that we may ask.

        Raises:
            Unavailable, DeadlineExceeded: the API server does not answer, or not us.
        """
        with contextlib.suppress(Unauthenticated):
            await self._reviewer.review("none")

    async def close(self) -> None:
        """End the connections."""
        await self._reviewer.close()


def _read(credential: str) -> Presented:
    try:
        read = jwt.decode_complete(credential, options={"verify_signature": False})
    except tuple(JWT_ERRORS) as error:
        raise refusal(error) from None
    return Presented(credential=credential, header=read["header"], claims=read["payload"])


def open_identities(oidc: OidcSettings, kubernetes: KubernetesSettings) -> SignedIdentities | None:
    """Whoever the settings trust; None if that is nobody. Nothing is asked yet; close it in the end.

    Raises:
        Misconfigured: the settings name somebody without saying what they may do, or an address that is not to be asked.
    """
    issuers: list[Issuer] = [open_issuer(one, oidc) for one in oidc.issuers]
    if kubernetes.url:
        issuers.append(open_cluster(kubernetes, oidc))
    return SignedIdentities(issuers) if issuers else None


def open_issuer(one: IssuerSettings, oidc: OidcSettings) -> KeyedIssuer:
    """One issuer of the settings."""
    meanings.check(one)
    return _keyed(one, oidc, meaning=lambda told: meanings.grant_of(told, one))


def open_cluster(kubernetes: KubernetesSettings, oidc: OidcSettings) -> Issuer:
    """The cluster's service accounts, by its keys or by its word."""
    for workload in kubernetes.workloads:
        meanings.check_workload(workload)
    if kubernetes.check == "review":
        asked = Fetcher(
            name="the API server", ca_file=kubernetes.ca_file, token_file=kubernetes.token_file, deadline_s=kubernetes.deadline_s
        )
        return ReviewedIssuer(kubernetes, Reviewer(kubernetes, asked))
    keyed = IssuerSettings(
        issuer=kubernetes.issuer,
        audience=kubernetes.audience,
        jwks_url=kubernetes.url.rstrip("/") + "/openid/v1/jwks",
        ca_file=kubernetes.ca_file,
        token_file=kubernetes.token_file,
    )
    return _keyed(keyed, oidc, meaning=lambda told: meanings.workload_grant(meanings.account_names(str(told["sub"])), kubernetes.workloads))


def _keyed(one: IssuerSettings, oidc: OidcSettings, *, meaning: Callable[[Mapping[str, Any]], Grant]) -> KeyedIssuer:
    fetcher = Fetcher(name=one.issuer, ca_file=one.ca_file, token_file=one.token_file, deadline_s=oidc.deadline_s)
    return KeyedIssuer(one, KeySet(source_of(one, fetcher), name=one.issuer, settings=oidc), fetcher, meaning=meaning)
