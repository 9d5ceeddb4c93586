"""TLS on our listeners: what is refused, who is let in, and certificates that change while connections are open."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from tests.support import tls as support
from tests.support.waiting import until

from kalends.app.authority import Places, add_client, begin, renew
from kalends.domain.errors import Misconfigured
from kalends.edge import listeners
from kalends.edge.tls import ListenerTls, check_plain, open_tls
from kalends.kit import certificates
from kalends.settings import HttpSettings, TlsSettings


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """An authority of its own."""
    return support.certificates(tmp_path / "tls")


async def hello(_scope, _receive, send) -> None:
    """An application that says yes."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
    await send({"type": "http.response.body", "body": b"yes"})


@asynccontextmanager
async def listening(context: ssl.SSLContext) -> AsyncIterator[int]:
    """A listener with *context*; its port."""
    bound = listeners.bind("127.0.0.1", 0)
    port = bound.getsockname()[1]
    ready = asyncio.Event()
    serving = asyncio.create_task(listeners.serve(hello, bound, drain_s=1.0, ready=ready, tls=context))
    await ready.wait()
    try:
        yield port
    finally:
        serving.cancel()
        await asyncio.wait([serving])


async def test_only_tls_1_3_is_spoken(places: Places) -> None:
    """On both listeners; 1.2 and a plain request get no answer."""
    made = ListenerTls(support.settings(places))
    for context in (made.api, made.operations):
        async with listening(context) as port:
            version, _ = await asyncio.to_thread(support.shaken, port, support.trusting(places))
            assert version == "TLSv1.3"
            with pytest.raises(ssl.SSLError):
                await asyncio.to_thread(support.shaken, port, support.limited(places, ssl.TLSVersion.TLSv1_2))
            async with httpx.AsyncClient(trust_env=False) as client:
                with pytest.raises(httpx.TransportError):
                    await client.get(f"http://127.0.0.1:{port}/")


async def test_with_an_authority_for_clients_the_api_lets_in_only_who_has_a_certificate_of_it(places: Places, tmp_path: Path) -> None:
    """One of another authority is none; probes and metrics want none."""
    ada = add_client(places.folder, "ada")
    stranger = add_client(begin(tmp_path / "other", hosts=[]).folder, "ada")
    made = ListenerTls(support.settings(places, client_ca_file=str(places.ca)))

    async def asked(port: int, client: tuple[Path, Path] | None) -> int:
        async with httpx.AsyncClient(verify=support.trusting(places, client=client), trust_env=False) as http:
            return (await http.get(f"https://localhost:{port}/")).status_code

    async with listening(made.api) as port:
        assert await asked(port, ada) == 200
        for wrong in (None, stranger):
            with pytest.raises(httpx.TransportError):
                await asked(port, wrong)
    async with listening(made.operations) as port:
        assert await asked(port, None) == 200


async def test_a_renewed_certificate_serves_the_next_handshake_and_open_connections_go_on(places: Places) -> None:
    """Nobody notices; the gauge and the health follow."""
    made = ListenerTls(support.settings(places))
    told: list[float] = []
    async with listening(made.api) as port, httpx.AsyncClient(verify=support.trusting(places), trust_env=False) as client:
        assert (await client.get(f"https://localhost:{port}/")).text == "yes"
        _, before = await asyncio.to_thread(support.shaken, port, support.trusting(places))
        following = asyncio.create_task(made.follow(told.append))
        await asyncio.to_thread(renew, places.folder, hosts=[])

        async def changed() -> bool:
            _, now = await asyncio.to_thread(support.shaken, port, support.trusting(places))
            return now != before

        await until(changed)
        pool = client._transport._pool.connections
        kept = list(pool)
        assert (await client.get(f"https://localhost:{port}/")).text == "yes"
        assert client._transport._pool.connections == kept
        following.cancel()
    assert told[0] > 396 * 86_400
    assert [one.state for one in made.health()] == ["up"]


async def test_files_that_do_not_fit_together_leave_the_certificate_that_serves(places: Places, tmp_path: Path) -> None:
    """While they are exchanged one after the other, and when somebody mixed them up."""
    other = begin(tmp_path / "other", hosts=[])
    made = ListenerTls(support.settings(places))
    swap(other.certificate, places.certificate)

    with pytest.raises(Misconfigured, match="together"):
        made.reload()
    async with listening(made.api) as port:
        version, _ = await asyncio.to_thread(support.shaken, port, support.trusting(places))
        assert version == "TLSv1.3"
    swap(other.key, places.key)
    assert made.reload()
    assert not made.reload()


def test_a_certificate_that_ends_soon_is_told_of(places: Places) -> None:
    """Thirty days before, and after its end."""
    now = datetime.now(UTC)
    for days, state, said in (
        (certificates.DAYS - 40, "up", "ends "),
        (certificates.DAYS - 20, "degraded", "ends "),
        (500, "degraded", "ended "),
    ):
        made = ListenerTls(support.settings(places), now=lambda days=days: now + timedelta(days=days))  # type: ignore[misc]
        (health,) = made.health()
        assert (health.state, health.detail.startswith(said)) == (state, True)
        assert ("--renew" in health.next_step) == (state == "degraded")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "box.internal"])  # noqa: S104 - that these are refused is the point
def test_a_plain_listener_for_others_is_refused_unless_it_is_meant(places: Places, host: str) -> None:
    """With the ways to mend it."""
    with pytest.raises(Misconfigured, match="allow_plain"):
        check_plain(HttpSettings(host=host), TlsSettings())
    check_plain(HttpSettings(host=host), TlsSettings(allow_plain=True))
    check_plain(HttpSettings(host=host), support.settings(places))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_a_plain_listener_for_this_machine_alone_is_fine(host: str) -> None:
    """As on a laptop."""
    check_plain(HttpSettings(host=host), TlsSettings())


def test_settings_that_cannot_work_are_told_with_their_name(places: Places, tmp_path: Path) -> None:
    """Half of a pair, a missing file, no certificate, a key that everybody reads, an encrypted key, no authority."""
    assert open_tls(TlsSettings()) is None
    empty = tmp_path / "empty.pem"
    empty.write_bytes(b"nothing")
    public = tmp_path / "public.pem"
    public.write_bytes(places.key.read_bytes())
    public.chmod(0o644)
    named = {"certificate_file": str(places.certificate), "key_file": str(places.key)}
    for wrong, said in (
        ({"certificate_file": named["certificate_file"]}, "go together"),
        ({"client_ca_file": str(places.ca)}, "client_ca_file needs"),
        ({**named, "certificate_file": str(tmp_path / "missing")}, "certificate_file.*cannot be read"),
        ({**named, "certificate_file": str(empty)}, "holds no certificate"),
        ({**named, "key_file": str(public)}, "chmod 600"),
        ({**named, "key_file": str(places.ca_key)}, "together"),
        ({**named, "client_ca_file": str(empty)}, "client_ca_file"),
    ):
        with pytest.raises(Misconfigured, match=said):
            open_tls(TlsSettings(**wrong))


def swap(new: Path, old: Path) -> None:
    """Put the content of one file into another."""
    old.write_bytes(new.read_bytes())
