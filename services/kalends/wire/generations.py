"""Generations of a projection whose store several processes share: which one serves stands in a record, and an alias follows it.

Belongs here: the record, and the port ``generations`` over it and a ``GenerationStore``. Does not belong here: a store's own way of keeping
them (``adapters``). A newcomer would get wrong: the record decides and not the alias, because the record also says whose durable consumer
feeds the index: an index that was lost must not be made again under its old name, or what its consumer has acknowledged would be missing.
"""

import secrets
from collections.abc import Sequence
from typing import Generic, TypeVar

import structlog
from google.protobuf.message import DecodeError

from kalends.domain.errors import Conflict, Damaged, Invalid, NotFound, Unavailable
from kalends.ports.generations import GenerationStore
from kalends.ports.records import Record, Records
from kalends.wire.gen.kalends.v1 import work_pb2 as pb

log = structlog.get_logger(__name__)

KIND = "generation"
_OWNER = "instance"

IndexT = TypeVar("IndexT")


class CurrentGeneration:
    """Which generation of *projection* serves, as the record says; for those who only need its name, such as its consumer's."""

    def __init__(self, records: Records, *, projection: str) -> None:
        self._records = records
        self._projection = projection
        self.current = ""
        """The name; empty until one is known."""

    async def refresh(self) -> str:
        """The name, asked anew; empty while there is none that was ever filled.

        Raises:
            Unavailable, DeadlineExceeded: the record cannot be had. Damaged: it cannot be read.
        """
        record, stored = await self._read()
        self.current = stored.current if record is not None and stored.made else ""
        return self.current

    async def claim(self) -> tuple[str, bool]:
        """The name that is current or is to be made, and whether it was made before; takes a new one if there is none yet."""
        while True:
            record, stored = await self._read()
            if record is not None:
                return stored.current, stored.made
            await self._write(_new_name(), made=False, revision=0)

    async def replace(self, lost: str) -> str:
        """The name of the generation that takes the place of *lost*; another process may have taken one first."""
        while True:
            record, stored = await self._read()
            if record is None or stored.current != lost or not stored.made:
                return stored.current or (await self.claim())[0]
            await self._write(_new_name(), made=False, revision=record.revision)

    async def made(self, name: str) -> None:
        """Note that *name*, the current one, has been made; if it is no longer the current one nothing happens."""
        while True:
            record, stored = await self._read()
            if record is None or stored.current != name or stored.made:
                break
            if await self._write(name, made=True, revision=record.revision):
                break
        await self.refresh()

    async def switch(self, name: str) -> None:
        """Make *name*, which is full, the current one."""
        while True:
            record, _ = await self._read()
            if await self._write(name, made=True, revision=0 if record is None else record.revision):
                break
        self.current = name

    async def _read(self) -> tuple[Record | None, pb.Generation]:
        record = await self._records.get(KIND, _OWNER, self._projection)
        if record is None:
            return None, pb.Generation()
        try:
            return record, pb.Generation.FromString(record.value)
        except DecodeError as error:
            raise Damaged(f"the record of the current generation of {self._projection} cannot be read") from error

    async def _write(self, name: str, *, made: bool, revision: int) -> bool:
        value = pb.Generation(current=name, made=made).SerializeToString()
        try:
            await self._records.put(KIND, _OWNER, self._projection, value, revision=revision)
        except Conflict:
            return False
        return True


class SharedGenerations(Generic[IndexT]):
    """See ``ports.generations.Generations``; the store is shared by every process of the instance."""

    def __init__(self, store: GenerationStore[IndexT], current: CurrentGeneration, *, dependency: str) -> None:
        self._store = store
        self._current = current
        self._dependency = dependency
        self._pointed = ""
        """The generation that the alias was seen to name."""

        self._fits = ""
        """The generation that is known to be one that this version writes."""

    @property
    def current(self) -> str:
        """The generation that serves, as this process knows it; empty until one was made."""
        return self._current.current

    @property
    def serving(self) -> IndexT:
        """What answers questions: the index behind the alias."""
        return self._store.serving

    async def ensure(self) -> None:
        """See to it that there is a current generation, that its index is there, and that the alias names it; again changes nothing.

        Raises:
            Unavailable, DeadlineExceeded: the store or the record is away. Misconfigured: the index is not one that this version writes.
        """
        while True:
            name, made = await self._current.claim()
            if made and name not in await self._store.names():
                log.warning("the index is gone from its store and is built anew from the log", projection=self._dependency, generation=name)
                name, made = await self._current.replace(name), False
            if not made:
                await self._store.make(name)
            if await self._store.pointed() != name or self._fits != name:
                # also where the alias names it already, for a store looks at what it points to: another version may have made it
                await self._store.point(name)
                self._fits = name
            await self._current.made(name)
            if self.current == name:
                return
            # another process has switched meanwhile, and we may have pointed back to what it is about to drop

    async def refresh(self) -> str:
        """The generation that serves, asked anew; a switch that was cut short is completed."""
        name = await self._current.refresh()
        if name and name != self._pointed:
            if await self._store.pointed() != name:
                await self._point(name)
            self._pointed = name
        return name

    async def _point(self, name: str) -> None:
        try:
            await self._store.point(name)
        except NotFound as error:
            raise self._gone() from error

    def _gone(self) -> Unavailable:
        return Unavailable("the index is gone from its store", dependency=self._dependency)

    async def look(self) -> None:
        """Look whether the store answers and serves what it should; an alias that names something else is put right.

        Raises:
            Unavailable: the current generation is gone from the store. Unavailable, DeadlineExceeded: the store or the record is away.
        """
        pointed, name = await self._store.pointed(), await self.refresh()
        if not name or pointed == name:
            return
        if name not in await self._store.names():
            raise self._gone()
        if await self._store.pointed() != await self.refresh():
            await self._point(self.current)

    async def is_lost(self) -> bool:
        """Whether the store answers and has no current generation any more."""
        name = await self._current.refresh()  # what this process knew may have been replaced and dropped
        return bool(name) and name not in await self._store.names()

    def index(self, name: str) -> IndexT:
        """The index of generation *name*."""
        if not name:
            raise Unavailable("no index has been made yet", dependency=self._dependency)
        return self._store.index(name)

    async def begin(self, name: str) -> IndexT:
        """Make an empty generation; what an earlier attempt of that name left is deleted first.

        Raises:
            Conflict: it is the current one. Invalid: the name is no token.
        """
        if not name or name.strip("abcdefghijklmnopqrstuvwxyz0123456789-"):
            raise Invalid(f"{name!r} is not a name for a generation")
        if name == await self.refresh():
            raise Conflict(f"{name} is the current generation")
        await self._store.drop(name)
        await self._store.make(name)
        return self._store.index(name)

    async def resume(self, name: str) -> IndexT | None:
        """The index of a generation that was begun and does not serve yet."""
        if name == self.current or name not in await self._store.names():
            return None
        return self._store.index(name)

    async def switch(self, name: str) -> None:
        """Serve *name* from now on, in every process.

        Raises:
            Conflict: no generation of that name was begun.
        """
        if name == self.current:
            return
        if name not in await self._store.names():
            raise Conflict(f"no generation {name} was begun")
        await self._current.switch(name)
        await self._store.point(name)

    async def drop(self, name: str) -> None:
        """Delete a generation.

        Raises:
            Conflict: it is the current one.
        """
        if name == await self.refresh():
            raise Conflict(f"{name} is the current generation")
        await self._store.drop(name)

    async def leftovers(self) -> Sequence[str]:
        """Generations that are there and are not current."""
        current = await self.refresh()
        return [name for name in await self._store.names() if name != current]


def _new_name() -> str:
    """A name that was never used: a consumer of that name would know of acknowledgements that the index has never seen."""
    return f"g{secrets.token_hex(8)}"
