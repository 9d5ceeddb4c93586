"""What the settings may say of nodes, and which OpenSearch is spoken to."""

import pytest

from kalends.adapters.opensearch import open_opensearch
from kalends.adapters.opensearch.client import _check_version, _host
from kalends.domain.errors import Misconfigured, Unavailable
from kalends.settings import OpensearchSettings


@pytest.mark.parametrize(
    "urls",
    [
        "",
        " , ",
        "host:9200",
        "ftp://host",
        "https://",
        "http://a b",
        "https://user:secret@host",
        "https://a,http://b",
        "https://a?x=1",
        "http://a:x",
    ],
)
async def test_what_is_no_url_is_said_before_anything_is_sent(urls: str) -> None:
    """And a password in it is not repeated."""
    with pytest.raises(Misconfigured) as caught:
        async with open_opensearch(OpensearchSettings(urls=urls)):
            pass

    assert "secret" not in str(caught.value)


def test_a_url_gives_host_port_and_path() -> None:
    """With the ports that are usual."""
    assert _host("https://a") == {"host": "a", "port": 443, "use_ssl": True}
    assert _host(" http://a ") == {"host": "a", "port": 9200, "use_ssl": False}
    assert _host("https://a:9201/search/") == {"host": "a", "port": 9201, "use_ssl": True, "url_prefix": "search"}


@pytest.mark.parametrize(
    "version", [None, {}, {"number": "8.1.0"}, {"distribution": "opensearch", "number": "2.11.1"}, {"distribution": "opensearch"}]
)
def test_another_server_or_an_old_one_is_refused(version: object) -> None:
    """Some of what is asked here would be misunderstood by it."""
    with pytest.raises(Misconfigured):
        _check_version(version)


@pytest.mark.parametrize("number", ["2.12.0", "2.19.3", "3.8.0", "10.0.0-rc1"])
def test_a_newer_server_is_taken(number: str) -> None:
    """Numbers compare as numbers."""
    _check_version({"distribution": "opensearch", "number": number})


async def test_a_store_that_is_away_hinders_no_start() -> None:
    """Opening sends nothing; asking says that nobody answers."""
    async with open_opensearch(OpensearchSettings(urls="http://127.0.0.1:1")) as client:
        with pytest.raises(Unavailable):
            await client.probe()
