"""The keys of an issuer: which one counts, when they are fetched, how long they serve."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from tests.support.issuers import SigningKey

from kalends.adapters.oidc.key_sets import KeySet, keys_in
from kalends.domain.errors import Unauthenticated, Unavailable
from kalends.settings import OidcSettings

FIRST, SECOND = SigningKey("ES256", kid="first"), SigningKey("ES256", kid="second")
RSA = SigningKey("RS256", kid="rsa")
SETTINGS = OidcSettings(pause_s=10, refresh_s=300, keep_s=3600)


class Publisher:
    """An issuer's keys as a test changes them, and a clock."""

    def __init__(self, *keys: Mapping[str, Any]) -> None:
        self.keys = list(keys)
        self.away = False
        self.fetched = 0
        self.moment = 1000.0

    async def fetch(self) -> Sequence[Mapping[str, Any]]:
        self.fetched += 1
        if self.away:
            raise Unavailable("away")
        return list(self.keys)

    def now(self) -> float:
        return self.moment

    def key_set(self) -> KeySet:
        return KeySet(self.fetch, name="https://issuer.example", settings=SETTINGS, now=self.now)


async def refused(keys: KeySet, kid: str | None, algorithm: str = "ES256") -> bool:
    """Whether there is no such key."""
    try:
        await keys.key(kid, algorithm)
    except Unauthenticated as error:
        return error.reason == "key"
    return False


async def test_keys_are_fetched_once_for_many_questions() -> None:
    """A request to the issuer for each of ours would make it our bottleneck."""
    issuer = Publisher(FIRST.jwk, SECOND.jwk)
    keys = issuer.key_set()
    for _ in range(5):
        await keys.key("first", "ES256")
        await keys.key("second", "ES256")
    assert issuer.fetched == 1


async def test_a_new_key_is_fetched_when_a_token_names_it() -> None:
    """Issuers rotate without telling anybody."""
    issuer = Publisher(FIRST.jwk)
    keys = issuer.key_set()
    await keys.key("first", "ES256")
    issuer.keys = [SECOND.jwk]
    issuer.moment += SETTINGS.pause_s

    assert await keys.key("second", "ES256")
    assert await refused(keys, "first")
    assert keys.generation == 2


async def test_unknown_keys_cannot_make_us_ask_without_end() -> None:
    """Anybody may send tokens that name any key."""
    issuer = Publisher(FIRST.jwk)
    keys = issuer.key_set()
    for number in range(50):
        assert await refused(keys, f"guess-{number}")
    assert issuer.fetched == 1
    issuer.moment += SETTINGS.pause_s
    assert await refused(keys, "guess")
    assert issuer.fetched == 2


async def test_old_keys_are_fetched_again_and_a_key_that_is_gone_does_not_count() -> None:
    """Taking a key away is how an issuer revokes it."""
    issuer = Publisher(FIRST.jwk, SECOND.jwk)
    keys = issuer.key_set()
    await keys.key("first", "ES256")
    issuer.keys = [SECOND.jwk]
    assert not await refused(keys, "first")
    issuer.moment += SETTINGS.refresh_s + 1

    assert await refused(keys, "first")
    assert not await refused(keys, "second")


async def test_keys_serve_while_the_issuer_is_away_but_not_for_ever() -> None:
    """Its outage is not ours; and after long enough nobody knows what it has revoked."""
    issuer = Publisher(FIRST.jwk)
    keys = issuer.key_set()
    await keys.key("first", "ES256")
    issuer.away = True
    issuer.moment += SETTINGS.refresh_s + 1
    assert not await refused(keys, "first")
    assert keys.state == "degraded"
    issuer.moment += SETTINGS.keep_s
    with pytest.raises(Unavailable):
        await keys.key("first", "ES256")
    assert keys.state == "down"
    issuer.away = False
    issuer.moment += SETTINGS.pause_s
    assert not await refused(keys, "first")
    assert keys.state == "up"


@pytest.mark.parametrize(
    ("changes", "algorithm"),
    [
        ({}, "RS256"),
        ({"alg": "ES384"}, "ES256"),
        ({"use": "enc"}, "ES256"),
        ({"key_ops": ["sign"]}, "ES256"),
        ({"key_ops": "verify"}, "ES256"),
        ({"kty": "oct"}, "ES256"),
        ({"crv": "P-384"}, "ES256"),
        ({"x": "AAAA"}, "ES256"),
    ],
)
async def test_a_key_is_for_the_signatures_that_it_says(changes: Mapping[str, Any], algorithm: str) -> None:
    """Whatever the token says that it is signed with."""
    assert await refused(Publisher({**FIRST.jwk, **changes}).key_set(), "first", algorithm)


async def test_a_key_without_algorithm_serves_both_kinds_of_rsa_signatures() -> None:
    """Many issuers leave it out."""
    bare = {name: value for name, value in RSA.jwk.items() if name not in ("alg", "use")}
    keys = Publisher(bare).key_set()
    assert await keys.key("rsa", "RS256")
    assert await keys.key("rsa", "PS256")


async def test_a_short_rsa_key_is_refused() -> None:
    """Below 2048 bits it can be factored for money."""
    assert await refused(Publisher(SigningKey("RS256", kid="short", bits=1024).jwk).key_set(), "short", "RS256")


async def test_a_token_without_kid_needs_a_single_key_that_fits() -> None:
    """Trying several would let an old key pass for a new one."""
    assert not await refused(Publisher(FIRST.jwk, RSA.jwk).key_set(), None)
    assert await refused(Publisher(FIRST.jwk, SECOND.jwk).key_set(), None)


async def test_two_keys_of_one_name_are_none() -> None:
    """Which one was meant cannot be known."""
    assert await refused(Publisher(FIRST.jwk, {**SECOND.jwk, "kid": "first"}).key_set(), "first")


@pytest.mark.parametrize("told", [None, [], {}, {"keys": []}, {"keys": "x"}, {"keys": ["x"]}])
def test_a_document_without_keys_is_an_outage(told: object) -> None:
    """It must not empty what is known."""
    with pytest.raises(Unavailable):
        keys_in(told, name="x")
