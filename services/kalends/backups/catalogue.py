"""The catalogue: which backups the archive holds, opened as far as decisions need it.

Belongs here: listing, finding, chains, and removing. Does not belong here: making one (``taking``) or reading its messages (``copies``). A
newcomer would get wrong: the archive itself is the only list. A backup is there once its manifest is, and is gone before its objects are;
what has no manifest was cut off, and is cleared away.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import structlog

from kalends.backups import objects
from kalends.domain import backups
from kalends.domain.backups import Known
from kalends.domain.errors import Damaged, Misconfigured, NotFound
from kalends.domain.scope import Scope
from kalends.kit import aead
from kalends.ports.archive import Archive
from kalends.ports.kek import Wrapper
from kalends.wire import manifests, signed
from kalends.wire.manifests import Contents, Manifest

log = structlog.get_logger(__name__)

_MANIFEST_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """One backup, its manifest as stored and opened; ``keys_are_there`` unless their time is over."""

    manifest: Manifest
    contents: Contents
    box: aead.Box
    digest: str
    keys_are_there: bool

    @property
    def backup_id(self) -> str:
        """Its id."""
        return self.manifest.backup_id

    @property
    def known(self) -> Known:
        """As decisions need it."""
        return manifests.known(self.manifest, self.contents, keys_are_there=self.keys_are_there)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """What the archive holds: backups by id, oldest first, and why others cannot be read, by id."""

    backups: Mapping[str, Backup]
    damaged: Mapping[str, str]

    @property
    def known(self) -> Mapping[str, Known]:
        """As decisions need it."""
        return {name: one.known for name, one in self.backups.items()}

    def find(self, backup_id: str) -> Backup:
        """One backup.

        Raises:
            NotFound: there is none. Damaged: its manifest cannot be read.
        """
        if backup_id in self.damaged:
            raise Damaged(self.damaged[backup_id])
        found = self.backups.get(backup_id)
        if found is None:
            raise NotFound("no such backup")
        return found

    def chain(self, backup_id: str) -> Sequence[Backup]:
        """The backups from the one that stands alone to *backup_id*, each with the digest that its successor names.

        Raises:
            NotFound: there is none. Damaged: one is missing, or is not the one that its successor was built on.
        """
        self.find(backup_id)
        found = [self.find(one) for one in backups.chain(self.known, backup_id)]
        for before, after in pairwise(found):
            if after.manifest.previous_sha256 != before.digest:
                raise Damaged(f"the backup {after.backup_id} was not built on the backup {before.backup_id} as it is now")
        return found


class Catalogue:
    """The backups in an archive."""

    def __init__(self, *, archive: Archive, wrapper: Wrapper) -> None:
        self._archive = archive
        self._wrapper = wrapper

    async def shelf(self) -> Shelf:
        """Everything that is there now.

        Raises:
            Unavailable, DeadlineExceeded: the archive or the keeper of the key-encryption key does not answer.
        """
        names = {one.name for one in await self._archive.list(manifests.PREFIX)}
        found: dict[str, Backup] = {}
        damaged: dict[str, str] = {}
        for name in sorted(one for one in names if one.endswith(f"/{manifests.MANIFEST}")):
            backup_id = name.split("/")[1]
            try:
                one = await self._open(name, names)
            except NotFound:
                continue  # removed meanwhile
            except (Damaged, Misconfigured) as error:
                damaged[backup_id] = f"{name}: {error.detail}"
                continue
            if one.backup_id == backup_id:
                found[backup_id] = one
            else:
                damaged[backup_id] = f"{name} is the manifest of another backup"
        ordered = sorted(found.values(), key=lambda one: (one.manifest.made_at, one.backup_id))
        return Shelf(backups={one.backup_id: one for one in ordered}, damaged=damaged)

    async def remove(self, backup_id: str) -> bool:
        """Take a backup away: its manifest first, so that half of one is never taken for a backup; whether there was anything.

        Raises:
            Unavailable: the archive does not answer; some may be gone, and again is safe.
        """
        removed = await self._archive.remove(manifests.name_of(backup_id))
        for one in await self._archive.list(manifests.name_of(backup_id, "")):
            removed |= await self._archive.remove(one.name)
        return removed

    async def clear(self, *, now: datetime, keep: int, under_way: Sequence[str]) -> int:
        """Remove what is over or too much, keys whose time is over, and what was cut off and is not *under_way*; how many backups went.

        Raises:
            Unavailable: the archive does not answer; again is safe.
        """
        shelf = await self.shelf()
        known = shelf.known.values()
        gone = {*backups.due(known, now=now), *backups.surplus(known, keep=keep)}
        ordered = [one for one in reversed(list(shelf.backups)) if one in gone]
        for backup_id in ordered:
            await self.remove(backup_id)
        for backup_id, one in shelf.backups.items():
            if backup_id not in gone:
                await self._clear_keys(one, now)
        there = {one.name.split("/")[1] for one in await self._archive.list(manifests.PREFIX)}
        for backup_id in there - set(shelf.backups) - set(shelf.damaged) - set(under_way):
            log.info("what was left of a backup is removed", backup=backup_id)
            await self.remove(backup_id)
        return len(ordered)

    async def expires_at(self, scope: Scope, *, whole: bool, erased_us: int) -> datetime | None:
        """When the last backup ends that may hold what was erased of *scope* at *erased_us*; see ``domain.backups.last_expiry``.

        A backup that cannot be read is not counted: what is in it cannot be read either.

        Raises:
            Unavailable, DeadlineExceeded: the archive does not answer.
        """
        shelf = await self.shelf()
        at = {name: manifests.began_us(one.manifest) for name, one in shelf.backups.items()}
        return backups.last_expiry(shelf.known.values(), scope, whole=whole, erased_us=erased_us, at=at)

    async def _clear_keys(self, one: Backup, now: datetime) -> None:
        for entry in one.manifest.objects:
            if entry.expires_at is not None and entry.expires_at <= now:
                await self._archive.remove(entry.name)

    async def _open(self, name: str, names: set[str]) -> Backup:
        content = await objects.small(self._archive, name, limit=_MANIFEST_BYTES, called="the manifest of a backup")
        manifest = manifests.read(content)
        box = await manifests.unwrap(manifest, self._wrapper)
        contents = manifests.open_contents(manifest, box)
        keys = manifest.of_kind(manifests.KEYS)
        return Backup(
            manifest=manifest,
            contents=contents,
            box=box,
            digest=signed.digest(content),
            keys_are_there=all(entry.name in names for entry in keys),
        )
