"""TCP lines on loopback that can be cut and healed: what a network between machines does, without being root.

Belongs here: relaying bytes, holding them back, refusing connections. Does not belong here: who talks over a line (``nats_cluster``). A
newcomer would get wrong: a line that is held loses nothing. Like TCP over a network that drops packets it keeps the connections, and when
it is healed it delivers what was sent meanwhile, late; only a refused line ends the connections.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Literal, Self

Cut = Literal["hold", "refuse"]
_CHUNK = 1 << 16
_THREAD_S = 120.0
"""For what takes milliseconds: a line that was held for ten minutes has a thousand connections, all of which wake when it is healed."""


@dataclass(slots=True, eq=False)
class _Line:
    """One line: where it leads, whether bytes pass, and what is open on it."""

    target: int
    passes: asyncio.Event = field(default_factory=asyncio.Event)
    refuses: bool = False
    port: int = 0
    server: asyncio.Server | None = None
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    async def open(self) -> None:
        """Listen on a port that stays its own."""
        self.passes.set()
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.writers.add(writer)
        try:
            await self.passes.wait()
            if self.refuses:
                return
            upstream, downstream = await asyncio.open_connection("127.0.0.1", self.target)
            self.writers.add(downstream)
            try:
                await self._both_ways((reader, downstream), (upstream, writer))
            finally:
                downstream.close()
                self.writers.discard(downstream)
        except (OSError, asyncio.CancelledError):
            return
        finally:
            writer.close()
            self.writers.discard(writer)
            self.tasks.discard(task)

    async def _both_ways(self, *pairs: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        pipes = [asyncio.create_task(self._pipe(reader, writer)) for reader, writer in pairs]
        try:
            await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pipe in pipes:
                pipe.cancel()
            await asyncio.gather(*pipes, return_exceptions=True)

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(_CHUNK):
                await self.passes.wait()
                writer.write(chunk)
                await writer.drain()
        except OSError:
            return

    def cut(self, how: Cut) -> None:
        """Let nothing pass any more."""
        if how == "hold":
            self.passes.clear()
            return
        self.refuses = True
        for writer in self.writers:
            writer.close()

    def heal(self) -> None:
        """Let everything pass, what was held first."""
        self.refuses = False
        self.passes.set()

    async def close(self) -> None:
        """End it and all that is open on it."""
        assert self.server is not None
        self.server.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class Lines:
    """Lines by name, relayed in a thread of their own, so that tests of any kind can use them; a context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lines", daemon=True)
        self._lines: dict[tuple[int, int], _Line] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for line in self._lines.values():
            self._do(line.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_THREAD_S)
        self._loop.close()

    def add(self, name: tuple[int, int], *, target: int) -> int:
        """A new line to the port *target*; the port at which it begins."""
        self._do(self._add(name, target))
        return self._lines[name].port

    def cut(self, chosen: Callable[[tuple[int, int]], bool], *, how: Cut) -> None:
        """Cut the lines whose names are *chosen*."""
        self._do(self._all(chosen, lambda line: line.cut(how)))

    def heal(self) -> None:
        """Let everything pass again."""
        self._do(self._all(lambda _: True, _Line.heal))

    async def _add(self, name: tuple[int, int], target: int) -> None:
        line = _Line(target)
        await line.open()
        self._lines[name] = line

    async def _all(self, chosen: Callable[[tuple[int, int]], bool], act: Callable[[_Line], None]) -> None:
        for name, line in self._lines.items():
            if chosen(name):
                act(line)

    def _do(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_THREAD_S)
