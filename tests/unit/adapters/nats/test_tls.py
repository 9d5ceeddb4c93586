"""TLS to the broker."""

from pathlib import Path

import pytest
from tests.support import tls
from tests.support.broker import own_bus

from kalends.adapters.nats import LocalServer, NatsOptions, ServerOptions, open_nats
from kalends.adapters.nats.tls import BrokerTls, ClientTls
from kalends.app.authority import begin
from kalends.domain.errors import Misconfigured, Unavailable

QUICK = NatsOptions(connect_timeout=1.5, request_timeout=1.5)


async def test_a_client_that_wants_tls_never_goes_on_in_the_open(tmp_path: Path) -> None:
    """Whoever stands between could say that there is none; the password would be theirs."""
    places = tls.certificates(tmp_path / "tls")
    async with LocalServer(tmp_path / "nats") as server:
        async with own_bus(server):
            pass
        with pytest.raises(Unavailable, match="does not offer TLS"):
            async with open_nats(
                url=server.url, user=server.user, password=server.password, options=QUICK, tls=ClientTls(ca_file=str(places.ca))
            ):
                pass


async def test_a_broker_of_another_authority_is_not_spoken_to(tmp_path: Path) -> None:
    """And a client without TLS is not let in."""
    places, other = tls.certificates(tmp_path / "tls"), begin(tmp_path / "other", hosts=[])
    secured = ServerOptions(tls=BrokerTls(certificate=places.certificate, key=places.key))
    async with LocalServer(tmp_path / "nats", options=secured) as server:
        assert server.url.startswith("tls://")
        with pytest.raises(Unavailable, match="certificate"):
            async with open_nats(
                url=server.url, user=server.user, password=server.password, options=QUICK, tls=ClientTls(ca_file=str(other.ca))
            ):
                pass
        tls_of_ours = ClientTls(ca_file=str(places.ca), hostname="localhost")
        async with open_nats(url=server.url, user=server.user, password=server.password, options=QUICK, tls=tls_of_ours) as bus:
            assert await bus.keys.count() == 0


@pytest.mark.parametrize("wrong", [{"ca_file": "/nowhere/ca.pem"}, {"certificate_file": "/nowhere/client.pem"}])
def test_a_file_that_cannot_be_used_is_named(wrong: dict[str, str]) -> None:
    """Before anything is sent."""
    with pytest.raises(Misconfigured, match="/nowhere/"):
        ClientTls(**wrong).context()
