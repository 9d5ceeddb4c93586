"""Local only: every address in the settings is found."""

import msgspec
import pytest

from kalends.app import network
from kalends.domain.errors import Misconfigured
from kalends.settings import Settings, load

ELSEWHERE = "http://elsewhere.example:1"


def fields(kind: type[msgspec.Struct] = Settings, prefix: str = "") -> list[str]:
    """Every setting whose name says that it is an address."""
    found = []
    for field in msgspec.structs.fields(kind):
        name = f"{prefix}{field.name}"
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            found += fields(field.type, f"{name}.")
        elif field.name.endswith(("url", "urls")):
            found.append(name)
    return found


def settings(**environment: str) -> Settings:
    """Settings with local-only on."""
    return load(file=None, environment={"KALENDS_NETWORK__LOCAL_ONLY": "true", **environment})


def test_the_tree_has_the_addresses_that_are_known():
    """The next test would otherwise pass by looking at nothing."""
    assert {"log.url", "qdrant.url", "opensearch.urls", "embedder.urls", "reranker.urls", "summarize.chat_url"} <= set(fields())


@pytest.mark.parametrize("name", fields())
def test_an_address_outside_is_refused_by_the_name_of_its_setting(name):
    """Of a store, a model, the log, an issuer: each of them; on the list, or without local-only, each is taken."""
    group, _, field = name.partition(".")
    there = {f"KALENDS_{group.upper()}__{field.upper()}": ELSEWHERE}

    with pytest.raises(Misconfigured, match=rf"^{name}: elsewhere\.example:1 .*network\.local_only"):
        network.check(settings(**there), environment={})
    network.check(settings(**there, KALENDS_NETWORK__ALLOWED="elsewhere.example"), environment={})
    network.check(load(file=None, environment=there), environment={})


def test_one_of_several_addresses_is_enough():
    """The others do not vouch for it."""
    with pytest.raises(Misconfigured, match="elsewhere"):
        network.check(settings(KALENDS_LOG__URL=f"nats://127.0.0.1:4222,{ELSEWHERE}"), environment={})


def test_what_exports_traces_is_an_address_too():
    """It is named by the environment alone."""
    for variable in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        with pytest.raises(Misconfigured, match=variable):
            network.check(settings(), environment={variable: ELSEWHERE})
        network.check(settings(), environment={variable: "http://localhost:4317", "OTEL_SERVICE_NAME": ELSEWHERE})


def test_an_issuer_that_leads_elsewhere_is_refused():
    """Its discovery document may name any address for its keys; one whose keys are named is judged by that address."""
    issuer = {"issuer": "https://login.example", "audience": "kalends", "tenant": "acme", "rights": ["search"]}
    for more, match in (({}, "discovery"), ({"jwks_url": ELSEWHERE}, r"oidc\.issuers\.jwks_url")):
        with pytest.raises(Misconfigured, match=match):
            network.check(settings(KALENDS_OIDC__ISSUERS=msgspec.json.encode([issuer | more]).decode()), environment={})
    network.check(settings(KALENDS_OIDC__ISSUERS=msgspec.json.encode([issuer | {"jwks_file": "/keys"}]).decode()), environment={})


def test_the_address_that_follows_from_another_is_looked_at():
    """Qdrant's REST has a port of its own where none is named."""
    there = {"KALENDS_QDRANT__URL": "http://q:6334", "KALENDS_QDRANT__TRANSPORT": "rest", "KALENDS_NETWORK__ALLOWED": "q:6334"}

    with pytest.raises(Misconfigured, match=r"qdrant\.rest_url: q:6333"):
        network.check(settings(**there), environment={})


def test_nothing_is_in_the_way_of_an_instance_on_its_own():
    """Which needs nobody."""
    network.check(settings(), environment={"HOME": "/", "OTEL_EXPORTER_OTLP_ENDPOINT": ""})


def test_the_server_of_a_bucket_is_an_address_and_amazons_where_no_other_is_named():
    """Of the backups and of the archive of the log; with the bucket in the host's name it is that host, and a proxy is one, too."""
    for variable in ("KALENDS_BACKUP__STORE", "KALENDS_ARCHIVE__STORE"):
        bucket = {variable: "s3://kalends/backups"}
        with pytest.raises(Misconfigured, match=r"^s3\.url: s3\.us-east-1\.amazonaws\.com"):
            network.check(settings(**bucket), environment={})
        network.check(settings(**bucket, KALENDS_S3__URL="http://127.0.0.1:9000"), environment={})
        with pytest.raises(Misconfigured, match=r"kalends\.store\.example"):
            network.check(
                settings(
                    **bucket,
                    KALENDS_S3__URL="https://store.example",
                    KALENDS_S3__ADDRESSING="virtual",
                    KALENDS_NETWORK__ALLOWED="store.example",
                ),
                environment={},
            )
        with pytest.raises(Misconfigured, match="https_proxy"):
            network.check(settings(**bucket, KALENDS_S3__URL="http://127.0.0.1:9000"), environment={"https_proxy": ELSEWHERE})
        network.check(settings(**{variable: "file:///mnt/backups"}), environment={"https_proxy": ELSEWHERE})
