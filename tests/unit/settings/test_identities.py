"""Settings of identities: what cannot be written down by mistake."""

import msgspec
import pytest

from kalends.domain.errors import Misconfigured
from kalends.settings import IssuerSettings, load


def issuers(**fields: object) -> dict[str, str]:
    """The environment with one issuer of these fields."""
    return {"KALENDS_OIDC__ISSUERS": msgspec.json.encode([{"issuer": "https://i", "audience": "kalends", **fields}]).decode()}


@pytest.mark.parametrize("algorithm", ["none", "HS256", "HS512", "RS1", "", "ES256K"])
def test_weak_and_shared_secret_algorithms_cannot_be_allowed(algorithm: str) -> None:
    """An HMAC with a public key as its secret is the oldest forgery of all."""
    with pytest.raises(Misconfigured, match="algorithms"):
        load(file=None, environment=issuers(algorithms=[algorithm]))


@pytest.mark.parametrize(
    "fields", [{"audience": ""}, {"issuer": ""}, {"leeway_s": 301}, {"rights": ["owner"]}, {"rights_map": {"x": "root"}}, {"jwks": "x"}]
)
def test_what_cannot_work_is_refused_with_its_place(fields: dict[str, object]) -> None:
    """Layer and key are named."""
    with pytest.raises(Misconfigured, match=r"environment: .*oidc\.issuers\[0\]"):
        load(file=None, environment=issuers(**fields))


def test_an_issuers_fields_are_all_described() -> None:
    """The reference has one line for the list, so each field is named there and described here."""
    for field in msgspec.structs.fields(IssuerSettings):
        meta = next(one for one in field.type.__metadata__ if isinstance(one, msgspec.Meta))
        assert (meta.description or "").endswith(".")


def test_a_list_in_the_environment_that_is_no_json_is_refused() -> None:
    """With the layer's name, like everything else."""
    with pytest.raises(Misconfigured, match="environment: "):
        load(file=None, environment={"KALENDS_OIDC__ISSUERS": "https://i"})
