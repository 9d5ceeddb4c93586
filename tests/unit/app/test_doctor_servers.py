"""The doctor's look at servers that are not there, and which of them it looks at; those that are there are looked at in tests/cluster."""

import msgspec
import pytest
from tests.support.instance import free_port

from kalends.app import doctor_servers
from kalends.settings import (
    EmbedderSettings,
    IssuerSettings,
    LogSettings,
    OidcSettings,
    OpensearchSettings,
    QdrantSettings,
    RerankerSettings,
    Settings,
    SummarizeSettings,
)


@pytest.fixture(scope="module")
def nowhere() -> Settings:
    """Every server at a port where nobody listens."""
    port = free_port()
    return Settings(
        log=LogSettings(url=f"nats://127.0.0.1:{port}"),
        opensearch=OpensearchSettings(urls=f"http://127.0.0.1:{port}"),
        qdrant=QdrantSettings(url=f"http://127.0.0.1:{port}"),
        embedder=EmbedderSettings(urls=f"http://127.0.0.1:{port}/v1", model="m"),
        reranker=RerankerSettings(urls=f"http://127.0.0.1:{port}/v1", model="m"),
        summarize=SummarizeSettings(chat_url=f"http://127.0.0.1:{port}/v1", chat_model="m"),
    )


def test_a_role_needs_its_own_servers_only(nowhere: Settings) -> None:
    """And on a laptop none at all."""

    def names(*roles: str) -> list[str]:
        return [one.name for one in doctor_servers.needed(nowhere, roles)]

    assert names("ingest") == names("scheduler") == ["NATS"]
    assert names("index") == ["NATS", "OpenSearch", "Qdrant", "embedding model"]
    assert names("search") == ["NATS", "OpenSearch", "Qdrant", "embedding model", "reranking model"]
    assert names("summarize") == ["NATS", "embedding model", "chat model"]
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
    }
    assert all(setting in steps[name] for name, setting in wanted.items())
    assert len(findings) == len(doctor_servers.SERVERS)


def test_a_setting_that_cannot_work_is_told_and_not_raised(tmp_path) -> None:
    """The file of a password that is not there, for one."""
    settings = Settings(log=LogSettings(url="nats://127.0.0.1:1", password_file=str(tmp_path / "none")))

    (finding,) = doctor_servers.examine(settings, ["ingest"])

    assert finding.state == "failed"
    assert "password_file" in finding.detail
