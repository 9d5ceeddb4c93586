"""A certificate authority of one's own, as ``kalends tls init`` makes it."""

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from kalends.app import cli
from kalends.app.authority import HOSTS, add_client, begin, renew
from kalends.app.invocation import Invocation
from kalends.domain.errors import Misconfigured
from kalends.kit.certificates import hosts_of


def mode(path: Path) -> int:
    """Who may do what with a file."""
    return stat.S_IMODE(path.stat().st_mode)


def test_keys_are_private_and_the_authoritys_key_lies_apart(tmp_path: Path) -> None:
    """What a server reads is beside each other, what signs is not there."""
    made = begin(tmp_path / "tls", hosts=["box.internal"])

    assert {mode(path) for path in (made.ca_key, made.key)} == {0o600}
    assert mode(made.ca_key.parent) == 0o700
    assert made.ca_key.parent != made.key.parent
    assert hosts_of(made.certificate.read_bytes()) == ["box.internal", *HOSTS]


def test_a_renewal_keeps_the_authority_and_the_hosts_unless_others_are_named(tmp_path: Path) -> None:
    """So clients go on to trust it; without the authority's key there is none."""
    made = begin(tmp_path, hosts=["box.internal"])
    ca, before = made.ca.read_bytes(), made.certificate.read_bytes()

    renew(tmp_path, hosts=[])
    assert made.ca.read_bytes() == ca
    assert made.certificate.read_bytes() != before
    assert hosts_of(made.certificate.read_bytes()) == ["box.internal", *HOSTS]
    renew(tmp_path, hosts=["10.0.0.7"])
    assert hosts_of(made.certificate.read_bytes()) == ["10.0.0.7", *HOSTS]

    made.ca_key.unlink()
    with pytest.raises(Misconfigured, match="ca-key"):
        renew(tmp_path, hosts=[])
    with pytest.raises(Misconfigured, match="ca-key"):
        add_client(tmp_path, "ada")


def test_an_authority_is_never_made_over_another(tmp_path: Path) -> None:
    """Every client would have to be told."""
    begin(tmp_path, hosts=[])

    with pytest.raises(Misconfigured, match="--renew"):
        begin(tmp_path, hosts=[])


def test_the_command_tells_the_variables_to_set(tmp_path: Path) -> None:
    """As JSON for scripts; a client's name cannot lead out of the folder."""
    runner = CliRunner()

    ran = runner.invoke(cli.cli, ["tls", "init", str(tmp_path / "tls"), "--json"], obj=Invocation())
    client = runner.invoke(cli.cli, ["tls", "init", str(tmp_path / "tls"), "--client", "ada", "--json"], obj=Invocation())
    wrong = runner.invoke(cli.cli, ["tls", "init", str(tmp_path / "tls"), "--client", "../ada"], obj=Invocation())

    assert sorted(json.loads(ran.stdout)) == ["ca_file", "certificate_file", "key_file"]
    assert Path(json.loads(client.stdout)["key_file"]).name == "client-ada-key.pem"
    assert wrong.exit_code == 2


def test_a_new_key_file_is_made_beside_the_first(tmp_path: Path) -> None:
    """After the first start; private, and told."""
    runner = CliRunner()
    early = runner.invoke(cli.cli, ["admin", "new-key", "--data", str(tmp_path), "--json"], obj=Invocation())
    assert isinstance(early.exception, Misconfigured)
    first = tmp_path / "keys" / "kek"
    first.parent.mkdir()
    first.write_bytes(bytes(32))
    first.chmod(0o600)

    ran = runner.invoke(cli.cli, ["admin", "new-key", "--data", str(tmp_path), "--json"], obj=Invocation())

    made = Path(json.loads(ran.stdout)["key_file"])
    assert made == tmp_path / "keys" / "kek.2"
    assert (mode(made), len(made.read_bytes())) == (0o600, 32)
