"""Authentication: bearer tokens against a map in memory that follows the records, and the way to whoever knows the other credentials.

Belongs here: recognizing a token, making, rotating and revoking them, the first admin token's file. Does not belong here: what a principal
may do (``domain.credentials``), the operations about tokens (``tokens``), agents and their sessions (``agents``, ``sessions``). A newcomer
would get wrong: a revoked token's record stays, marked; if it went away, the token in the admin's file would be taken for one that a fresh
store has not seen, and come back to life.
"""

import asyncio
import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from kalends.domain import ownership
from kalends.domain.credentials import RIGHTS, TOKEN_PREFIX, Principal, new_token, token_hash
from kalends.domain.errors import Conflict, KalendsError, Misconfigured, NotFound, Unauthenticated, Unavailable
from kalends.domain.events import new_ulid
from kalends.domain.scope import Tenant
from kalends.edge.services import Health
from kalends.kit import passwords
from kalends.ports.clock import Clock
from kalends.ports.identities import Identities
from kalends.ports.records import Record, Records

log = structlog.get_logger(__name__)

KIND = "token"
_BEARER = re.compile(r"bearer +(?P<token>[A-Za-z0-9._~+/=-]{1,8192})", re.IGNORECASE)
_SIGNED = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_OURS = re.compile(TOKEN_PREFIX + r"[A-Za-z0-9_-]{43}")
_RECONNECT_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_UNKNOWN = "the token is unknown, expired or revoked"


class TokenRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of a token, under its hash; ``memories`` None: all of the tenant's."""

    id: str
    tenant: str
    memories: tuple[str, ...] | None
    rights: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None
    label: str = ""
    revoked_at: datetime | None = None
    labels: tuple[str, ...] | None = None
    """None: all; so it is of what was stored before there were labels."""

    replaces: str = ""
    """Id of the token that this one was made of by rotation."""

    replaced_by: str = ""
    nats_password: str = ""
    """Bcrypt hash under which a broker of our own knows the token as the password of the user ``id``; empty: it is no NATS user."""

    origin: str = ""
    """Id of the token at the beginning of a chain of rotations; empty: it is the first itself."""

    makers: tuple[str, ...] = ()
    """Names of who made it, and of who made them (``domain.ownership``)."""

    @property
    def name(self) -> str:
        """Who holds this token, whichever of a chain of rotations it is."""
        return ownership.token_name(self.origin or self.id)

    @property
    def principal(self) -> Principal:
        """Who holds this token."""
        memories = None if self.memories is None else frozenset(self.memories)
        return Principal(
            token_id=self.id,
            tenant=Tenant(self.tenant),
            memories=memories,
            rights=frozenset(self.rights),
            expires_at=self.expires_at,
            labels=None if self.labels is None else frozenset(self.labels),
            name=self.name,
            makers=frozenset(self.makers),
        )


class Sessions(Protocol):
    """Knows the bearers that agents get for a signature."""

    def recognize(self, bearer: str) -> Principal | None:
        """Whose *bearer* is; None if it is no session's at all.

        Raises:
            Unauthenticated: it has ended, is forged, or its agent was revoked. Unavailable: the agents were not read yet.
        """
        ...


class Ownership(Protocol):
    """Knows which memories were handed over, and to whom."""

    def settled(self, principal: Principal) -> Principal:
        """*principal* with what was handed over to it, and without what was handed over to others.

        Raises:
            Unavailable: that was not read yet.
        """
        ...

    async def wait_ready(self) -> None:
        """Return once all of it was read; the caller sets the deadline."""
        ...


class Authenticator:
    """Knows every token; looking one up asks nobody. Credentials of other forms it passes on to *sessions* and to *foreign*.

    Whoever it is, *owners* say which memories are theirs now; without them nothing is ever handed over.
    ``run`` must be hosted as a loop. Until it has seen every token once, authentication is ``Unavailable`` and refuses everybody; when the
    records go away later, the tokens known then stay valid and ``health`` says so.
    """

    def __init__(
        self,
        records: Records,
        *,
        clock: Clock,
        sessions: Sessions | None = None,
        foreign: Identities | None = None,
        owners: Ownership | None = None,
    ) -> None:
        self._owners = owners
        self._records = records
        self._clock = clock
        self._sessions = sessions
        self._foreign = foreign
        self._known: dict[str, tuple[int, Principal | None]] = {}
        self._holders: dict[str, TokenRecord] = {}
        self._ready = asyncio.Event()
        self._state = "down"
        self._since = clock.now()

    async def identify(self, header: str | None) -> Principal:
        """Who sent *header*, an Authorization header's value, whoever issued what it holds.

        Raises:
            Unauthenticated: no credential, or none that is valid. Unavailable, DeadlineExceeded: it cannot be checked now.
        """
        bearer = _bearer(header)
        if self._sessions is not None:
            principal = self._sessions.recognize(bearer)
            if principal is not None:
                return self.settled(principal)
        if self._foreign is not None and _SIGNED.fullmatch(bearer):
            return self.settled(await self._foreign.principal(bearer))
        return self.settled(self._holder(bearer))

    def authenticate(self, header: str | None) -> Principal:
        """Who sent *header*, if it holds a token of ours.

        Raises:
            Unauthenticated: no credential, an unknown, expired or revoked one. Unavailable: the tokens were not read yet.
        """
        return self.settled(self._holder(_bearer(header)))

    def settled(self, principal: Principal) -> Principal:
        """*principal* with the memories that are its own now.

        Raises:
            Unavailable: what was handed over was not read yet.
        """
        return principal if self._owners is None else self._owners.settled(principal)

    def _holder(self, token: str) -> Principal:
        if not self._ready.is_set():
            raise Unavailable("the tokens were not read yet", dependency="records", retry_after=1.0)
        revision, principal = self._known.get(token_hash(token), (0, None))
        if principal is None:
            raise Unauthenticated(_UNKNOWN, reason="revoked" if revision else "unknown")
        if principal.expires_at is not None and principal.expires_at <= self._clock.now():
            raise Unauthenticated(_UNKNOWN, reason="expired")
        return principal

    async def wait_ready(self) -> None:
        """Return once every token has been seen, and what was handed over; the caller sets the deadline."""
        await self._ready.wait()
        if self._owners is not None:
            await self._owners.wait_ready()

    async def run(self) -> None:
        """Follow the records until cancelled, and begin again whenever they fail."""
        failures = 0
        while True:
            try:
                async with contextlib.aclosing(self._records.watch(KIND)) as changes:
                    missing: set[str] | None = set(self._known)
                    async for record in changes:
                        missing = self._take(record, missing)
                        if missing is None:
                            failures = 0
            except KalendsError as error:
                log.warning("tokens cannot be followed", code=error.code, failures=failures)
            self._enter("degraded" if self._ready.is_set() else "down")
            await asyncio.sleep(_RECONNECT_S[min(failures, len(_RECONNECT_S) - 1)])
            failures += 1

    def _take(self, record: Record | None, missing: set[str] | None) -> set[str] | None:
        """Apply one item of the watch; *missing* are the tokens that the first pass has not confirmed, None after it."""
        if record is not None:
            self._apply(record)
            if missing is not None:
                missing.discard(record.name)
            return missing
        for name in missing or ():
            del self._known[name]
            self._holders.pop(name, None)
        self._ready.set()
        self._enter("up")
        return None

    def _apply(self, record: Record) -> None:
        revision, _ = self._known.get(record.name, (0, None))
        # What this process wrote itself is known before the watch tells of it, so an older version may still come.
        if record.revision < revision:
            return
        principal = None
        if not record.deleted:
            try:
                stored = msgspec.json.decode(record.value, type=TokenRecord)
                principal = stored.principal if stored.revoked_at is None else None
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                log.error("a token's record cannot be read; the token is refused", revision=record.revision)  # noqa: TRY400 - the error quotes the record
        self._known[record.name] = (record.revision, principal)
        if principal is not None and stored.nats_password:
            self._holders[record.name] = stored
        else:
            self._holders.pop(record.name, None)

    def holders(self) -> list[TokenRecord]:
        """Valid tokens that are users of the broker too."""
        now = self._clock.now()
        return [token for token in self._holders.values() if token.expires_at is None or token.expires_at > now]

    def _enter(self, state: str) -> None:
        if state != self._state:
            self._state, self._since = state, self._clock.now()

    def health(self) -> Health:
        """Whether changes to tokens are seen."""
        detail = {"up": "", "degraded": "tokens known before stay valid; changes are not seen", "down": "no token can be checked yet"}
        return Health(name="tokens", state=self._state, since=self._since.isoformat(), detail=detail[self._state])

    async def issue(
        self,
        tenant: Tenant,
        *,
        memories: Iterable[str] | None,
        rights: Iterable[str],
        label: str = "",
        labels: Iterable[str] | None = None,
        expires_at: datetime | None = None,
        token: str | None = None,
        replaces: str = "",
        origin: str = "",
        makers: Iterable[str] = (),
    ) -> tuple[str, TokenRecord]:
        """Make a token (or register *token*) and store its hash; it is valid in this process on return.

        *makers* are the names of who makes it, and of who made them.

        Raises:
            Conflict: *token* is registered already.
        """
        secret = token or new_token()
        now = self._clock.now()
        record = TokenRecord(
            id=new_ulid(now),
            tenant=tenant,
            memories=None if memories is None else tuple(sorted(set(memories))),
            rights=tuple(right for right in RIGHTS if right in set(rights)),
            created_at=now,
            expires_at=expires_at,
            label=label,
            labels=None if labels is None else tuple(sorted(set(labels))),
            replaces=replaces,
            origin=origin,
            makers=tuple(sorted(makers)),
            nats_password=await asyncio.to_thread(passwords.broker_hash, secret),
        )
        name = token_hash(secret)
        value = msgspec.json.encode(record)
        revision = await self._records.put(KIND, tenant, name, value, revision=0)
        self._apply(Record(kind=KIND, owner=tenant, name=name, value=value, revision=revision))
        return secret, record

    async def rotate(self, tenant: Tenant, token_id: str, *, overlap: timedelta, makers: Iterable[str] = ()) -> tuple[str, TokenRecord]:
        """Make a token that may do what *token_id* may, for as long; that one ends after *overlap*, or when it would have anyway.

        *makers*, who rotate it, see the new secret, so they are noted beside those who made it.

        Raises:
            NotFound: the tenant has no such token. Conflict: it was rotated already, or somebody else is changing it.
        """
        record, stored = await self._own(tenant, token_id)
        if stored.replaced_by:
            raise Conflict(f"the token was rotated already; its successor is {stored.replaced_by}")
        secret, fresh = await self.issue(
            tenant,
            memories=stored.memories,
            rights=stored.rights,
            label=stored.label,
            labels=stored.labels,
            expires_at=stored.expires_at,
            replaces=stored.id,
            origin=stored.origin or stored.id,
            makers={*stored.makers, *makers} - {stored.name},
        )
        ends = self._clock.now() + overlap
        if stored.expires_at is not None:
            ends = min(ends, stored.expires_at)
        # Only now: whatever fails before this leaves the old one as it was, and a new one that nobody has.
        await self._write(record, msgspec.structs.replace(stored, expires_at=ends, replaced_by=fresh.id))
        return secret, fresh

    async def tokens(self, tenant: Tenant) -> list[TokenRecord]:
        """The tenant's tokens that were not revoked, oldest first."""
        found = [stored for _, stored in await self._stored(tenant)]
        return sorted((token for token in found if token.revoked_at is None), key=lambda token: token.id)

    async def revoke(self, tenant: Tenant, token_id: str) -> None:
        """End a token, and what it replaced if that still holds: in this process on return, elsewhere as soon as the change is seen there.

        Raises:
            NotFound: the tenant has no such token. Conflict: somebody else is changing it.
        """
        await self._own(tenant, token_id)
        for record, stored in await self._stored(tenant):
            if token_id in (stored.id, stored.replaced_by) and stored.revoked_at is None:
                await self._write(record, msgspec.structs.replace(stored, revoked_at=self._clock.now()))

    async def _own(self, tenant: Tenant, token_id: str) -> tuple[Record, TokenRecord]:
        for record, stored in await self._stored(tenant):
            if stored.id == token_id and stored.revoked_at is None:
                return record, stored
        raise NotFound("no such token")

    async def _write(self, record: Record, changed: TokenRecord) -> None:
        value = msgspec.json.encode(changed)
        revision = await self._records.put(KIND, record.owner, record.name, value, revision=record.revision)
        self._apply(Record(kind=KIND, owner=record.owner, name=record.name, value=value, revision=revision))

    async def _stored(self, tenant: Tenant) -> list[tuple[Record, TokenRecord]]:
        found = []
        for record in await self._records.list(KIND, tenant):
            try:
                found.append((record, msgspec.json.decode(record.value, type=TokenRecord)))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                log.error("a token's record cannot be read; it is not listed", revision=record.revision)  # noqa: TRY400 - the error quotes the record
        return found

    async def ensure_admin_token(self, path: Path, *, tenant: Tenant) -> None:
        """Make the admin token of *tenant* in the file *path* (0600) at the first start; at later ones, see that it is known.

        Raises:
            Misconfigured: others can read the file, it holds no token of ours, another tenant's or a revoked one; says what to do.
        """
        token = await asyncio.to_thread(_read_or_make, path)
        name = token_hash(token)
        known = [record for record in await self._records.list(KIND) if record.name == name]
        if not known:
            with contextlib.suppress(Conflict):  # another process registered the same file's token just now
                await self.issue(tenant, memories=None, rights=RIGHTS, label="admin", token=token)
            return
        stored = msgspec.json.decode(known[0].value, type=TokenRecord)
        if stored.tenant != tenant:
            raise Misconfigured(
                f"{path} is a token of tenant {stored.tenant}, but auth.tenant is {tenant}; move the file away or change auth.tenant"
            )
        if stored.revoked_at is not None:
            raise Misconfigured(f"the token in {path} was revoked; delete the file to get a new one")
        if stored.replaced_by and stored.expires_at is not None and stored.expires_at <= self._clock.now():
            raise Misconfigured(f"the token in {path} was rotated; write its successor there, or delete the file to get a new one")
        self._apply(known[0])


def _bearer(header: str | None) -> str:
    """The credential that an Authorization header's value holds."""
    if header is None:
        raise Unauthenticated("send Authorization: Bearer <token>", reason="no_credential")
    found = _BEARER.fullmatch(header.strip())
    if found is None:
        raise Unauthenticated("the Authorization header holds no bearer token", reason="no_credential")
    return found["token"]


def _read_or_make(path: Path) -> str:
    """The token in *path*, which is made if there is none."""
    with contextlib.suppress(FileNotFoundError):
        return _read(path)
    token = new_token()
    # a name of its own: several processes that share the file may make it at once
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(token + "\n")
        file.flush()
        os.fsync(file.fileno())
    # A link appears whole or not at all and never replaces a file, so a crash leaves no half of a token behind.
    try:
        os.link(fresh, path)
    except FileExistsError:
        return _read(path)
    finally:
        fresh.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return token


def _read(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read ({error.strerror}); it must be a plain file of the user that runs this") from error
    with os.fdopen(descriptor, "rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise Misconfigured(f"{path} can be read by others (mode {mode:04o}); run: chmod 600 {path}")
        token = file.read(512).decode("ascii", "replace").strip()
    if not _OURS.fullmatch(token):
        raise Misconfigured(f"{path} holds no token of ours; delete it to get a new one")
    return token
