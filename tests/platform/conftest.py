"""One instance, shared by all tests that do not break it, and the people who talk to it."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.platform.people import OTHER_TENANT, Person
from tests.support.instance import Instance, wait_until

from kalends.adapters.embedded.clock import SystemClock
from kalends.adapters.nats import open_nats
from kalends.domain.credentials import RIGHTS
from kalends.domain.scope import Tenant
from kalends.edge.auth import Authenticator


@pytest.fixture(scope="session")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """One instance for all tests that do not break it; each takes a memory of its own."""
    with Instance(tmp_path_factory.mktemp("platform") / "data") as started:
        yield started.start()
        assert started.running, started.last_words
        assert started.terminate() == 0
        assert started.left_running() == []


@pytest.fixture(scope="session")
def prepared(instance: Instance) -> Callable[[Path], Path]:
    """Makes a folder a data folder that has the model's graph already, for instances of a test's own that are not about the model."""

    def prepare(folder: Path) -> Path:
        shutil.copytree(instance.data / "models", folder / "models")
        return folder

    return prepare


@pytest.fixture(scope="session")
def admin(instance: Instance) -> Iterator[Person]:
    """The holder of the first admin token."""
    with Person(instance, instance.token) as person:
        yield person


@pytest.fixture(scope="session")
def stranger(instance: Instance) -> Iterator[Person]:
    """An admin of another tenant on the same instance."""
    with another_tenant(instance) as person:
        yield person


@contextlib.contextmanager
def another_tenant(instance: Instance, tenant: str = OTHER_TENANT) -> Iterator[Person]:
    """An admin of another tenant; the token is written by somebody who may write records."""
    config = json.loads((instance.data / "nats" / "broker.conf").read_bytes())
    ours = config["authorization"]["users"][0]
    nats_url = json.loads((instance.data / "instance.json").read_bytes())["nats_url"]

    async def issue() -> tuple[str, str]:
        async with open_nats(url=nats_url, user=ours["user"], password=ours["password"]) as bus:
            authenticator = Authenticator(bus.records, clock=SystemClock())
            token, record = await authenticator.issue(Tenant(tenant), memories=None, rights=RIGHTS, label="the other tenant's admin")
            return token, record.id

    token, token_id = asyncio.run(issue())
    with Person(instance, token, token_id=token_id, tenant=tenant) as person:
        assert wait_until(lambda: person.ask("GET", "/memories").status_code == 200, seconds=10)
        yield person
