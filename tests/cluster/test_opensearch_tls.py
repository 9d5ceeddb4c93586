"""TLS and credentials on the way to OpenSearch, judged by a proxy of ours; see ``tests.support.tls_proxy`` for what that does not prove."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec
import pytest
from tests.contracts.projections import SCOPE, entry, key_of
from tests.support.opensearch.nodes import shared_node
from tests.support.opensearch.stores import fresh_settings, made
from tests.support.tls_proxy import Authority, TlsProxy, tls_proxy

from kalends.adapters.opensearch import open_generations
from kalends.domain.errors import KalendsError, Misconfigured, Unavailable
from kalends.domain.queries import Criteria
from kalends.settings import OpensearchSettings

pytestmark = pytest.mark.cluster

PASSWORD = "correct horse: battery/staple"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Who signs certificates in this test."""
    return Authority(tmp_path / "certificates")


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    """A file with the right password, with a line break as editors leave it."""
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n", encoding="utf-8")
    return str(path)


async def behind(authority: Authority, **wanted: str | Path) -> AbstractAsyncContextManager[TlsProxy]:
    """A proxy before the session's node that asks for what is *wanted*."""
    node = await asyncio.to_thread(shared_node)
    return tls_proxy(node.url, authority.server(), **wanted)  # type: ignore[arg-type]  # of one type each, by the callers below


async def use(settings: OpensearchSettings) -> None:
    """Write and find."""
    async with open_generations(settings) as store:
        await made(store)
        # large enough to be sent in several pieces
        await store.serving.put([entry(f"n{number}", "billing " + "words " * 2000) for number in range(100)] + [entry("a", "invoices")])
        hits = await store.serving.search(SCOPE, "invoices", criteria=Criteria(), limit=5)
    assert [hit.key for hit in hits] == [key_of("a")]


async def refused(settings: OpensearchSettings) -> KalendsError:
    """What comes of making an index; what is written meanwhile is an outage, so that no event is put aside for it."""
    async with open_generations(settings) as store:
        with pytest.raises(Unavailable):
            await store.serving.put([entry("a", "billing")])
        with pytest.raises(KalendsError) as caught:
            await store.make("g1")
    return caught.value


async def test_a_password_opens_the_door_and_is_shown_with_every_request(authority: Authority, password_file: str) -> None:
    """Over TLS that is checked against the authority that was named."""
    async with await behind(authority, user="kalends", password=PASSWORD) as proxy, fresh_settings() as settings:
        secure = {"urls": proxy.url, "ca_file": str(authority.file), "user": "kalends", "password_file": password_file}
        await use(msgspec.structs.replace(settings, **secure))

    assert proxy.refused == 0
    assert proxy.passed > 5


async def test_a_wrong_password_is_a_misconfiguration_that_names_no_secret(authority: Authority, tmp_path: Path) -> None:
    """Waiting would not help, and the error can be shown to anybody."""
    wrong = tmp_path / "wrong"
    wrong.write_text("not it", encoding="utf-8")
    async with await behind(authority, user="kalends", password=PASSWORD) as proxy, fresh_settings() as settings:
        known = msgspec.structs.replace(settings, urls=proxy.url, ca_file=str(authority.file))
        with_wrong = await refused(msgspec.structs.replace(known, user="kalends", password_file=str(wrong)))
        without = await refused(known)

    assert isinstance(with_wrong, Misconfigured)
    assert isinstance(without, Misconfigured)
    assert "not it" not in str(with_wrong)
    assert proxy.passed == 0


async def test_a_server_that_nobody_we_trust_has_signed_is_not_talked_to(authority: Authority, tmp_path: Path, password_file: str) -> None:
    """Neither with another authority nor with those of the system; it never sees the password."""
    other = Authority(tmp_path / "others", name="another")
    async with await behind(authority, user="kalends", password=PASSWORD) as proxy, fresh_settings() as settings:
        known = msgspec.structs.replace(settings, urls=proxy.url, user="kalends", password_file=password_file)
        for trusted in (str(other.file), ""):
            assert isinstance(await refused(msgspec.structs.replace(known, ca_file=trusted)), Misconfigured)

    assert (proxy.passed, proxy.refused) == (0, 0)


async def test_a_client_certificate_opens_the_door(authority: Authority, tmp_path: Path) -> None:
    """And without one, or with one of another authority, it stays shut."""
    ours, foreign = authority.client(), Authority(tmp_path / "others").client()
    async with await behind(authority, clients=authority.file) as proxy, fresh_settings() as settings:
        known = msgspec.structs.replace(settings, urls=proxy.url, ca_file=str(authority.file))
        await use(msgspec.structs.replace(known, cert_file=str(ours.certificate), key_file=str(ours.key)))
        passed = proxy.passed
        for pair in ({}, {"cert_file": str(foreign.certificate), "key_file": str(foreign.key)}):
            # in TLS 1.3 a client may learn of its refusal only by a connection that ends
            assert isinstance(await refused(msgspec.structs.replace(known, **pair)), Misconfigured | Unavailable)

    assert proxy.passed == passed


@pytest.mark.parametrize(
    "broken",
    [
        lambda folder: {"ca_file": str(folder / "missing.pem")},
        lambda folder: {"cert_file": str(folder / "missing.pem")},
        lambda folder: {"key_file": str(folder / "missing.key")},
        lambda folder: {"user": "kalends", "password_file": str(folder / "missing")},
        lambda folder: {"user": "kalends"},
        lambda folder: {"password_file": str(folder / "missing")},
    ],
)
async def test_a_file_that_is_missing_is_said_before_anything_is_sent(tmp_path: Path, broken: Callable[[Path], dict[str, str]]) -> None:
    """So that a typing error does not look like an outage."""
    settings = OpensearchSettings(urls="https://127.0.0.1:1", **broken(tmp_path))
    with pytest.raises(Misconfigured, match="opensearch"):
        async with open_generations(settings):
            pass
