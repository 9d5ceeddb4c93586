"""A whole instance on TLS: found and trusted by its own clients, and given new certificates under load without a failed request.

Belongs here: what only a process shows, the broker included. Does not belong here: the listeners' own rules
(``tests/services/test_listener_tls``). A newcomer would get wrong: the clients here try nothing twice.
"""

import contextlib
import json
import re
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from tests.faults.conftest import NewFolder
from tests.support import tls
from tests.support.instance import Instance, NotStarted, wait_until

from kalends.adapters.nats import open_nats
from kalends.adapters.nats.tls import ClientTls
from kalends.app import cli
from kalends.app.authority import Places, renew
from kalends.app.invocation import Invocation
from kalends.client import ClientError, Kalends, NewEvent, RetryPolicy

ROUNDS = 3


@dataclass
class Load:
    """What was asked, and what failed."""

    asked: int = 0
    failures: list[object] = field(default_factory=list)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """An authority of its own."""
    return tls.certificates(tmp_path / "tls")


@pytest.fixture
def secured(tmp_path: Path, prepared: NewFolder, places: Places) -> Iterator[Instance]:
    """An instance with these certificates."""
    with Instance(prepared(tmp_path / "data"), settings=tls.variables(places)) as made:
        yield made.start()
        assert made.terminate() == 0, made.last_words


def told(instance: Instance) -> dict[str, str]:
    """How the instance says that it is reached."""
    found: dict[str, str] = json.loads((instance.data / "instance.json").read_bytes())
    return found


@contextlib.contextmanager
def loaded(instance: Instance) -> Iterator[Load]:
    """Two who write and read without another try, one of them with a new connection each time."""
    load, stop = Load(), threading.Event()

    def work(number: int) -> None:
        client = Kalends(data=instance.data, retry=RetryPolicy(total_s=0))
        while not stop.is_set():
            try:
                client.memory("load").append([NewEvent(text=f"said {load.asked}", session_id=f"s{number}")])
                client.status()
            except ClientError as error:
                load.failures.append(error)
            load.asked += 1
            if number:
                client.close()
                client = Kalends(data=instance.data, retry=RetryPolicy(total_s=0))
        client.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    with Kalends(data=instance.data) as kalends:
        kalends.create_memory("load")
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def served(instance: Instance, places: Places) -> bytes:
    """The certificate that a new connection to the API gets."""
    port = urlsplit(instance.url).port
    assert port is not None
    version, certificate = tls.shaken(port, tls.trusting(places))
    assert version == "TLSv1.3"
    return certificate


def test_renewed_certificates_under_load_fail_no_request(secured: Instance, places: Places) -> None:
    """Several times in a row, for the API and for the broker; the metric follows."""
    with loaded(secured) as load:
        for _ in range(ROUNDS):
            before = served(secured, places)
            renew(places.folder, hosts=[])
            assert wait_until(lambda before=before: served(secured, places) != before, seconds=20)  # type: ignore[misc]
            asked = load.asked
            assert wait_until(lambda asked=asked: load.asked > asked + 5, seconds=20)  # type: ignore[misc]

    assert load.failures == []
    with urllib.request.urlopen(f"{secured.ops_url}/metrics", context=tls.trusting(places), timeout=10) as answer:  # noqa: S310 - our own
        found = re.search(r"^kalends_tls_certificate_expiry_seconds (\S+)$", answer.read().decode(), re.MULTILINE)
    assert found is not None
    assert float(found[1]) > 396 * 86_400


def test_only_tls_1_3_reaches_any_listener_and_who_does_not_trust_the_authority_sends_nothing(secured: Instance, places: Places) -> None:
    """API and operations refuse 1.2; the SDK, pointed at the address alone, sees a stranger's certificate."""
    for url in (secured.url, secured.ops_url):
        port = urlsplit(url).port
        assert url.startswith("https://")
        assert port is not None
        with pytest.raises(ssl.SSLError):
            tls.shaken(port, tls.limited(places, ssl.TLSVersion.TLSv1_2))
    with Kalends(secured.url, token="secret", retry=RetryPolicy(total_s=0)) as stranger, pytest.raises(ClientError, match="ertificate"):
        stranger.status()


async def test_the_broker_of_our_own_speaks_tls_and_nobody_can_talk_us_out_of_it(secured: Instance, places: Places) -> None:
    """With the authority a client is let in; one that wants TLS does not go on in the open where there is none."""
    config = json.loads(content(secured.data / "nats" / "broker.conf"))
    user = config["authorization"]["users"][0]
    url = told(secured)["nats_url"]
    assert url.startswith("tls://")
    assert config["tls"]["min_version"] == "1.3"

    async with open_nats(url=url, user=user["user"], password=user["password"], tls=ClientTls(ca_file=str(places.ca))) as bus:
        assert await bus.keys.count() >= 0
        assert bus.connection._transport._io_writer.get_extra_info("ssl_object").version() == "TLSv1.3"


def test_the_command_line_finds_certificate_and_address_by_itself(secured: Instance, places: Places, monkeypatch) -> None:
    """By the data folder, or by address and --ca-file; the doctor tells when the certificate ends."""
    monkeypatch.setenv("KALENDS_DATA", str(secured.data))
    runner = CliRunner()
    ran = runner.invoke(cli.cli, ["status", "--json"], obj=Invocation())
    assert json.loads(ran.stdout)["state"] == "up", ran.output
    named = ["--url", secured.url, "--token-file", str(secured.token_file), "--ca-file", str(places.ca)]
    assert json.loads(runner.invoke(cli.cli, ["status", "--json", *named], obj=Invocation()).stdout)["state"] == "up"

    for name, value in tls.variables(places).items():
        monkeypatch.setenv(name, value)
    findings = json.loads(runner.invoke(cli.cli, ["doctor", "--json"], obj=Invocation()).stdout)["findings"]
    assert [(one["state"], one["detail"][:5]) for one in findings if one["name"] == "certificate"] == [("ok", "ends ")] * 2


def test_a_plain_listener_for_everybody_is_refused_at_the_start(tmp_path: Path, prepared: NewFolder) -> None:
    """With the setting that would allow it."""
    with Instance(prepared(tmp_path / "data"), settings={"KALENDS_HTTP__HOST": "0.0.0.0"}) as made:  # noqa: S104 - that it is refused is the point
        with pytest.raises(NotStarted) as refused:
            made.start()
        assert refused.value.code == 2
        assert "allow_plain" in refused.value.words


def content(path: Path) -> bytes:
    """The bytes of a file."""
    return path.read_bytes()
