"""The doctor's look at servers that are not there, and which of them it looks at; those that are there are looked at in tests/cluster."""

import msgspec
import pytest
from tests.support.instance import free_port
from tests.support.otlp import Receiver

from kalends.app import doctor_servers
from kalends.settings import (
    ArchiveSettings,
    BackupSettings,
    EmbedderSettings,
    IssuerSettings,
    LogSettings,
    OidcSettings,
    OpensearchSettings,
    QdrantSettings,
    RerankerSettings,
    S3Settings,
    Settings,
    SummarizeSettings,
    TelemetrySettings,
)


@pytest.fixture(scope="module")
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Every server at a port where nobody listens."""
    port = free_port()
    key = tmp_path_factory.mktemp("s3") / "key"
    key.write_text("a-key", encoding="ascii")
    return Settings(
        log=LogSettings(url=f"nats://127.0.0.1:{port}"),
        opensearch=OpensearchSettings(urls=f"http://127.0.0.1:{port}"),
        qdrant=QdrantSettings(url=f"http://127.0.0.1:{port}"),
        embedder=EmbedderSettings(urls=f"http://127.0.0.1:{port}/v1", model="m"),
        reranker=RerankerSettings(urls=f"http://127.0.0.1:{port}/v1", model="m"),
        summarize=SummarizeSettings(chat_url=f"http://127.0.0.1:{port}/v1", chat_model="m"),
        s3=S3Settings(url=f"http://127.0.0.1:{port}", access_key_file=str(key), secret_key_file=str(key)),
        backup=BackupSettings(store="s3://kalends/backups"),
        archive=ArchiveSettings(store="s3://kalends/log"),
        telemetry=TelemetrySettings(otlp_url=f"http://127.0.0.1:{port}"),
    )


def test_a_role_needs_its_own_servers_only(nowhere: Settings) -> None:
    """And on a laptop none at all."""

    def names(*roles: str) -> list[str]:
        return [one.name for one in doctor_servers.needed(nowhere, roles)]

    assert names("ingest") == ["NATS", "backup store", "log archive", "traces"]
    assert names("scheduler") == ["NATS", "traces"]
    assert names("index") == ["NATS", "OpenSearch", "Qdrant", "embedding model", "traces"]
    assert names("search") == ["NATS", "OpenSearch", "Qdrant", "embedding model", "reranking model", "traces"]
    assert names("summarize") == ["NATS", "embedding model", "chat model", "traces"]
    assert doctor_servers.needed(Settings(), doctor_servers.EVERY) == []


def test_every_server_that_is_away_is_told_with_a_next_step(nowhere: Settings) -> None:
    """One that hangs or refuses hides none of the others, and what to look at is named by its setting."""
    away = nowhere.log.url.replace("nats://", "http://")
    issuer = IssuerSettings(issuer=away, audience="kalends", tenant="acme", memories=("*",), rights=("reader",))
    everywhere = msgspec.structs.replace(nowhere, oidc=OidcSettings(issuers=(issuer,)))
    findings = {one.name: one for one in doctor_servers.examine(everywhere, doctor_servers.EVERY)}

    assert {one.state for one in findings.values()} == {"failed"}
    assert all(one.detail for one in findings.values())
    steps = {name: one.next_step for name, one in findings.items()}
    assert away in findings["issuers"].detail
    wanted = {
        "NATS": "log.url",
        "issuers": "oidc.issuers",
        "OpenSearch": "opensearch.urls",
        "Qdrant": "qdrant.url",
        "chat model": "summarize.chat_url",
        "backup store": "backup.store",
        "log archive": "archive.store",
        "traces": "telemetry.otlp_url",
    }
    assert all(setting in steps[name] for name, setting in wanted.items())
    assert len(findings) == len(doctor_servers.SERVERS)


def test_a_setting_that_cannot_work_is_told_and_not_raised(tmp_path) -> None:
    """The file of a password that is not there, for one."""
    settings = Settings(log=LogSettings(url="nats://127.0.0.1:1", password_file=str(tmp_path / "none")))

    (finding,) = doctor_servers.examine(settings, ["ingest"])

    assert finding.state == "failed"
    assert "password_file" in finding.detail


def test_archives_in_folders_are_no_servers() -> None:
    """They lie on a disk, which is looked at as one."""
    folders = Settings(backup=BackupSettings(store="file:///var/backups"), archive=ArchiveSettings(store="file:///var/archive"))

    assert doctor_servers.needed(folders, ["ingest"]) == []


def test_a_receiver_of_traces_that_takes_nothing_is_well() -> None:
    """It is handed no span at all, so that nothing of the doctor's is kept there."""
    with Receiver() as receiver:
        (finding,) = doctor_servers.examine(Settings(telemetry=TelemetrySettings(otlp_url=receiver.url)), ["search"])

    assert finding.state == "ok"
    assert (len(receiver.requests), receiver.broken, receiver.spans) == (1, 0, [])


def test_a_receiver_of_traces_that_refuses_is_told_with_its_status() -> None:
    """At once, and not asked again until a deadline."""
    with Receiver(refusals=1) as receiver:
        (finding,) = doctor_servers.examine(Settings(telemetry=TelemetrySettings(otlp_url=receiver.url)), ["search"])

    assert finding.state == "failed"
    assert "status 503" in finding.detail
    assert len(receiver.requests) == 1
