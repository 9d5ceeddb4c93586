"""What the port of identities promises, over every way of checking a token, against a real HTTPS server.

A newcomer would get wrong: a refused token and an issuer that is away are two things: after 401 a client throws its token away, after 503
it comes back.
"""

import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.issuers import ACCOUNT, AUDIENCE, IssuerServer, SigningKey, claims, confused, encoded, forged, issuing, tampered

from kalends.adapters.oidc import SignedIdentities, open_identities
from kalends.domain.errors import Unauthenticated, Unavailable
from kalends.settings import IssuerSettings, KubernetesSettings, OidcSettings, WorkloadSettings

WAYS = ("url", "discovery", "file", "cluster", "review")
KEY = SigningKey("ES256")
STRANGER = SigningKey("ES256")
NAMED = "https://named.example"


@dataclass(kw_only=True)
class Door:
    """Identities of one way of checking, and how to make a token for them."""

    identities: SignedIdentities
    server: IssuerServer
    issuer: str
    key: SigningKey

    def token(self, *, key: SigningKey | None = None, header: dict[str, Any] | None = None, **changes: Any) -> str:
        """A token that is good but for *changes*."""
        return (key or self.key).sign(claims(self.issuer, **changes), **(header or {}))

    async def reason(self, credential: str) -> str:
        """Why *credential* is refused."""
        with pytest.raises(Unauthenticated) as caught:
            await self.identities.principal(credential)
        assert caught.value.detail == "the token is not accepted"
        return caught.value.reason


@contextlib.asynccontextmanager
async def opened(way: str, folder: Path, *, key: SigningKey = KEY, **more: Any) -> AsyncIterator[Door]:
    """A door of that way; *more* are settings of the issuer or the cluster."""
    async with issuing(folder, key) as server:
        issuer, oidc, kubernetes = settings_of(way, server, folder, **more)
        identities = open_identities(oidc, kubernetes)
        assert identities is not None
        try:
            yield Door(identities=identities, server=server, issuer=issuer, key=key)
        finally:
            await identities.close()


def settings_of(way: str, server: IssuerServer, folder: Path, **more: Any) -> tuple[str, OidcSettings, KubernetesSettings]:
    """The issuer's name and the settings that trust it."""
    ca_file, quick = str(server.ca_file), {"pause_s": 1, "deadline_s": 5.0}
    if way in ("cluster", "review"):
        workload = WorkloadSettings(subject=ACCOUNT, tenant="acme", memories=("notes",), rights=("writer",))
        kubernetes = KubernetesSettings(
            url=server.url,
            check="review" if way == "review" else "jwks",
            ca_file=ca_file,
            token_file=str(server.token_file),
            **{"workloads": (workload,), **more},
        )
        return kubernetes.issuer, OidcSettings(**quick), kubernetes
    places = {"url": {"jwks_url": f"{server.url}/keys"}, "discovery": {}, "file": {"jwks_file": str(folder / "keys.json")}}
    (folder / "keys.json").write_text(json.dumps({"keys": [key.jwk for key in server.keys]}))
    name = server.url if way == "discovery" else NAMED
    plain = {"tenant": "acme", "memories": ("notes",), "rights": ("writer",), "audience": AUDIENCE, "ca_file": ca_file}
    issuer = IssuerSettings(issuer=name, **{**plain, **places[way], **more})
    return name, OidcSettings(issuers=(issuer,), **quick), KubernetesSettings()


@pytest.fixture(params=WAYS)
async def door(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Door]:
    """One door of each way."""
    async with opened(request.param, tmp_path) as found:
        yield found


async def test_a_good_token_stands_for_what_the_settings_say(door: Door) -> None:
    """Tenant, memories and rights are mapped; the id is the same each time and no text of the issuer's."""
    first = await door.identities.principal(door.token())
    again = await door.identities.principal(door.token(jti="another"))

    assert (first.tenant, first.memories, first.rights) == ("acme", {"notes"}, {"append", "search"})
    assert first.token_id == again.token_id
    assert ACCOUNT not in first.token_id
    assert first.expires_at is not None


FORGERIES: dict[str, Callable[[Door], str]] = {
    "no token": lambda door: "a.b.c",
    "empty parts": lambda door: "..",
    "another issuer": lambda door: door.key.sign(claims("https://elsewhere.example")),
    "no issuer": lambda door: door.token(iss=None),
    "another audience": lambda door: door.token(aud="another-service"),
    "no audience": lambda door: door.token(aud=None),
    "expired": lambda door: door.token(iat=int(time.time()) - 900, exp=int(time.time()) - 600),
    "not yet": lambda door: door.token(nbf=int(time.time()) + 600),
    "no end": lambda door: door.token(exp=None),
    "another key": lambda door: door.token(key=STRANGER),
    "another key of another name": lambda door: STRANGER.sign(claims(door.issuer), kid="k2"),
    "alg none": lambda door: forged({"alg": "none", "kid": "k1"}, claims(door.issuer)),
    "alg None": lambda door: forged({"alg": "None"}, claims(door.issuer)),
    "no alg": lambda door: forged({"kid": "k1"}, claims(door.issuer), b"x"),
    "alg is a list": lambda door: forged({"alg": ["ES256"], "kid": "k1"}, claims(door.issuer), b"x"),
    "public key as a shared secret": lambda door: confused(door.key, claims(door.issuer)),
    "signature cut off": lambda door: door.token().rpartition(".")[0] + ".",
    "claims changed": lambda door: tampered(door.token(), sub="system:serviceaccount:agents:admin"),
    "key in the header": lambda door: STRANGER.sign(claims(door.issuer), jwk=STRANGER.jwk, kid="k9"),
    "kid is a path": lambda door: door.token(key=STRANGER, header={"kid": "../../../../dev/null"}),
    "nested too deeply": lambda door: forged({"alg": "ES256"}, {}, b"").replace("e30", encoded(b"[" * 4000)),
    "too long": lambda door: door.token(padding="x" * 9000),
}
"""Tokens that nobody may accept."""


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_no_forgery_is_accepted(door: Door, forgery: str) -> None:
    """Each is refused with the same words and a reason of its own; good tokens go on working."""
    assert await door.reason(FORGERIES[forgery](door))
    assert await door.identities.principal(door.token())


async def test_a_token_of_nobody_who_is_mapped_is_refused(tmp_path: Path) -> None:
    """Also one that the cluster vouches for."""
    for way in ("cluster", "review"):
        async with opened(way, tmp_path / way) as door:
            assert await door.reason(door.token(sub="system:serviceaccount:agents:reader")) == "subject"
            assert await door.reason(door.token(sub="system:node:worker-1")) in {"subject", "review"}


async def test_a_group_gives_what_the_account_itself_does_not_have(tmp_path: Path) -> None:
    """What names an account and its namespace adds up."""
    both = (
        WorkloadSettings(subject=ACCOUNT, tenant="acme", memories=("notes",), rights=("append",), labels=("hr",)),
        WorkloadSettings(subject="system:serviceaccounts:agents", tenant="acme", memories=("team",), rights=("reader",), labels=("it",)),
    )
    for way in ("cluster", "review"):
        async with opened(way, tmp_path / way, workloads=both) as door:
            found = await door.identities.principal(door.token())
            assert (found.memories, found.rights, found.labels) == ({"notes", "team"}, {"append", "search"}, {"hr", "it"})
            other = await door.identities.principal(door.token(sub="system:serviceaccount:agents:other"))
            assert (other.memories, other.rights) == ({"team"}, {"search"})


async def test_two_tenants_for_one_account_are_none(tmp_path: Path) -> None:
    """Which one it meant cannot be guessed."""
    both = tuple(
        WorkloadSettings(subject=subject, tenant=tenant, memories=("*",), rights=("reader",))
        for subject, tenant in ((ACCOUNT, "acme"), ("system:serviceaccounts", "other"))
    )
    async with opened("review", tmp_path, workloads=both) as door:
        assert await door.reason(door.token()) == "subject"


async def test_a_review_that_names_another_audience_does_not_count(tmp_path: Path) -> None:
    """A server that knows no audiences says yes to tokens of any."""
    async with opened("review", tmp_path) as door:
        door.server.audiences = ["https://kubernetes.default.svc"]
        assert await door.reason(door.token()) == "audience"
        door.server.audiences = []
        assert await door.reason(door.token(jti="2")) == "audience"


@pytest.mark.parametrize("way", ["url", "discovery", "cluster", "review"])
async def test_an_issuer_that_was_never_reached_is_an_outage(tmp_path: Path, way: str) -> None:
    """Not the caller's fault, and told apart from it."""
    async with opened(way, tmp_path) as door:
        door.server.away = True
        with pytest.raises(Unavailable):
            await door.identities.principal(door.token())
        assert [one.state for one in door.identities.states()] == ["down"]


@pytest.mark.parametrize("way", ["url", "discovery", "cluster"])
async def test_keys_serve_while_their_issuer_is_away(tmp_path: Path, way: str) -> None:
    """New tokens of known keys too; the health says that it is away as soon as somebody needed it."""
    async with opened(way, tmp_path) as door:
        await door.identities.principal(door.token())
        door.server.away = True

        assert (await door.identities.principal(door.token(jti="new"))).tenant == "acme"


async def test_our_own_token_is_read_for_each_request(tmp_path: Path) -> None:
    """Kubernetes replaces it every hour."""
    async with opened("review", tmp_path) as door:
        await door.identities.principal(door.token())
        door.server.wanted = "a-newer-token"
        with pytest.raises(Unavailable):
            await door.identities.principal(door.token(jti="2"))
        door.server.token_file.write_text("a-newer-token\n")
        assert await door.identities.principal(door.token(jti="2"))


async def test_a_server_with_another_certificate_is_not_asked(tmp_path: Path) -> None:
    """Whoever stands between us and the API server would see every token."""
    async with issuing(tmp_path / "theirs", KEY) as server, issuing(tmp_path / "others", KEY) as other:
        for way in ("url", "cluster", "review"):
            _, oidc, kubernetes = (
                settings_of(way, server, tmp_path, ca_file=str(other.ca_file)) if way == "url" else settings_of(way, server, tmp_path)
            )
            if way != "url":
                kubernetes = KubernetesSettings(
                    url=server.url,
                    check=kubernetes.check,
                    ca_file=str(other.ca_file),
                    token_file=str(server.token_file),
                    workloads=kubernetes.workloads,
                )
            identities = open_identities(oidc, kubernetes)
            assert identities is not None
            with pytest.raises(Unavailable):
                await identities.principal(KEY.sign(claims(NAMED if way == "url" else kubernetes.issuer)))
            await identities.close()
            assert server.asked == []


async def test_somebody_who_looks_is_told_whether_tokens_can_be_checked(door: Door) -> None:
    """Without any token; the doctor asks this."""
    assert await door.identities.look() == []


@pytest.mark.parametrize("way", ["url", "discovery", "cluster", "review"])
async def test_somebody_who_looks_is_told_that_an_issuer_is_away(tmp_path: Path, way: str) -> None:
    """By its name."""
    async with opened(way, tmp_path) as door:
        door.server.away = True
        (told,) = await door.identities.look()
        assert told.startswith(f"{door.issuer}: ")
