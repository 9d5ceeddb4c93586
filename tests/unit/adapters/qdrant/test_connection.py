"""What settings become, before anything is sent."""

from pathlib import Path

import pytest

from kalends.adapters.qdrant.connection import connect
from kalends.domain.errors import Misconfigured
from kalends.settings import QdrantSettings


@pytest.mark.parametrize(
    "url", ["", "qdrant:6334", "grpc://host:6334", "http://", "http://a b:1", "http://user:word@host:6334", "http://h:x"]
)
def test_what_is_no_url_is_refused(url: str) -> None:
    """With the setting's name, and without its value, which may hold a password."""
    with pytest.raises(Misconfigured, match=r"qdrant\.url") as caught:
        connect(QdrantSettings(url=url))
    assert "word" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"two keys", b"\xff\n"])
def test_a_key_file_holds_one_key(tmp_path: Path, content: bytes | None) -> None:
    """Or the start ends with words that name the file."""
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Misconfigured, match="api_key_file"):
        connect(QdrantSettings(url="http://127.0.0.1:6334", api_key_file=str(path)))


def test_a_file_of_certificates_must_hold_some(tmp_path: Path) -> None:
    """A file of something else would only show at the first call."""
    path = tmp_path / "ca.pem"
    path.write_text("nothing of the kind", encoding="utf-8")
    with pytest.raises(Misconfigured, match="ca_file"):
        connect(QdrantSettings(url="https://127.0.0.1:6334", ca_file=str(path)))
    with pytest.raises(Misconfigured, match="ca_file"):
        connect(QdrantSettings(url="https://127.0.0.1:6334", ca_file=str(tmp_path / "missing")))


async def test_a_key_goes_as_a_header_and_warns_of_nothing(tmp_path: Path) -> None:
    """A warning is an error in these tests; the key is nowhere in what is printed of the connection."""
    path = tmp_path / "key"
    path.write_text("s3cret\n", encoding="utf-8")
    connection = connect(QdrantSettings(url="http://127.0.0.1:6334", api_key_file=str(path)))
    assert "s3cret" not in repr(connection)
    await connection.close()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (QdrantSettings(url="http://one:7001"), ("grpc", "one", 7001)),
        (QdrantSettings(url="https://one"), ("grpc", "one", 6334)),
        (QdrantSettings(url="http://one:7001", transport="rest"), ("rest", "http://one:6333", None)),
        (QdrantSettings(url="http://one:7001", rest_url="https://two:443", transport="rest"), ("rest", "https://two:443", None)),
        (QdrantSettings(url="http://one:7001", rest_url="http://two/q", transport="rest"), ("rest", "http://two:6333/q", None)),
    ],
)
async def test_the_transport_decides_who_is_asked(settings: QdrantSettings, expected: tuple[str, str, int | None]) -> None:
    """REST only where gRPC is set off, at its own address if one is given."""
    connection = connect(settings)
    remote = connection.client._client
    asked = ("rest", remote.rest_uri, None) if connection.over_rest else ("grpc", remote._host, remote._grpc_port)
    assert asked == expected
    await connection.close()


async def test_reads_agree_only_where_there_are_replicas() -> None:
    """One replica has nobody to agree with."""
    found = []
    for replicas, level in ((1, "majority"), (3, "majority"), (3, "one"), (3, "all")):
        connection = connect(QdrantSettings(url="http://127.0.0.1:6334", replicas=replicas, read_consistency=level))
        found.append(connection.consistency and connection.consistency.value)
        await connection.close()
    assert found == [None, "majority", None, "all"]
