"""The doctor on a machine where nothing runs."""

import socket

import pytest

from kalends.app import doctor
from kalends.app.invocation import Invocation


@pytest.fixture
def examined(tmp_path):
    """Examine a data folder with a given configuration; findings by name."""

    def examine(configuration: str = "[http]\nport = 0\nops_port = 0\n") -> dict[str, doctor.Finding]:
        data = tmp_path / "data"
        data.mkdir(mode=0o700)
        (data / "config.toml").write_text(configuration)
        return {finding.name: finding for finding in doctor.examine(Invocation(), data=data)}

    return examine


def test_a_fresh_installation_is_healthy(examined):
    """Every check is made and none of them starts anything."""
    findings = examined()

    assert {finding.state for finding in findings.values()} == {"ok"}
    assert {"data folder", "configuration", "disk", "instance", "nats-server", "model files", "key files", "ports"} == set(findings)


def test_a_wrong_setting_is_named_with_its_next_step(examined):
    """The other checks are made all the same."""
    findings = examined("[http]\nprot = 1\n")

    assert findings["configuration"].state == "failed"
    assert "prot" in findings["configuration"].detail
    assert "config.toml" in findings["configuration"].next_step
    assert findings["nats-server"].state == "ok"


def test_a_taken_port_is_found(examined):
    """Before ``kalends up`` trips over it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        findings = examined(f"[http]\nport = {taken.getsockname()[1]}\nops_port = 0\n")

    assert findings["ports"].state == "failed"
    assert "--port" in findings["ports"].next_step


def test_a_key_file_that_is_gone_or_no_key_is_found(tmp_path):
    """Before the start that would refuse it; a newer version is told, and nothing is made."""
    (tmp_path / "nats").mkdir()
    (tmp_path / "keys").mkdir()
    key = tmp_path / "keys" / "kek"

    def found() -> doctor.Finding:
        return next(one for one in doctor.examine(Invocation(), data=tmp_path) if one.name == "key files")

    assert found().state == "failed"
    assert not key.exists()
    key.write_bytes(bytes(32))
    key.chmod(0o600)
    assert found().detail.startswith("version 1 ")
    (tmp_path / "keys" / "kek.2").write_bytes(b"short")
    (tmp_path / "keys" / "kek.2").chmod(0o600)
    assert "does not hold 32 bytes" in found().detail


def test_a_token_that_others_may_read_is_a_finding(tmp_path):
    """It is as good as given away."""
    (tmp_path / "token").write_text("kal_x")
    (tmp_path / "token").chmod(0o644)

    (finding,) = [one for one in doctor.examine(Invocation(), data=tmp_path) if one.name == "data folder"]

    assert finding.state == "degraded"
    assert "chmod" in finding.next_step
