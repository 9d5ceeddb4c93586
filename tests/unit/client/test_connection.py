"""Where the server is found, and which token goes where."""

import json
from pathlib import Path

import pytest

from kalends.client import connection
from kalends.client.errors import NotConnected


@pytest.fixture
def data(tmp_path):
    """The files of a local instance."""
    (tmp_path / "instance.json").write_text(json.dumps({"url": "http://127.0.0.1:7410", "ops_url": "http://127.0.0.1:7411", "pid": 1}))
    (tmp_path / "token").write_text("kal_local\n")
    return tmp_path


def test_without_a_word_it_is_the_local_instance(data):
    """``kalends up`` in one terminal is enough for the other."""
    found = connection.find(data=data, environment={})

    assert (found.url, found.token) == ("http://127.0.0.1:7410", "kal_local")


def test_the_environment_comes_before_the_local_instance(data, tmp_path):
    """A variable that was set on purpose wins over what happens to run."""
    (tmp_path / "other").write_text("kal_other")

    found = connection.find(data=data, environment={"KALENDS_URL": "https://memory.example", "KALENDS_TOKEN_FILE": str(tmp_path / "other")})

    assert (found.url, found.token) == ("https://memory.example", "kal_other")


def test_arguments_come_before_the_environment(data):
    """What is said at the call wins over everything."""
    found = connection.find(url="http://one.example/", token="kal_mine", data=data, environment={"KALENDS_URL": "http://two.example"})

    assert (found.url, found.token) == ("http://one.example", "kal_mine")


def test_the_local_token_is_not_sent_anywhere_else(data):
    """Whoever talks somebody into another URL must not be given the admin's token."""
    assert connection.find(url="https://elsewhere.example", data=data, environment={}).token is None


def test_the_data_folder_can_be_named_by_the_environment(data):
    """The variable is the server's own setting."""
    assert connection.find(environment={"KALENDS_DATA": str(data)}).token == "kal_local"


def test_without_any_instance_the_next_step_is_told(tmp_path):
    """A first-time user learns what to type."""
    with pytest.raises(NotConnected, match="kalends up"):
        connection.find(data=tmp_path, environment={})


@pytest.mark.parametrize("url", ["ftp://x", "localhost:7410", "http://", "nonsense"])
def test_what_is_no_url_is_refused(url, tmp_path):
    """Before anything is sent to somewhere unexpected."""
    with pytest.raises(NotConnected):
        connection.find(url=url, data=tmp_path, environment={})


@pytest.mark.parametrize("content", ["", "  \n", "kal_ä", "two\nlines"])
def test_a_token_that_no_header_can_carry_is_refused(content, tmp_path):
    """An empty file or a file of something else is named as the cause."""
    (tmp_path / "t").write_text(content, encoding="utf-8")

    with pytest.raises(NotConnected):
        connection.find(url="http://127.0.0.1:1", token_file=tmp_path / "t", data=tmp_path, environment={})


def test_a_missing_token_file_is_told_and_not_ignored(tmp_path):
    """Going on without a token would end in a puzzling 401."""
    with pytest.raises(NotConnected, match="cannot read the token file"):
        connection.find(url="http://127.0.0.1:1", token_file=tmp_path / "none", data=tmp_path, environment={})


def test_half_a_file_names_no_instance(tmp_path):
    """It is being written by somebody else right now."""
    (tmp_path / "instance.json").write_text('{"url": "http')

    assert connection.local_instance(tmp_path) is None


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:1", True),
        ("http://[::1]:1", True),
        ("http://localhost", True),
        ("http://10.0.0.1", False),
        ("https://m.example", False),
    ],
)
def test_only_loopback_is_local(url, local):
    """Names that merely look local are not resolved for this."""
    assert connection.Connection(url=url).local is local


def test_a_connection_does_not_show_its_token():
    """Representations end up in logs."""
    assert "secret" not in repr(connection.Connection(url="http://x", token="kal_secret"))


def test_the_local_instances_ca_is_trusted_for_the_local_instance_alone(tmp_path):
    """What is named goes first; another address is checked as any on the net."""
    (tmp_path / "instance.json").write_text('{"url": "https://127.0.0.1:7410", "ca_file": "/its/ca.pem"}')

    assert connection.find(data=tmp_path, environment={}).ca_file == Path("/its/ca.pem")
    assert connection.find(data=tmp_path, ca_file="/my/ca.pem", environment={}).ca_file == Path("/my/ca.pem")
    assert connection.find(data=tmp_path, environment={"KALENDS_CA_FILE": "/set/ca.pem"}).ca_file == Path("/set/ca.pem")
    assert connection.find(url="https://elsewhere:7410", data=tmp_path, environment={}).ca_file is None


def test_a_clients_certificate_comes_from_arguments_or_the_environment(tmp_path):
    """For servers that let nobody else in."""
    named = {"KALENDS_CLIENT_CERTIFICATE_FILE": "/my/client.pem", "KALENDS_CLIENT_KEY_FILE": "/my/client-key.pem"}

    found = connection.find(url="https://elsewhere:7410", data=tmp_path, environment=named)

    assert (found.certificate_file, found.key_file) == (Path("/my/client.pem"), Path("/my/client-key.pem"))
