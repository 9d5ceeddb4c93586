"""Signatures, claims and settings of issuers; over a file of keys, so that nothing is asked."""

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.issuers import AUDIENCE, SigningKey, claims

from kalends.adapters.oidc import SignedIdentities, open_identities
from kalends.adapters.oidc.fetching import check_url
from kalends.domain.credentials import RIGHTS, Principal
from kalends.domain.errors import Misconfigured, Unauthenticated
from kalends.settings import IssuerSettings, KubernetesSettings, OidcSettings, WorkloadSettings

NAME = "https://issuer.example"
KEYS = {algorithm: SigningKey(algorithm, kid=algorithm) for algorithm in ("RS256", "PS256", "ES256", "EdDSA")}
ISSUER = IssuerSettings(issuer=NAME, audience=AUDIENCE, tenant="acme", memories=("*",), rights=("reader",))


@pytest.fixture
def file(tmp_path: Path) -> str:
    """The public halves of the keys."""
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [key.jwk for key in KEYS.values()]}))
    return str(path)


def opened(file: str, **changes: Any) -> SignedIdentities:
    """Identities that trust one issuer."""
    issuer = msgspec.structs.replace(ISSUER, jwks_file=file, **changes)
    found = open_identities(OidcSettings(issuers=(issuer,)), KubernetesSettings())
    assert found is not None
    return found


def token(algorithm: str = "ES256", **changes: Any) -> str:
    """A good token but for *changes*."""
    return KEYS[algorithm].sign(claims(NAME, **changes))


async def who(file: str, credential: str, **changes: Any) -> Principal:
    """Whom *credential* stands for."""
    return await opened(file, **changes).principal(credential)


@pytest.mark.parametrize("algorithm", KEYS)
async def test_each_algorithm_is_accepted_where_the_settings_name_it(file: str, algorithm: str) -> None:
    """And refused where they do not."""
    assert await who(file, token(algorithm))
    others = tuple(name for name in KEYS if name != algorithm)
    with pytest.raises(Unauthenticated) as caught:
        await who(file, token(algorithm), algorithms=others)
    assert caught.value.reason == "algorithm"


@pytest.mark.parametrize(
    ("settings", "told", "memories", "rights"),
    [
        ({}, {}, None, {"search"}),
        ({"memories": ("a", "b")}, {}, {"a", "b"}, {"search"}),
        ({"memories": (), "memories_claim": "mem"}, {"mem": ["a", "No Name", 3]}, {"a"}, {"search"}),
        ({"memories": (), "memories_claim": "mem"}, {"mem": "a b"}, {"a", "b"}, {"search"}),
        ({"memories": (), "memories_claim": "mem"}, {"mem": ["*"]}, None, {"search"}),
        ({"memories": (), "memories_claim": "mem"}, {}, set(), {"search"}),
        ({"rights": (), "rights_claim": "scope"}, {"scope": "openid writer"}, None, {"append", "search"}),
        ({"rights": (), "rights_claim": "roles", "rights_map": {"staff": "writer"}}, {"roles": ["staff", "admin"]}, None, {"append", "search"}),  # noqa: E501 - a table
        ({"rights": (), "rights_claim": "realm_access.roles"}, {"realm_access": {"roles": ["erase"]}}, None, {"erase"}),
        ({"rights": (), "rights_claim": "https://x.example/roles"}, {"https://x.example/roles": ["admin"]}, None, set(RIGHTS)),
        ({"rights": (), "rights_claim": "roles"}, {"roles": {"admin": True}}, None, set()),
    ],
)  # fmt: skip
async def test_claims_become_memories_and_rights(
    file: str, settings: dict[str, Any], told: dict[str, Any], memories: set[str] | None, rights: set[str]
) -> None:
    """What is missing or unknown gives nothing."""
    found = await who(file, token(**told), **settings)
    assert (found.memories, found.rights) == (memories, rights)


@pytest.mark.parametrize(
    ("settings", "told", "labels"),
    [
        ({}, {}, set()),
        ({"labels": ("hr",)}, {}, {"hr"}),
        ({"labels": ("*",)}, {}, None),
        ({"labels_claim": "groups"}, {"groups": ["hr", "No Label", 3]}, {"hr"}),
        ({"labels": ("it",), "labels_claim": "groups"}, {"groups": "hr board"}, {"hr", "board", "it"}),
        ({"labels_claim": "groups"}, {"groups": {"hr": True}}, set()),
        ({"labels_claim": "groups"}, {}, set()),
    ],
)
async def test_claims_become_labels(file: str, settings: dict[str, Any], told: dict[str, Any], labels: set[str] | None) -> None:
    """Whoever is told none sees what has none."""
    assert (await who(file, token(**told), **settings)).labels == labels


@pytest.mark.parametrize(
    ("told", "tenant"),
    [("acme", "acme"), ("other", "other"), ("forbidden", None), ("No Name", None), (3, None), (["acme"], None), (None, None), ("", None)],
)
async def test_a_tenant_comes_from_a_claim_and_only_if_it_may(file: str, told: object, tenant: str | None) -> None:
    """An issuer may be trusted for some tenants only."""
    settings = {"tenant": "", "tenant_claim": "tenant", "tenants": ("acme", "other")}
    if tenant is not None:
        assert (await who(file, token(tenant=told), **settings)).tenant == tenant
        return
    with pytest.raises(Unauthenticated) as caught:
        await who(file, token(tenant=told), **settings)
    assert caught.value.reason == "tenant"


async def test_a_token_is_too_old_before_it_expires(file: str) -> None:
    """An issuer that gives tokens for a year is not believed for as long."""
    now = int(time.time())
    old = token(iat=now - 7200, nbf=now - 7200, exp=now + 86_400)
    assert await who(file, old)
    with pytest.raises(Unauthenticated) as caught:
        await who(file, old, max_age_s=3600)
    assert caught.value.reason == "too_old"


async def test_a_remembered_token_ends_with_its_keys(file: str) -> None:
    """What was found good a moment ago is looked at again when the issuer's keys have changed."""
    identities = opened(file)
    good = token()
    assert await identities.principal(good)
    (issuer,) = identities._issuers.values()
    Path(file).write_text(json.dumps({"keys": [KEYS["RS256"].jwk]}))  # noqa: ASYNC240 - nothing else runs
    keys = issuer.keys  # type: ignore[attr-defined]  # it is a keyed one
    keys._tried_at = keys._fetched_at = float("-inf")
    with pytest.raises(Unauthenticated):
        await identities.principal(token("EdDSA"))
    with pytest.raises(Unauthenticated):
        await identities.principal(good)


@pytest.mark.parametrize(
    "changes",
    [
        {"tenant": ""},
        {"tenant_claim": "tenant"},
        {"tenant": "No Name"},
        {"memories": ()},
        {"rights": ()},
        {"jwks_url": "https://issuer.example/keys"},
        {"file": "", "jwks_url": "http://issuer.example/keys"},
        {"file": "", "issuer": "not a URL"},
        {"ca_file": "/nowhere/ca.pem"},
    ],
)
def test_settings_that_cannot_work_stop_the_start(file: str, changes: dict[str, Any]) -> None:
    """Each with a detail that says which."""
    with pytest.raises(Misconfigured):
        opened(**{"file": file, **changes})


def test_nobody_is_trusted_by_default_and_no_issuer_twice(file: str) -> None:
    """Without settings there is nothing to ask."""
    assert open_identities(OidcSettings(), KubernetesSettings()) is None
    issuer = msgspec.structs.replace(ISSUER, jwks_file=file)
    with pytest.raises(Misconfigured):
        open_identities(OidcSettings(issuers=(issuer, issuer)), KubernetesSettings())


def test_a_workload_needs_the_name_of_a_tenant() -> None:
    """It would else be refused at its first request only."""
    workload = WorkloadSettings(subject="system:serviceaccount:a:b", tenant="No Name", memories=("*",), rights=("reader",))
    with pytest.raises(Misconfigured):
        open_identities(OidcSettings(), KubernetesSettings(url="https://127.0.0.1", ca_file="", workloads=(workload,)))


@pytest.mark.parametrize(
    "url", ["http://issuer.example", "ftp://x", "https://", "", "http://127.0.0.1.example", "http://[bad", "file:///etc"]
)
def test_only_tls_or_loopback_is_asked(url: str) -> None:
    """Also where a discovery document names the address."""
    with pytest.raises(Misconfigured):
        check_url(url)


@pytest.mark.parametrize("url", ["https://issuer.example/keys", "http://127.0.0.1:8080/keys", "http://localhost/keys", "http://[::1]/keys"])
def test_tls_and_loopback_are_asked(url: str) -> None:
    """A sidecar on loopback needs no certificate."""
    check_url(url)
