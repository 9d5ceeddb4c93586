"""The archive in a bucket: one object of S3 for each of ours, below a prefix.

Belongs here: speaking S3, and its errors. Does not belong here: what an object is. A newcomer would get wrong: S3 replaces what is there
unless every write says that it must not (``If-None-Match: *``), and only the end of a large object can say so; so what is too large for one
request is put under a name that nobody looks at, and gets its own by a copy on that condition. Nothing is taken from the environment or the
machine's own role: where we speak to and as whom is in the settings alone.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from kalends.adapters.s3.failures import BUCKET_ERRORS, DEPENDENCY, translate
from kalends.domain.errors import Conflict, DeadlineExceeded, Invalid, Misconfigured, NotFound, Unavailable
from kalends.domain.places import Bucket, endpoint
from kalends.ports.archive import NAME, PIECE_BYTES, Kept
from kalends.settings import S3Settings

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config, S3Credential

PART_BYTES = 16 << 20
"""What is not larger goes in one request, and what is goes in parts of this size."""

_READ_BYTES = 8 * PIECE_BYTES
_AT_ONCE = 2
_DRAFTS = ".drafts"
_FRESH = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keys:
    """Who we are, from files that may change while we run."""

    access: Path
    secret: Path

    def __call__(self) -> "S3Credential":
        found = {name: path.read_text(encoding="utf-8").strip() for name, path in (("id", self.access), ("secret", self.secret))}
        return {
            "access_key_id": found["id"],
            "secret_access_key": found["secret"],
            "token": None,
            "expires_at": datetime.now(UTC) + _FRESH,
        }


def open_bucket(place: Bucket, settings: S3Settings) -> "BucketArchive":
    """The archive in *place*; nobody is asked yet.

    Raises:
        Misconfigured: a file cannot be read, or a setting is missing.
    """
    if not (settings.access_key_file and settings.secret_key_file):
        raise Misconfigured("a bucket needs s3.access_key_file and s3.secret_key_file (KALENDS_S3__ACCESS_KEY_FILE)")
    keys = _Keys(access=Path(settings.access_key_file), secret=Path(settings.secret_key_file))
    try:
        keys()
        authority = Path(settings.ca_file).read_bytes() if settings.ca_file else None
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"s3: a file of its settings cannot be read: {error}") from error
    where = endpoint(place, url=settings.url, region=settings.region, virtual=settings.addressing == "virtual")
    # whatever is not said here would be read from AWS_* variables
    config: S3Config = {
        "bucket": place.name,
        "region": settings.region,
        "endpoint": where,
        "aws_endpoint_url_s3": where,
        "virtual_hosted_style_request": settings.addressing == "virtual",
        "conditional_put": "etag",
        "copy_if_not_exists": "multipart",
        "skip_signature": False,
        "unsigned_payload": False,
        "s3_express": False,
        "request_payer": False,
        "disable_tagging": True,
    }
    client: ClientConfig = {
        "allow_http": where.startswith("http://"),
        "connect_timeout": timedelta(seconds=settings.connect_s),
        "timeout": timedelta(seconds=settings.request_s),
    }
    if authority is not None:
        client["root_certificate"] = authority
    try:
        store = S3Store(
            config=config,
            prefix=place.prefix or None,
            client_options=client,
            retry_config={"max_retries": settings.retries, "retry_timeout": timedelta(seconds=settings.deadline_s)},
            credential_provider=keys,
        )
    except (BaseError, ValueError) as error:
        raise Misconfigured(f"s3: the settings of the bucket {place.name} cannot be used: {type(error).__name__}") from error
    return BucketArchive(store, bucket=place.name, deadline_s=settings.deadline_s)


class BucketArchive:
    """Objects in a bucket; see ``ports.archive.Archive``. Each question to it ends within *deadline_s* seconds."""

    def __init__(self, store: S3Store, *, bucket: str, deadline_s: float) -> None:
        self._store = store
        self._bucket = bucket
        self._deadline_s = deadline_s

    async def put(self, name: str, pieces: AsyncIterator[bytes]) -> int:
        """Keep what *pieces* give, durably, under *name*; its size.

        Raises:
            Conflict: there is such an object. Invalid: the name is none. Unavailable, DeadlineExceeded: the bucket does not answer, or
            refuses us; a small object may be there nevertheless.
        """
        _check(name)
        if await self._size(name) is not None:
            raise Conflict(f"{name} is in the archive already")
        first = bytearray()
        async for piece in pieces:
            first += piece
            if len(first) > PART_BYTES:
                return await self._put_large(name, first, pieces)
        async with self._asked(name, writing=True):
            await obstore.put_async(self._store, name, bytes(first), mode="create", use_multipart=False)
        return len(first)

    async def get(self, name: str) -> AsyncGenerator[bytes, None]:
        """The bytes of an object in order, in pieces of up to ``PIECE_BYTES``.

        Raises:
            NotFound: there is none. Unavailable, DeadlineExceeded: the bucket does not answer, or refuses us.
        """
        _check(name)
        size = await self._size(name)
        if size is None:
            raise NotFound(f"the archive has no {name}")
        # in ranges, so that a slow reader keeps no request open
        for start in range(0, size, _READ_BYTES):
            async with self._asked(name):
                found = bytes(await obstore.get_range_async(self._store, name, start=start, end=min(start + _READ_BYTES, size)))
            for at in range(0, len(found), PIECE_BYTES):
                yield found[at : at + PIECE_BYTES]

    async def list(self, prefix: str) -> Sequence[Kept]:
        """The objects whose name begins with *prefix*, by name.

        Raises:
            Unavailable, DeadlineExceeded: the bucket does not answer, or refuses us.
        """
        folder, slash, _ = prefix.rpartition("/")
        found: list[Kept] = []
        pages = obstore.list(self._store, folder + slash or None)
        while True:
            async with self._asked(prefix):
                try:
                    page = await anext(pages)
                except StopAsyncIteration:
                    break
            found += [Kept(one["path"], one["size"]) for one in page if one["path"].startswith(prefix) and NAME.fullmatch(one["path"])]
        return sorted(found)

    async def remove(self, name: str) -> bool:
        """Take an object away for good; whether there was one.

        Raises:
            Unavailable, DeadlineExceeded: the bucket does not answer, or refuses us; again is safe.
        """
        _check(name)
        if await self._size(name) is None:
            return False
        await self._drop(name)
        return True

    async def close(self) -> None:
        """Connections end with the process; there is nothing to wait for."""

    async def _put_large(self, name: str, first: bytearray, pieces: AsyncIterator[bytes]) -> int:
        draft = f"{_DRAFTS}/{secrets.token_hex(8)}"
        counted = _Counted(first, pieces)
        try:
            # each part has the client's own deadline; the whole takes as long as its writer does
            async with _named(self._bucket, name, writing=True):
                await obstore.put_async(self._store, draft, counted.parts(), chunk_size=PART_BYTES, max_concurrency=_AT_ONCE)
            async with self._asked(name, writing=True):
                await obstore.copy_async(self._store, draft, name, overwrite=False)
        finally:
            with suppress(Unavailable, DeadlineExceeded):  # what stays is under no name that anybody looks at
                await self._drop(draft)
        return counted.size

    async def _drop(self, name: str) -> None:
        with suppress(NotFound):
            async with self._asked(name):
                await obstore.delete_async(self._store, name)

    async def _size(self, name: str) -> int | None:
        try:
            async with self._asked(name):
                return (await obstore.head_async(self._store, name))["size"]
        except NotFound:
            return None

    @asynccontextmanager
    async def _asked(self, name: str, *, writing: bool = False) -> AsyncIterator[None]:
        """One question to the bucket: with a deadline, and with our errors."""
        try:
            async with asyncio.timeout(self._deadline_s), _named(self._bucket, name, writing=writing):
                yield
        except TimeoutError as error:
            detail = f"the bucket {self._bucket} did not answer within {self._deadline_s:g} s"
            raise DeadlineExceeded(detail, dependency=DEPENDENCY, retry_after=5.0) from error


class _Counted:
    """The parts of a large object, and its size once all have passed; an error of who writes passes through unchanged."""

    def __init__(self, first: bytearray, rest: AsyncIterator[bytes]) -> None:
        self._first = first
        self._rest = rest
        self.size = 0

    async def parts(self) -> AsyncIterator[bytes]:
        self.size = len(self._first)
        yield bytes(self._first)
        self._first.clear()
        async for piece in self._rest:
            self.size += len(piece)
            yield piece


@asynccontextmanager
async def _named(bucket: str, name: str, *, writing: bool) -> AsyncIterator[None]:
    try:
        yield
    except tuple(BUCKET_ERRORS) as error:
        raise translate(error, bucket=bucket, name=name, writing=writing) from error


def _check(name: str) -> None:
    if not NAME.fullmatch(name):
        raise Invalid("a name in the archive has parts of letters, digits, '.', '_' and '-', with slashes between them")
