"""The doctor's look at servers that are there: all well, and each thing that is wrong with one, told with a next step.

Belongs here: real NATS nodes, a real OpenSearch, a real server of S3, and the wire server for Qdrant. Does not belong here: servers that
nobody started, which need none of these (``tests/unit/app``). A newcomer would get wrong: no role runs here. The doctor looks before the
first start, too, so a broker without a stream and a store without an index are well.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.support.deployment import Deployment
from tests.support.instance import wait_until
from tests.support.nats_cluster import SETTLED_S, NatsCluster
from tests.support.otlp import Receiver
from tests.support.qdrant_wire.running import WireServer
from tests.support.s3.server import BUCKET, S3Server

from kalends.adapters.nats import NatsOptions, open_nats
from kalends.app import doctor_servers
from kalends.app.findings import Finding
from kalends.settings import (
    ArchiveSettings,
    BackupSettings,
    LogSettings,
    QdrantSettings,
    S3Settings,
    Settings,
    TelemetrySettings,
    load,
)

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Three NATS nodes, OpenSearch, the wire server and a small model server, and no process of ours."""
    with Deployment(tmp_path_factory.mktemp("doctor") / "cluster", served=True) as made:
        yield made


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server of S3 with a bucket."""
    with S3Server(tmp_path_factory.mktemp("s3")) as made:
        yield made


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """A receiver of traces."""
    with Receiver() as made:
        yield made


@pytest.fixture(scope="module")
def settings(stores: Deployment, bucket: S3Server, receiver: Receiver) -> Settings:
    """What a process is told that uses all of it."""
    told = stores.settings
    reranker = {"KALENDS_RERANKER__URLS": told["KALENDS_EMBEDDER__URLS"], "KALENDS_RERANKER__MODEL": told["KALENDS_EMBEDDER__MODEL"]}
    return msgspec.structs.replace(
        load(file=None, environment={**told, **reranker}),
        s3=bucket.settings(),
        backup=BackupSettings(store=f"s3://{BUCKET}/backups"),
        archive=ArchiveSettings(store=f"s3://{BUCKET}/log"),
        telemetry=TelemetrySettings(otlp_url=receiver.url),
    )


def examined(settings: Settings, *roles: str) -> dict[str, Finding]:
    """The findings by the names of the servers."""
    return {one.name: one for one in doctor_servers.examine(settings, roles)}


def states(settings: Settings, *roles: str) -> dict[str, str]:
    """How each server is."""
    return {name: one.state for name, one in examined(settings, *roles).items()}


def make_streams(nats: NatsCluster, *, replicas: int) -> None:
    """What the first start of a role does with this setting, and a later one with another."""

    async def opened() -> None:
        options = NatsOptions(replicas=replicas)
        async with open_nats(url=nats.url, user=nats.user, password=nats.password, options=options):
            pass

    asyncio.run(opened())


@pytest.mark.parametrize(
    ("role", "servers"),
    [
        ("ingest", {"NATS", "backup store", "log archive", "traces"}),
        ("index", {"NATS", "OpenSearch", "Qdrant", "embedding model", "traces"}),
        ("search", {"NATS", "OpenSearch", "Qdrant", "embedding model", "reranking model", "traces"}),
        ("summarize", {"NATS", "embedding model", "traces"}),
        ("scheduler", {"NATS", "traces"}),
    ],
)
def test_every_server_that_a_role_needs_is_well(settings: Settings, role: str, servers: set[str]) -> None:
    """Before anything has been started on them."""
    found = examined(settings, role)

    assert {name: one.state for name, one in found.items()} == dict.fromkeys(servers, "ok")
    assert all(one.detail and not one.next_step for one in found.values())


def test_streams_with_fewer_replicas_than_are_set_are_told_until_a_start_has_raised_them(cluster: NatsCluster) -> None:
    """The streams are named; the next step is one that helps."""
    told = Settings(log=LogSettings(url=cluster.url, user=cluster.user, password_file=str(cluster.password_file), replicas=3))
    make_streams(cluster, replicas=1)

    fewer = examined(told, "ingest")["NATS"]

    assert fewer.state == "degraded"
    assert "log.replicas = 3" in fewer.detail
    assert "start a role with this setting" in fewer.next_step
    make_streams(cluster, replicas=3)
    assert states(told, "ingest") == {"NATS": "ok"}


def test_a_nats_cluster_without_a_majority_is_told(cluster: NatsCluster) -> None:
    """Once the node that is left has noticed, which takes it some seconds if it led; it answers, and takes nothing."""
    told = Settings(log=LogSettings(url=cluster.url, user=cluster.user, password_file=str(cluster.password_file), replicas=3))
    make_streams(cluster, replicas=3)
    for number in (1, 2):
        cluster.kill(number)

    assert wait_until(lambda: states(told, "ingest") == {"NATS": "failed"}, seconds=SETTLED_S, every=0.5)
    found = examined(told, "ingest")["NATS"]
    assert found.detail
    assert found.next_step


def test_a_nats_password_that_is_wrong_is_told(settings: Settings, tmp_path: Path) -> None:
    """As credentials, and not as an outage."""
    wrong = tmp_path / "password"
    wrong.write_text("not-the-password", encoding="ascii")
    log = msgspec.structs.replace(settings.log, password_file=str(wrong))

    found = examined(msgspec.structs.replace(settings, log=log), "scheduler")["NATS"]

    assert found.state == "failed"
    assert "refuse" in found.detail
    assert "not-the-password" not in found.detail


def test_opensearch_that_is_away_is_told_beside_others_that_are_well(stores: Deployment, settings: Settings) -> None:
    """And is well again once it can be reached."""
    stores.cut("opensearch")
    found = examined(settings, "index")
    stores.heal()

    assert found["OpenSearch"].state == "failed"
    assert "opensearch.urls" in found["OpenSearch"].next_step
    assert {one.state for name, one in found.items() if name != "OpenSearch"} == {"ok"}
    assert states(settings, "index")["OpenSearch"] == "ok"


def test_fewer_opensearch_nodes_than_copies_are_told(settings: Settings) -> None:
    """A copy that has no node is none."""
    opensearch = msgspec.structs.replace(settings.opensearch, replicas=1)

    found = examined(msgspec.structs.replace(settings, opensearch=opensearch), "index")["OpenSearch"]

    assert found.state == "degraded"
    assert "add nodes" in found.next_step


def test_a_qdrant_key_that_is_wrong_is_told(tmp_path: Path) -> None:
    """As a key, and not as an outage; neither key is repeated."""
    for name in ("right", "wrong"):
        (tmp_path / name).write_text(f"the-{name}-one", encoding="ascii")
    with WireServer(tmp_path / "qdrant", "--api-key-file", str(tmp_path / "right")) as server:
        told = {name: Settings(qdrant=QdrantSettings(url=server.url, api_key_file=str(tmp_path / name))) for name in ("right", "wrong")}
        found = {name: examined(one, "search")["Qdrant"] for name, one in told.items()}

    assert {name: one.state for name, one in found.items()} == {"right": "ok", "wrong": "failed"}
    assert "UNAUTHENTICATED" in found["wrong"].detail
    assert "qdrant.url" in found["wrong"].next_step
    assert "the-" not in found["wrong"].detail


@pytest.mark.parametrize(
    ("changed", "store", "says"),
    [
        ({"secret_key_file": "wrong"}, f"s3://{BUCKET}/backups", "refuses our key"),
        ({"secret_key_file": "absent"}, f"s3://{BUCKET}/backups", "cannot be read"),
        ({}, "s3://another-bucket/backups", "may be no bucket of the name"),
        ({}, "s4://kalends/backups", "s3://bucket/prefix"),
    ],
    ids=["key", "key file", "bucket", "place"],
)
def test_a_bucket_that_cannot_be_used_is_told(bucket: S3Server, tmp_path: Path, changed: dict[str, str], store: str, says: str) -> None:
    """That of the backups and that of the archive alike, each by its own setting."""
    (tmp_path / "wrong").write_text("another-secret", encoding="ascii")
    s3 = bucket.settings(**{name: str(tmp_path / file) for name, file in changed.items()})

    found = examined(Settings(s3=s3, backup=BackupSettings(store=store), archive=ArchiveSettings(store=store)), "ingest")

    for name, setting in (("backup store", "backup.store"), ("log archive", "archive.store")):
        assert found[name].state == "failed"
        assert says in found[name].detail
        assert setting in found[name].next_step
        assert "another-secret" not in found[name].detail


def test_a_server_of_s3_that_hangs_is_told(tmp_path: Path) -> None:
    """Within the time that the doctor has."""
    with S3Server(tmp_path / "s3") as server:
        server.pause()
        told: S3Settings = server.settings()
        found = examined(Settings(s3=told, backup=BackupSettings(store=f"s3://{BUCKET}/backups")), "ingest")["backup store"]

    assert found.state == "failed"
    assert found.detail
