"""Which archive: a folder, or a bucket of S3.

Belongs here: the choice. Does not belong here: archives (``adapters``), or what is in them (``backups``). A newcomer would get wrong: the
backups and the archive of the log may share a place; their objects have different names.
"""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from kalends.adapters.embedded.archive import FolderArchive
from kalends.app.folders import Folders
from kalends.domain import places
from kalends.domain.errors import Misconfigured
from kalends.ports.archive import Archive
from kalends.settings import Settings


async def of_backups(stack: AsyncExitStack, settings: Settings, where: Folders) -> Archive:
    """The archive of the backups, closed with *stack*.

    Raises:
        Misconfigured: its place is none, is named twice, or cannot be used.
    """
    chosen = settings.backup
    if chosen.store and chosen.folder:
        raise Misconfigured("backup.folder and backup.store both say where the backups are; keep one of them")
    if chosen.store:
        return await _opened(stack, settings, chosen.store, setting="backup.store")
    return _folder(stack, _named(chosen.folder) if chosen.folder else where.data / "backups")


async def of_log(stack: AsyncExitStack, settings: Settings) -> Archive | None:
    """The archive of the log, closed with *stack*; None where none is wanted.

    Raises:
        Misconfigured: its place is none, or cannot be used.
    """
    store = settings.archive.store
    return await _opened(stack, settings, store, setting="archive.store") if store else None


async def _opened(stack: AsyncExitStack, settings: Settings, text: str, *, setting: str) -> Archive:
    place = places.place(text, setting=setting)
    if isinstance(place, places.Folder):
        return _folder(stack, Path(place.path))
    try:
        from kalends.adapters.s3.archive import open_bucket
    except ImportError as error:
        raise Misconfigured(f"{setting} names a bucket, which needs the extra s3: pip install 'kalends[s3]'") from error
    archive = await asyncio.to_thread(open_bucket, place, settings.s3)
    stack.push_async_callback(archive.close)
    return archive


def _named(folder: str) -> Path:
    return Path(folder).expanduser().absolute()


def _folder(stack: AsyncExitStack, root: Path) -> Archive:
    archive = FolderArchive(root)
    stack.push_async_callback(archive.close)
    return archive
