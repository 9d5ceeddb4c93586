"""Speaking to Vault: who asks, how long, how often, and what its refusals mean."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.vault_server import JWT, TOKEN, VaultServer, running

from kalends.adapters.vault.kek import VaultWrapper, open_vault
from kalends.domain.errors import DeadlineExceeded, Misconfigured, Unavailable
from kalends.ports.kek import Bound
from kalends.settings import KeysSettings

KEY = Bound(key=bytes(range(32)), context=b"here")


@pytest.fixture
async def server() -> AsyncIterator[VaultServer]:
    """A Vault with one key."""
    async with running(VaultServer(namespace="team")) as one:
        yield one


@pytest.fixture
async def wrapper(server: VaultServer, tmp_path: Path) -> AsyncIterator[VaultWrapper]:
    """The adapter with a token file."""
    async with open_vault(settings(server, tmp_path)) as one:
        yield one


def settings(server: VaultServer, folder: Path, **more: object) -> KeysSettings:
    """Settings for *server*, by a token file."""
    write(folder / "token", TOKEN)
    token_file = str(folder / "token")
    return KeysSettings(
        **{"vault_url": server.url, "vault_token_file": token_file, "vault_namespace": "team", "vault_deadline_s": 0.5, **more}  # type: ignore[arg-type]
    )


def write(path: Path, text: str) -> None:
    """A file with a line in it."""
    path.write_text(text + "\n", encoding="utf-8")


async def test_a_passing_failure_is_asked_once_more(server: VaultServer, wrapper: VaultWrapper) -> None:
    """A connection that broke, a standby, a sealed one; twice in a row is an outage."""
    for fault in (0, 429, 503):
        server.faults = [fault]
        (wrapped,) = await wrapper.wrap([KEY])
        assert await wrapper.unwrap([Bound(key=wrapped, context=KEY.context)]) == [KEY.key]

    for faults in ([503, 503], [0, 0]):
        server.faults = faults
        with pytest.raises(Unavailable) as told:
            await wrapper.wrap([KEY])
        assert told.value.dependency == "vault"


async def test_no_answer_in_time_is_no_answer(server: VaultServer, wrapper: VaultWrapper) -> None:
    """However long Vault would take."""
    server.held = asyncio.Event()

    with pytest.raises(DeadlineExceeded):
        await wrapper.wrap([KEY])


async def test_a_token_that_ended_is_read_again_from_its_file(server: VaultServer, wrapper: VaultWrapper, tmp_path: Path) -> None:
    """Whoever renews it writes the file; a token that stays refused is a wrong one."""
    await wrapper.wrap([KEY])
    server.tokens = {"hvs.second"}
    write(tmp_path / "token", "hvs.second")
    await wrapper.wrap([KEY])

    server.tokens = set()
    with pytest.raises(Misconfigured, match="capability"):
        await wrapper.wrap([KEY])


async def test_a_pod_logs_in_with_its_service_account_and_again_when_the_token_ended(server: VaultServer, tmp_path: Path) -> None:
    """Callers at the same time share one login; a refused login says as which role."""
    write(tmp_path / "jwt", JWT)
    pod = settings(server, tmp_path, vault_token_file="", vault_role="kalends", vault_jwt_file=str(tmp_path / "jwt"))
    async with open_vault(pod) as wrapper:
        await asyncio.gather(*(wrapper.wrap([KEY]) for _ in range(5)))
        assert server.logins == 1
        server.tokens.clear()
        await asyncio.gather(*(wrapper.wrap([KEY]) for _ in range(5)))
        assert server.logins == 2
        server.tokens.clear()
        server.role = "another"
        with pytest.raises(Misconfigured, match="role 'kalends'"):
            await wrapper.wrap([KEY])


async def test_a_key_or_a_mount_that_is_not_there_is_said(server: VaultServer, tmp_path: Path) -> None:
    """A typing error is none of those that pass."""
    async with open_vault(settings(server, tmp_path, vault_key="other")) as wrapper:
        with pytest.raises(Misconfigured, match="vault_key"):
            await wrapper.wrap([KEY])


async def test_a_version_that_vault_does_not_open_any_more_is_away_and_not_lost(server: VaultServer, wrapper: VaultWrapper) -> None:
    """Somebody raised ``min_decryption_version`` too early, which can be undone."""
    (old,) = await wrapper.wrap([KEY])
    server.rotate()
    server.oldest = 2

    (found,) = await wrapper.unwrap([Bound(key=old, context=KEY.context)])

    assert isinstance(found, Unavailable)
    assert "min_decryption_version" in found.detail


async def test_keys_go_in_batches(server: VaultServer, wrapper: VaultWrapper) -> None:
    """A thousand keys are four questions."""
    await wrapper.wrap([KEY] * 1000)

    assert server.batches == [250] * 4


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"vault_url": ""}, "vault_url"),
        ({"vault_url": "vault:8200"}, "vault_url"),
        ({"vault_url": "https://user:word@vault:8200"}, "without user"),
        ({"vault_token_file": ""}, "vault_role"),
        ({"vault_ca_file": "/nowhere/ca.pem"}, "vault_ca_file"),
    ],
)
async def test_settings_that_cannot_work_are_told_at_the_start(
    server: VaultServer, tmp_path: Path, wrong: dict[str, str], said: str
) -> None:
    """With the name of the setting."""
    with pytest.raises(Misconfigured, match=said):
        async with open_vault(settings(server, tmp_path, **wrong)):
            pass


@pytest.mark.parametrize("text", ["", "two words", "héllo"])
async def test_a_token_file_without_a_token_is_told(server: VaultServer, tmp_path: Path, text: str) -> None:
    """What it holds is not."""
    chosen = settings(server, tmp_path)
    write(tmp_path / "token", text)
    async with open_vault(chosen) as wrapper:
        with pytest.raises(Misconfigured, match="vault_token_file"):
            await wrapper.wrap([KEY])
