"""Which keeper of key-encryption keys: files, a mounted folder, or Vault.

Belongs here: the choice. Does not belong here: keepers (``adapters``), the rotation (``ingest.rotating``). A newcomer would get wrong: a
key file that is there goes on to open what it wrapped, also under another keeper, until nothing needs it.
"""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from kalends.adapters.embedded.kek import FileWrapper, read_file
from kalends.app.folders import Folders
from kalends.domain.errors import KalendsError, Misconfigured
from kalends.ports.kek import Wrapper
from kalends.settings import Settings
from kalends.wire.keepers import Keepers

log = structlog.get_logger(__name__)


async def open_wrapper(stack: AsyncExitStack, settings: Settings, folders: Folders) -> Wrapper:
    """The key-encryption keys that *settings* name, closed with *stack*.

    Raises:
        Misconfigured: they cannot be read, or a setting is missing. Unavailable: their keeper does not answer.
    """
    chosen = settings.keys
    if chosen.kind == "file":
        return await asyncio.to_thread(FileWrapper.open, folders.key)
    first: Wrapper
    if chosen.kind == "folder":
        if not chosen.folder:
            raise Misconfigured("keys.kind = folder needs keys.folder (KALENDS_KEYS__FOLDER)")
        first = await asyncio.to_thread(FileWrapper.open_folder, Path(chosen.folder))
    else:
        from kalends.adapters.vault.kek import open_vault

        first = await stack.enter_async_context(open_vault(chosen))
    there = await asyncio.to_thread(folders.key.exists)
    return Keepers(first, [await asyncio.to_thread(FileWrapper.open, folders.key)]) if there else first


async def look(settings: Settings, folders: Folders) -> str:
    """Which key-encryption key wraps, in words, from where it is kept; nothing is made.

    Raises:
        Misconfigured: it cannot be read, or a setting is missing. Unavailable, DeadlineExceeded: its keeper does not answer.
    """
    async with AsyncExitStack() as stack:
        if settings.keys.kind == "file":
            wrapper: Wrapper = await asyncio.to_thread(lambda: FileWrapper(b"", read=lambda: read_file(folders.key)))
        else:
            wrapper = await open_wrapper(stack, settings, folders)
        return f"{wrapper.label(await wrapper.newest())} wraps"


async def follow(wrapper: Wrapper, *, every_s: float) -> None:
    """Look for a newer key-encryption key every *every_s* seconds until cancelled, so that every process wraps with it."""
    while True:
        await asyncio.sleep(every_s)
        try:
            await wrapper.newest()
        except KalendsError as error:
            log.warning("key-encryption keys cannot be looked at", kind=error.code)
