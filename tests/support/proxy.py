"""A TCP relay on loopback that can lose an answer: what a broken network does between a commit and its acknowledgement."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class Relay:
    """Relays to one server. ``lose`` makes it drop the next answer that holds some bytes, and the connection with it."""

    def __init__(self, target: str) -> None:
        self._host, self._port = urlsplit(target).hostname, urlsplit(target).port
        self._marks: list[bytes] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self.url = ""
        self.lost = 0

    def lose(self, *marks: bytes) -> None:
        """Lose one answer for each of *marks*, one after the other."""
        self._marks.extend(marks)

    def close(self) -> None:
        """Cut all connections."""
        for writer in self._writers:
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        upstream, downstream = await asyncio.open_connection(self._host, self._port)
        self._writers |= {writer, downstream}
        tasks = [
            asyncio.create_task(self._pipe(reader, downstream, answers=False)),
            asyncio.create_task(self._pipe(upstream, writer, answers=True)),
        ]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, downstream):
            end.close()
        await asyncio.wait(tasks)
        self._writers -= {writer, downstream}

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        try:
            while chunk := await reader.read(1 << 16):
                if answers and self._marks and self._marks[0] in chunk:
                    del self._marks[0]
                    self.lost += 1
                    return
                writer.write(chunk)
                await writer.drain()
        except OSError:
            return


@asynccontextmanager
async def relay(target: str) -> AsyncIterator[Relay]:
    """A relay to the server at *target* (``nats://host:port``)."""
    made = Relay(target)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        made.close()
        server.close()
        await server.wait_closed()
