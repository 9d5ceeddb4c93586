"""The suite of the port ``generations``, over folders, for both kinds of projection."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.contracts.projections import DIMENSION, SCOPE, direction, entry, key_of, vectors, window

from kalends.adapters.embedded import files
from kalends.adapters.embedded.generations import FIRST, FolderGenerations, ServingLexicon, ServingVectors
from kalends.adapters.embedded.lexicon import TantivyLexicon
from kalends.adapters.embedded.vectors import EdgeVectors
from kalends.domain.errors import Conflict, Damaged, Invalid
from kalends.domain.queries import Criteria

ALL = Criteria()


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of projection, and how the suite writes to it and asks it."""

    factory: Callable[[Path], Awaitable[Any]]
    serving: Callable[[Any], Any]
    put: Callable[[Any, str], Awaitable[None]]
    ask: Callable[[Any], Awaitable[Sequence[Any]]]


async def _put_words(index: Any, name: str) -> None:
    await index.put([entry(name, "billing")])


async def _put_vectors(index: Any, name: str) -> None:
    await index.put([vectors(entry(name), window("billing"))])


KINDS = {
    "lexicon": Kind(
        factory=TantivyLexicon.open,
        serving=ServingLexicon,
        put=_put_words,
        ask=lambda index: index.search(SCOPE, "billing", criteria=ALL, limit=5),
    ),
    "vectors": Kind(
        factory=lambda folder: EdgeVectors.open(folder, identity="test", dimension=DIMENSION),
        serving=ServingVectors,
        put=_put_vectors,
        ask=lambda index: index.nearest(SCOPE, direction("billing"), criteria=ALL, limit=5),
    ),
}


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind of projection in turn."""
    return KINDS[request.param]


@pytest.fixture
async def generations(kind: Kind, tmp_path: Path) -> AsyncIterator[FolderGenerations[Any]]:
    """A base folder in which nothing has happened yet."""
    opened = await FolderGenerations.open(tmp_path / "base", kind.factory)
    yield opened
    await opened.close()


async def answers(kind: Kind, index: Any) -> set[str]:
    """The keys that *index* finds."""
    return {hit.key for hit in await kind.ask(index)}


async def test_the_first_generation_serves_at_once(kind: Kind, generations: FolderGenerations[Any]) -> None:
    """An empty folder is a projection that holds nothing yet."""
    serving = kind.serving(generations)
    assert generations.current == FIRST
    assert await answers(kind, serving) == set()
    await kind.put(serving, "a")
    assert await answers(kind, serving) == {key_of("a")}
    assert await serving.count(SCOPE) == 1
    assert (await serving.digest()).events == 1


async def test_a_switch_changes_every_answer_from_then_on(kind: Kind, generations: FolderGenerations[Any], tmp_path: Path) -> None:
    """What is filled beside shows only after the switch, and still after a restart."""
    serving = kind.serving(generations)
    await kind.put(serving, "old")
    fresh = await generations.begin("g2")
    await kind.put(fresh, "new")
    assert await answers(kind, serving) == {key_of("old")}
    await generations.switch("g2")
    assert (generations.current, await answers(kind, serving)) == ("g2", {key_of("new")})
    await generations.close()

    again = await FolderGenerations.open(tmp_path / "base", kind.factory)
    try:
        assert (again.current, await answers(kind, kind.serving(again))) == ("g2", {key_of("new")})
    finally:
        await again.close()


async def test_queries_run_on_through_a_switch(kind: Kind, generations: FolderGenerations[Any]) -> None:
    """Each is answered by one of the two generations, none fails, and the last ones see the new one."""
    serving = kind.serving(generations)
    await kind.put(serving, "g1")
    stop = asyncio.Event()
    seen: list[set[str]] = []

    async def keep_asking() -> None:
        while not stop.is_set():
            seen.append(await answers(kind, serving))

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for _ in range(6):
            group.create_task(keep_asking())
        for name in ("g2", "g3", "g4"):
            await kind.put(await generations.begin(name), name)
            await generations.switch(name)
            before = len(seen)
            while len(seen) < before + 12:
                await kind.ask(serving)
        stop.set()

    assert all(answer in ({key_of(name)} for name in ("g1", "g2", "g3", "g4")) for answer in seen)
    assert await answers(kind, serving) == {key_of("g4")}


async def test_an_unfinished_generation_is_a_leftover_after_a_restart(
    kind: Kind, generations: FolderGenerations[Any], tmp_path: Path
) -> None:
    """It is listed, never serves, and can be dropped or begun again from nothing."""
    await kind.put(await generations.begin("g2"), "half")
    assert await generations.leftovers() == ["g2"]
    await generations.close()

    again = await FolderGenerations.open(tmp_path / "base", kind.factory)
    try:
        assert (again.current, await again.leftovers()) == (FIRST, ["g2"])
        assert await answers(kind, await again.begin("g2")) == set()
        await again.drop("g2")
        assert await again.leftovers() == []
        assert not (tmp_path / "base" / "g2").exists()
    finally:
        await again.close()


async def test_the_old_generation_stays_until_it_is_dropped(kind: Kind, generations: FolderGenerations[Any]) -> None:
    """So that there is a way back; dropping what does not exist is no error."""
    await generations.begin("g2")
    await generations.switch("g2")
    await generations.switch("g2")

    assert await generations.leftovers() == [FIRST]
    await generations.drop(FIRST)
    await generations.drop(FIRST)
    await generations.drop("never-was")
    assert await generations.leftovers() == []


async def test_the_current_generation_cannot_be_dropped_or_begun(generations: FolderGenerations[Any]) -> None:
    """Nor can one be switched to that was not begun, nor one leave the folder by its name."""
    for refused in (generations.drop(FIRST), generations.begin(FIRST), generations.switch("g9")):
        with pytest.raises(Conflict):
            await refused
    for name in ("../x", "", "G2", "a/b", "x" * 41):
        with pytest.raises(Invalid):
            await generations.begin(name)
        await generations.drop(name)


async def test_a_list_that_names_nothing_is_damaged(kind: Kind, generations: FolderGenerations[Any], tmp_path: Path) -> None:
    """An unreadable ``CURRENT`` must not look like an empty projection."""
    await generations.begin("g2")
    await generations.close()
    current = tmp_path / "base" / "CURRENT"
    for content in (b"\xff\x00", b"g3\n"):
        current.write_bytes(content)
        with pytest.raises(Damaged):
            await FolderGenerations.open(tmp_path / "base", kind.factory)
    current.unlink()
    with pytest.raises(Damaged):
        await FolderGenerations.open(tmp_path / "base", kind.factory)


async def test_a_first_opening_that_was_cut_short_is_begun_again(kind: Kind, generations: FolderGenerations[Any], tmp_path: Path) -> None:
    """The first generation was there, the list was not yet."""
    await generations.close()
    (tmp_path / "base" / "CURRENT").unlink()

    again = await FolderGenerations.open(tmp_path / "base", kind.factory)
    await again.close()
    assert again.current == FIRST


async def test_an_engine_that_only_lacks_room_is_not_lost(
    generations: FolderGenerations[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another generation would need room too; a folder that is gone is nothing to wait for."""
    free = {"bytes": files.ROOM_BYTES - 1}
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free["bytes"]))
    assert not await generations.is_lost()
    free["bytes"] += 1
    assert await generations.is_lost()

    monkeypatch.undo()
    (tmp_path / "base").rename(tmp_path / "elsewhere")
    assert await generations.is_lost()
    (tmp_path / "elsewhere").rename(tmp_path / "base")
