"""The suite of the port ``kek``: key files, a folder with versions, and Vault (a strict server of ours, and a real one if there is one)."""

import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.support.vault_server import TOKEN, VaultServer, running

from kalends.adapters.embedded.kek import FileWrapper, add_successor
from kalends.adapters.vault.kek import open_vault
from kalends.domain.errors import Damaged, Unavailable
from kalends.domain.wrapped_keys import WrappedKey, decode, encode, kek_of
from kalends.ports.kek import Bound, Wrapper
from kalends.settings import KeysSettings

REAL = os.environ.get("VAULT_ADDR", "")


@dataclass
class Kept:
    """A keeper of key-encryption keys, and how it gets a newer one."""

    wrapper: Wrapper
    rotate: Callable[[], Awaitable[None]]


def bound(*, context: bytes = b"here") -> Bound:
    """A data key and its place."""
    return Bound(key=secrets.token_bytes(32), context=context)


@pytest.fixture(params=["file", "folder", "vault", *(["real vault"] if REAL else [])])
async def kept(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kept]:
    """Each adapter, with one key-encryption key."""
    if request.param == "file":
        wrapper = FileWrapper.open(tmp_path / "kek")

        async def successor() -> None:
            add_successor(tmp_path / "kek")

        yield Kept(wrapper, successor)
    elif request.param == "folder":
        place(tmp_path / "1")

        async def next_version() -> None:
            place(tmp_path / "2")

        yield Kept(FileWrapper.open_folder(tmp_path), next_version)
    elif request.param == "vault":
        place(tmp_path / "token", TOKEN.encode())
        async with running(VaultServer()) as server:

            async def newer() -> None:
                server.rotate()

            async with open_vault(KeysSettings(vault_url=server.url, vault_token_file=str(tmp_path / "token"))) as wrapper:
                yield Kept(wrapper, newer)
    else:
        async for one in real_vault(tmp_path):
            yield one


async def real_vault(folder: Path) -> AsyncIterator[Kept]:
    """A key of its own in the transit engine at VAULT_ADDR, by VAULT_TOKEN, which may make keys there."""
    name, mount = f"kalends-test-{secrets.token_hex(4)}", os.environ.get("KALENDS_TEST_VAULT_MOUNT", "transit")
    place(folder / "token", os.environ["VAULT_TOKEN"].encode())
    async with httpx.AsyncClient(base_url=REAL, headers={"x-vault-token": os.environ["VAULT_TOKEN"]}) as client:
        (await client.post(f"/v1/{mount}/keys/{name}", json={})).raise_for_status()

        async def newer() -> None:
            (await client.post(f"/v1/{mount}/keys/{name}/rotate", json={})).raise_for_status()

        settings = KeysSettings(vault_url=REAL, vault_mount=mount, vault_key=name, vault_token_file=str(folder / "token"))
        async with open_vault(settings) as wrapper:
            yield Kept(wrapper, newer)
        await client.post(f"/v1/{mount}/keys/{name}/config", json={"deletion_allowed": True})
        await client.delete(f"/v1/{mount}/keys/{name}")


def place(path: Path, content: bytes | None = None) -> None:
    """A private file with *content*, or with a key."""
    path.write_bytes(secrets.token_bytes(32) if content is None else content)
    path.chmod(0o600)


async def test_many_keys_come_back_in_their_order(kept: Kept) -> None:
    """More than fit into one question, each bound to a place of its own; none of them shows in what is stored."""
    keys = [bound(context=f"place {number}".encode()) for number in range(600)]

    wrapped = await kept.wrapper.wrap(keys)

    assert len(set(wrapped)) == 600
    assert not any(key.key in one for key, one in zip(keys, wrapped, strict=True))
    places = [Bound(key=one, context=key.context) for one, key in zip(wrapped, keys, strict=True)]
    assert await kept.wrapper.unwrap(places) == [key.key for key in keys]
    assert await kept.wrapper.unwrap([]) == await kept.wrapper.wrap([]) == []


async def test_one_key_that_does_not_open_takes_no_other_with_it(kept: Kept) -> None:
    """Moved, spoiled, cut or no key at all is damaged; under a key-encryption key that is not here it is away."""
    key = bound()
    (wrapped,) = await kept.wrapper.wrap([key])
    read = decode(wrapped)
    spoiled = encode(WrappedKey(kek=read.kek, body=read.body[:-3] + bytes([read.body[-3] ^ 1]) + read.body[-2:]))
    foreign = encode(WrappedKey(kek="of-somebody-else", body=read.body))
    stored = [
        (wrapped, b"there"),
        (spoiled, b"here"),
        (wrapped[: len(wrapped) // 2], b"here"),
        (b"", b"here"),
        (foreign, b"here"),
        (wrapped, b"here"),
    ]

    moved, changed, cut, empty, away, good = await kept.wrapper.unwrap([Bound(key=one, context=context) for one, context in stored])

    assert [type(one) for one in (moved, changed, cut, empty)] == [Damaged] * 4
    assert isinstance(away, Unavailable)
    assert good == key.key


async def test_a_newer_key_encryption_key_wraps_and_the_older_one_still_opens(kept: Kept) -> None:
    """What is stored says which one it needs."""
    key = bound()
    first = await kept.wrapper.newest()
    (before,) = await kept.wrapper.wrap([key])
    await kept.rotate()

    second = await kept.wrapper.newest()
    (after,) = await kept.wrapper.wrap([key])

    assert (kek_of(before), kek_of(after)) == (first, second)
    assert first != second
    assert await kept.wrapper.unwrap([Bound(key=one, context=key.context) for one in (before, after)]) == [key.key, key.key]
    assert kept.wrapper.knows(first)
    assert kept.wrapper.knows(second)
    assert not kept.wrapper.knows("of-somebody-else")
    assert kept.wrapper.label(first) != kept.wrapper.label(second)
