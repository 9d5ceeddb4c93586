"""Tokens of service accounts, issued and judged by a real API server: by its review, and by its keys.

Belongs here: what only a real server can show. Does not belong here: forgeries and outages of every kind (``contracts.test_identities``). A
newcomer would get wrong: a review needs a right of its own (``system:auth-delegator``), and without it nobody else's token says anything.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from kalends.adapters.oidc import SignedIdentities, open_identities
from kalends.domain.errors import Unauthenticated, Unavailable
from kalends.settings import KubernetesSettings, OidcSettings, WorkloadSettings
from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.kubernetes.marks import MARKS
from tests.support.waiting import until

pytestmark = MARKS

WAYS = ("review", "jwks")
AUDIENCE = "kalends"


@pytest.fixture
def ours(cluster: ControlPlane, namespace: str) -> Iterator[str]:
    """The account that Kalends runs as: it may have tokens reviewed, and nothing else."""
    account(cluster, namespace, "kalends")
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"{namespace}-kalends"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
        "subjects": [{"kind": "ServiceAccount", "name": "kalends", "namespace": namespace}],
    }
    cluster.api.create(binding)
    yield "kalends"
    cluster.api.delete("ClusterRoleBinding", f"{namespace}-kalends", version="rbac.authorization.k8s.io/v1")


def account(cluster: ControlPlane, namespace: str, name: str) -> None:
    """A service account without any right."""
    cluster.api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}, namespace=namespace)


def token(cluster: ControlPlane, namespace: str, name: str, *, audience: str = AUDIENCE) -> str:
    """A token as a pod's volume has it, for one audience."""
    return cluster.token(namespace, name, audiences=[audience])


@contextlib.asynccontextmanager
async def door(cluster: ControlPlane, namespace: str, way: str, *, subject: str, by: str = "kalends") -> AsyncIterator[SignedIdentities]:
    """What lets *subject* in as a writer of ``notes``, and asks the API server as the account *by*."""
    token_file = cluster.folder / f"{namespace}-{by}-{way}.token"
    token_file.write_text(cluster.token(namespace, by), encoding="ascii")
    settings = KubernetesSettings(
        url=cluster.url,
        check=way,
        issuer="https://kubernetes.default.svc",
        audience=AUDIENCE,
        ca_file=str(cluster.ca_file),
        token_file=str(token_file),
        cache_s=0,
        workloads=(WorkloadSettings(subject=subject, tenant="acme", memories=("notes",), rights=("writer",)),),
    )
    identities = open_identities(OidcSettings(pause_s=1), settings)
    assert identities is not None
    try:
        yield identities
    finally:
        await identities.close()


@pytest.mark.parametrize("group", [False, True], ids=["by name", "by namespace"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_pods_token_stands_for_what_the_settings_say_of_its_account(
    cluster: ControlPlane, namespace: str, ours: str, way: str, *, group: bool
) -> None:
    """Each account of its own, or all of a namespace."""
    account(cluster, namespace, "agent")
    subject = f"system:serviceaccounts:{namespace}" if group else f"system:serviceaccount:{namespace}:agent"
    async with door(cluster, namespace, way, subject=subject) as identities:
        principal = await identities.principal(token(cluster, namespace, "agent"))

    assert (principal.tenant, principal.memories, principal.rights) == ("acme", {"notes"}, {"append", "search"})
    assert principal.expires_at is not None


@pytest.mark.parametrize("way", WAYS)
async def test_a_token_for_somebody_else_is_refused(cluster: ControlPlane, namespace: str, ours: str, way: str) -> None:
    """One for the API server itself, which every pod has, opens nothing here; nor does another account's."""
    for name in ("agent", "other"):
        account(cluster, namespace, name)
    async with door(cluster, namespace, way, subject=f"system:serviceaccount:{namespace}:agent") as identities:
        for refused in (
            cluster.token(namespace, "agent"),
            token(cluster, namespace, "agent", audience="vault"),
            token(cluster, namespace, "other"),
        ):
            with pytest.raises(Unauthenticated):
                await identities.principal(refused)
        assert await identities.principal(token(cluster, namespace, "agent"))


async def test_the_token_of_an_account_that_was_deleted_is_refused_by_a_review(cluster: ControlPlane, namespace: str, ours: str) -> None:
    """Its signature and its time are good still. The API server itself remembers for ten seconds what it found good."""
    account(cluster, namespace, "agent")
    held = token(cluster, namespace, "agent")
    async with door(cluster, namespace, "review", subject=f"system:serviceaccount:{namespace}:agent") as identities:
        assert await identities.principal(held)
        cluster.api.delete("ServiceAccount", "agent", namespace)
        await until(lambda: is_refused(identities, held), deadline=60)


async def is_refused(identities: SignedIdentities, credential: str) -> bool:
    """Whether a token is of no use any more."""
    try:
        await identities.principal(credential)
    except Unauthenticated:
        return True
    return False


async def test_without_the_right_to_review_it_is_the_installation_that_is_at_fault_and_not_the_caller(
    cluster: ControlPlane, namespace: str
) -> None:
    """A pod's token is not thrown away for that."""
    for name in ("agent", "powerless"):
        account(cluster, namespace, name)
    async with door(cluster, namespace, "review", subject=f"system:serviceaccount:{namespace}:agent", by="powerless") as identities:
        with pytest.raises(Unavailable):
            await identities.principal(token(cluster, namespace, "agent"))


@pytest.mark.parametrize("way", WAYS)
async def test_while_the_api_server_is_away_the_answer_is_to_come_back(cluster: ControlPlane, namespace: str, ours: str, way: str) -> None:
    """And what it says counts again once it is there."""
    account(cluster, namespace, "agent")
    held = token(cluster, namespace, "agent")
    async with door(cluster, namespace, way, subject=f"system:serviceaccount:{namespace}:agent") as identities:
        cluster.stop_api_server()
        try:
            with pytest.raises(Unavailable):
                await identities.principal(held)
        finally:
            cluster.start_api_server()
        assert (await identities.principal(held)).tenant == "acme"


@pytest.mark.parametrize("way", WAYS)
async def test_whoever_looks_is_told_that_tokens_can_be_checked(cluster: ControlPlane, namespace: str, ours: str, way: str) -> None:
    """Our own token is enough to ask; the doctor asks this."""
    async with door(cluster, namespace, way, subject=f"system:serviceaccounts:{namespace}") as identities:
        assert await identities.look() == []
