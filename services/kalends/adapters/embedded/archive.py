"""The archive in a folder: one file for each object, on whatever disk the folder is.

Belongs here: names to paths, and writing so that a file is whole or not there. Does not belong here: what an object is. A newcomer would
get wrong: a file gets its name by a link and not by a rename, because a rename would silently replace one that is there; and the names are
only durable once the folders have been synced, each up to the first that was there before.
"""

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

from kalends.adapters.embedded import files
from kalends.adapters.embedded.threads import Lane
from kalends.domain.errors import Conflict, Invalid, NotFound, Unavailable
from kalends.ports.archive import NAME, PIECE_BYTES, Kept

P = ParamSpec("P")
T = TypeVar("T")

_DEPENDENCY = "archive"
_PRIVATE, _PRIVATE_FOLDER = 0o600, 0o700
_THREADS = 2


class FolderArchive:
    """Objects below *root*, which is made when the first is put; see ``ports.archive.Archive``. Files are for their owner only."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lane = Lane(_DEPENDENCY, threads=_THREADS, nice=5)

    async def put(self, name: str, pieces: AsyncIterator[bytes]) -> int:
        """Keep what *pieces* give, durably, under *name*; its size.

        Raises:
            Conflict: there is such an object. Invalid: the name is none. Unavailable: the disk is full, or cannot be written.
        """
        path = self._path(name)
        temporary = path.with_name(f".{secrets.token_hex(8)}")
        handle = await self._run(_begin, self._root, path, temporary)
        size = 0
        try:
            async for piece in pieces:
                await self._run(_write, handle, piece)
                size += len(piece)
            await self._run(_finish, handle, temporary, path, self._root)
        finally:
            # also when this task is cancelled: the file is closed once, and the name of the draft never stays
            with contextlib.suppress(OSError):
                os.close(handle)
            temporary.unlink(missing_ok=True)
        return size

    async def get(self, name: str) -> AsyncGenerator[bytes, None]:
        """The bytes of an object in order, in pieces of up to ``PIECE_BYTES``.

        Raises:
            NotFound: there is none. Unavailable: the disk cannot be read.
        """
        path = self._path(name)
        handle = await self._run(_open, path, name)
        try:
            while piece := await self._run(os.read, handle, PIECE_BYTES):
                yield piece
        finally:
            os.close(handle)

    async def list(self, prefix: str) -> Sequence[Kept]:
        """The objects whose name begins with *prefix*, by name.

        Raises:
            Unavailable: the disk cannot be read.
        """
        found = await self._run(lambda: [one for one in _walk(self._root) if one.name.startswith(prefix)])
        return sorted(found)

    async def remove(self, name: str) -> bool:
        """Take an object away for good; whether there was one.

        Raises:
            Unavailable: the disk cannot be written.
        """
        return await self._run(_remove, self._path(name), self._root)

    async def close(self) -> None:
        """End the threads."""
        await self._lane.close()

    def _path(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise Invalid("a name in the archive has parts of letters, digits, '.', '_' and '-', with slashes between them")
        return self._root / name

    async def _run(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        work = asyncio.ensure_future(self._lane.run(call, *args, **kwargs))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([work])  # a file must not be closed under a thread that writes to it
            raise
        except OSError as error:
            detail = f"the archive in {self._root} cannot be used: {error.strerror or type(error).__name__}"
            raise Unavailable(detail, dependency=_DEPENDENCY, retry_after=5.0) from error


def _begin(root: Path, path: Path, temporary: Path) -> int:
    for folder in reversed([path.parent, *path.parent.parents]):
        if folder == root or root in folder.parents:
            folder.mkdir(exist_ok=True, mode=_PRIVATE_FOLDER, parents=folder == root)
    files.need_room(path.parent)
    if path.exists():
        raise Conflict(f"{path.name} is in the archive already")
    return os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE)


def _write(handle: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(handle, view) :]


def _finish(handle: int, temporary: Path, path: Path, root: Path) -> None:
    os.fsync(handle)
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise Conflict(f"{path.name} is in the archive already") from None
    temporary.unlink()
    for folder in (path.parent, *path.parent.parents):
        files.sync_folder(folder)
        if folder == root:
            break


def _open(path: Path, name: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise NotFound(f"the archive has no {name}") from None


def _walk(root: Path) -> Iterator[Kept]:
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if NAME.fullmatch(name):
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                if path.is_file():
                    yield Kept(name, path.stat().st_size)


def _remove(path: Path, root: Path) -> bool:
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
    files.sync_folder(path.parent)
    for folder in (path.parent, *path.parent.parents):
        if folder == root or root not in folder.parents:
            break
        try:
            folder.rmdir()
        except OSError:
            break  # there is more in it
    return True
