"""What a process does about its own memory while it starts."""

import contextlib
import gc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kalends.app import host
from kalends.app.folders import Folders, folders_of
from kalends.domain.errors import Misconfigured
from kalends.settings import HttpSettings, Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An instance on free ports, with a folder of its own."""
    return Settings(data=str(tmp_path), http=HttpSettings(port=0, ops_port=0))


@pytest.fixture
def where(settings: Settings) -> Folders:
    """Its folders."""
    return folders_of(settings)


async def test_the_collector_rests_while_it_starts_and_works_once_it_serves(
    settings: Settings, where: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that stayed off would let memory grow for as long as the process lives."""
    works: list[bool] = []

    @contextlib.asynccontextmanager
    async def build(*_: object) -> AsyncIterator[None]:
        works.append(gc.isenabled())
        yield

    async def serve(*_: object) -> None:
        works.append(gc.isenabled())

    monkeypatch.setattr(host.container, "build", build)
    monkeypatch.setattr(host, "_serve", serve)
    await host._main(["ingest"], settings, where, lambda _: None)

    gc.unfreeze()
    assert works == [False, True]
    assert gc.isenabled()


async def test_the_collector_works_after_a_start_that_failed(settings: Settings, where: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever tries it in a process of his own goes on."""

    @contextlib.asynccontextmanager
    async def build(*_: object) -> AsyncIterator[None]:
        raise Misconfigured("no")
        yield

    monkeypatch.setattr(host.container, "build", build)
    with pytest.raises(Misconfigured):
        await host._main(["ingest"], settings, where, lambda _: None)

    assert gc.isenabled()
