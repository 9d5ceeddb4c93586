"""Qdrant killed, slow, cut off, and with keys and certificates that do not fit.

Belongs here: what the adapter makes of a server that fails; over our wire server, which can be killed. Does not belong here: writers that
meet (``test_qdrant_interleavings``). A newcomer would get wrong: a write whose answer was lost may have happened; the same again finishes
it.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from tests.contracts.projections import DIMENSION, SCOPE, direction, entry, key_of, vectors, window
from tests.support.instance import free_port
from tests.support.lines import Lines
from tests.support.qdrant_wire import certificates
from tests.support.qdrant_wire.running import WireServer
from tests.support.waiting import until

from kalends.adapters.qdrant.generations import QdrantGenerations, open_generations
from kalends.adapters.qdrant.vectors import QdrantVectors
from kalends.domain.errors import DeadlineExceeded, KalendsError, Misconfigured, Unavailable
from kalends.domain.queries import Criteria
from kalends.settings import QdrantSettings

pytestmark = pytest.mark.cluster

ALL = Criteria()
LINE = (0, 0)


@asynccontextmanager
async def generations(settings: QdrantSettings) -> AsyncIterator[QdrantGenerations]:
    """A store with one generation, which serves."""
    async with open_generations(settings, identity="test", dimension=DIMENSION) as store:
        await store.make("g1")
        await store.point("g1")
        yield store


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WireServer]:
    """A server of this test's own."""
    with WireServer(tmp_path / "server") as started:
        yield started


async def put(index: QdrantVectors, *names: str) -> None:
    """Write events of three windows each."""
    await index.put([vectors(entry(name), window(name), window(f"{name}/1"), window(f"{name}/2")) for name in names])


async def near(index: QdrantVectors, name: str, *, limit: int = 1) -> list[str]:
    """The keys that answer."""
    return [hit.key for hit in await index.nearest(SCOPE, direction(name), criteria=ALL, limit=limit)]


async def answers(index: QdrantVectors) -> bool:
    """Whether it can be written again."""
    try:
        await index.put([], [])
    except (Unavailable, DeadlineExceeded) as error:
        return not str(error)
    return True


async def test_a_server_that_is_killed_while_writing_loses_nothing_acknowledged(server: WireServer) -> None:
    """Three times; what was cut off is written again, and then the digest is that of an undisturbed server."""
    settings = server.settings()
    async with generations(settings) as store:
        index = store.index("g1")
        acknowledged: list[str] = []

        async def write(names: list[str]) -> None:
            for start in range(0, len(names), 5):
                batch = names[start : start + 5]
                while True:
                    try:
                        await put(index, *batch)
                        break
                    except (Unavailable, DeadlineExceeded):
                        await until(lambda: answers(index), deadline=60.0)
                acknowledged.extend(batch)

        names = [f"n{number}" for number in range(200)]
        writing = asyncio.create_task(write(names))
        for kills in range(1, 4):
            await until(lambda kills=kills: len(acknowledged) >= 50 * kills or writing.done(), deadline=60.0)
            server.kill()
            held = list(acknowledged)
            await asyncio.to_thread(server.start)
            await until(lambda: answers(index), deadline=60.0)
            found = {one.key for one in await index.held(SCOPE.key, [key_of(name) for name in held])}
            assert found >= {key_of(name) for name in held}
        await writing

        await store.make("g2")
        await put(store.index("g2"), *names)
        assert await index.digest() == await store.index("g2").digest()
        assert await near(store.serving, "n171") == await near(store.serving, "n171/2") == [key_of("n171")]


async def test_a_server_that_is_away_is_unavailable_and_comes_back_by_itself(server: WireServer) -> None:
    """The probe says so too; the dependency is named, and the same client goes on."""
    async with generations(server.settings(deadline_s=10.0, write_deadline_s=10.0)) as store:
        index = store.index("g1")
        await put(index, "a")
        server.kill()
        for call in (index.put([], []), put(index, "b"), near(store.serving, "a"), index.digest(), store.names(), store.pointed()):
            with pytest.raises(Unavailable) as caught:
                await call
            assert caught.value.dependency == "vector"
        await asyncio.to_thread(server.start)

        await until(lambda: answers(index), deadline=60.0)
        await put(index, "b")
        assert await near(store.serving, "b") == [key_of("b")]


async def test_nobody_there_from_the_start_is_unavailable() -> None:
    """Opening sends nothing, so it does not fail."""
    settings = QdrantSettings(url=f"http://127.0.0.1:{free_port()}")
    async with open_generations(settings, identity="test", dimension=DIMENSION) as store:
        with pytest.raises(Unavailable):
            await store.make("g1")


async def test_an_answer_that_does_not_come_ends_at_the_deadline(server: WireServer) -> None:
    """For reads and writes; what was held up arrives later, and writing it again changes nothing."""
    with Lines() as lines:
        port = lines.add(LINE, target=server.port)
        settings = server.settings(url=f"http://127.0.0.1:{port}")
        async with generations(settings) as store:
            await put(store.index("g1"), "a")
        brief = msgspec.structs.replace(settings, deadline_s=0.3, write_deadline_s=0.3)
        async with open_generations(brief, identity="test", dimension=DIMENSION) as store:
            index = store.index("g1")
            await until(lambda: answers(index))
            lines.cut(lambda _: True, how="hold")
            for call in (near(store.serving, "a"), put(index, "b"), store.names()):
                with pytest.raises((DeadlineExceeded, Unavailable)) as caught:
                    await call
                assert caught.value.dependency == "vector"
            lines.heal()
            await until(lambda: answers(index))
        async with open_generations(settings, identity="test", dimension=DIMENSION) as store:
            await put(store.index("g1"), "b")
            assert await near(store.serving, "b/2") == [key_of("b")]
            assert await store.serving.count(SCOPE) == 2


async def test_a_line_that_is_cut_while_writing_loses_nothing(server: WireServer) -> None:
    """Connections end, new ones are refused, and then it is mended."""
    with Lines() as lines:
        port = lines.add(LINE, target=server.port)
        async with generations(server.settings(url=f"http://127.0.0.1:{port}")) as store:
            index = store.index("g1")
            done: list[str] = []
            failures: list[KalendsError] = []

            async def write() -> None:
                for number in range(120):
                    while True:
                        try:
                            await put(index, f"n{number}")
                            break
                        except (Unavailable, DeadlineExceeded) as error:
                            failures.append(error)
                            await until(lambda: answers(index), deadline=60.0)
                    done.append(f"n{number}")

            writing = asyncio.create_task(write())
            for cut in range(1, 4):
                await until(lambda cut=cut: len(done) >= 25 * cut, deadline=60.0)
                lines.cut(lambda _: True, how="refuse")
                await until(lambda cut=cut: len(failures) >= cut or writing.done(), deadline=60.0)
                lines.heal()
            await writing

            assert failures != []
            assert await index.count(SCOPE) == 120
            assert len(await index.held(SCOPE.key, [key_of(name) for name in done])) == 120


async def test_a_key_that_does_not_fit_is_a_wrong_setting(tmp_path: Path) -> None:
    """And no outage: waiting would not help; the key is not in the words."""
    for name, content in (("right", "r1ght\n"), ("wrong", "wr0ng\n")):
        (tmp_path / name).write_text(content, encoding="utf-8")
    with WireServer(tmp_path / "server", "--api-key-file", str(tmp_path / "right")) as server:
        async with generations(server.settings(api_key_file=str(tmp_path / "right"))) as store:
            await put(store.index("g1"), "a")
            assert await near(store.serving, "a") == [key_of("a")]
        for path in (str(tmp_path / "wrong"), ""):
            async with open_generations(server.settings(api_key_file=path), identity="test", dimension=DIMENSION) as store:
                for call in (store.make("g1"), store.index("g1").put([], []), near(store.serving, "a")):
                    with pytest.raises(Misconfigured, match="UNAUTHENTICATED") as caught:
                        await call
                    assert "wr0ng" not in str(caught.value)


async def test_a_connection_is_private_and_knows_whom_it_speaks_to(tmp_path: Path) -> None:
    """With an authority of our own; another authority's word, or none, is not enough, and nothing is sent in the open."""
    made, strange = certificates.make(tmp_path / "ours"), certificates.make(tmp_path / "strange")
    with WireServer(tmp_path / "server", "--cert", str(made.certificate), "--key", str(made.key)) as server:
        settings = server.settings(ca_file=str(made.authority), deadline_s=10.0, write_deadline_s=10.0)
        async with generations(settings) as store:
            await put(store.index("g1"), "a")
            assert await near(store.serving, "a") == [key_of("a")]
        wrong = [
            msgspec.structs.replace(settings, ca_file=str(strange.authority)),
            msgspec.structs.replace(settings, ca_file=""),
            msgspec.structs.replace(settings, url=settings.url.replace("https", "http"), ca_file=""),
        ]
        for other in wrong:
            async with open_generations(other, identity="test", dimension=DIMENSION) as store:
                with pytest.raises((Unavailable, DeadlineExceeded)):
                    await store.names()
