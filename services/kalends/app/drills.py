"""The installation that a restore drill makes: a broker of its own in a scratch folder, and nothing that serves.

Belongs here: making it and removing it. Does not belong here: what is compared (``backups.drilling``). A newcomer would get wrong: it never
listens to anybody but this process, has the same keeper of the key-encryption key, and what a killed process left of one is removed by the
next.
"""

import asyncio
import re
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import IO

import msgspec

from kalends.adapters.embedded import files
from kalends.app import brokers, parts
from kalends.app.folders import Folders
from kalends.backups.catalogue import Catalogue
from kalends.backups.copies import Copies
from kalends.backups.drilling import Installation
from kalends.backups.replaying import RestoreAll
from kalends.backups.taking import Sources
from kalends.domain.errors import Occupied, Unavailable
from kalends.edge.metrics import new_metrics
from kalends.ports.kek import Wrapper
from kalends.settings import LogSettings, Settings, TlsSettings
from kalends.wire.erasures import ErasureStore
from kalends.wire.seal import check_seal
from kalends.wire.vault import Vault

_PREFIX = "kalends-drill-"
_NAME = re.compile(_PREFIX + "[0-9a-f]{16}")
"""The folder may be somebody's who keeps other things there: only what can be none but ours is ever removed."""

_TIMES = 2
"""The broker's blocks and indexes need more room than what is sealed in a backup."""

_SPARE_BYTES = 256 << 20


class ScratchInstallations:
    """Makes them in ``backup.drill_folder``; see ``backups.drilling.Scratch``."""

    def __init__(self, settings: Settings, where: Folders, *, catalogue: Catalogue, copies: Copies, wrapper: Wrapper) -> None:
        # on loopback, for nobody but us: no certificate is needed, and that of our listeners may name other hosts
        self._settings = msgspec.structs.replace(settings, log=_own_log(settings.log), tls=TlsSettings())
        named = settings.backup.drill_folder
        self._root = Path(named).expanduser().absolute() if named else where.data / "drill"
        self._catalogue = catalogue
        self._copies = copies
        self._wrapper = wrapper

    @asynccontextmanager
    async def __call__(self, *, size: int) -> AsyncIterator[Installation]:
        """One with room for *size* bytes.

        Raises:
            Unavailable: there is no room, or the broker does not start.
        """
        folder, owned = await asyncio.to_thread(_prepare, self._root, size * _TIMES + _SPARE_BYTES)
        try:
            async with AsyncExitStack() as stack:
                yield await self._open(stack, Folders(data=folder, token=folder / "token", key=folder / "kek"))
        finally:
            await asyncio.to_thread(_remove, folder, owned)

    async def _open(self, stack: AsyncExitStack, where: Folders) -> Installation:
        broker, place = await brokers.open_broker(stack, self._settings, where, brokers.Users())
        bus = await parts.open_bus(stack, self._settings, where, place, new_metrics(version=""), own=broker is not None)
        await check_seal(bus.records, self._wrapper)
        sources = Sources(log=bus.log, keys=bus.keys, records=bus.records, ledger=bus.ledger, audit=bus.audit)
        erasures = ErasureStore(records=bus.records, keys=bus.keys, vault=Vault(keys=bus.keys, wrapper=self._wrapper))
        restore = RestoreAll(catalogue=self._catalogue, copies=self._copies, sources=sources, erasures=erasures, wrapper=self._wrapper)
        return Installation(sources=sources, restore=restore)


def _own_log(settings: LogSettings) -> LogSettings:
    """A broker of one's own, whatever the living one is."""
    return msgspec.structs.replace(settings, url="", user="", password_file="", ca_file="", certificate_file="", key_file="", replicas=1)


def _prepare(root: Path, room: int) -> tuple[Path, IO[bytes]]:
    """A folder of our own below *root*, and what holds it; what drills that were killed left there is removed."""
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in root.iterdir():
            if _NAME.fullmatch(left.name) and left.is_dir() and not left.is_symlink():
                _remove_unless_held(left)
        if shutil.disk_usage(root).free < room:
            raise Unavailable(f"the disk of {root} has no room for a restore drill", dependency="disk", retry_after=60.0)
        folder = root / f"{_PREFIX}{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        return folder, files.hold(folder)
    except OSError as error:
        raise Unavailable(f"{root} cannot be used for a restore drill: {error.strerror}", dependency="disk", retry_after=60.0) from error


def _remove_unless_held(left: Path) -> None:
    """Another installation may have a drill under way in the same folder."""
    with suppress(Occupied), files.hold(left):
        shutil.rmtree(left)


def _remove(folder: Path, owned: IO[bytes]) -> None:
    with owned:
        shutil.rmtree(folder, ignore_errors=True)
