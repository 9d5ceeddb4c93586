"""The suite of the port ``redactor``, over its adapter.

A newcomer would get wrong: what matters is that no part of a secret is left, not that its label is the first that comes to mind; a secret
that two patterns know is one stretch with one mask.
"""

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.secrets import WORD, Planted, planted, some

from kalends.adapters.embedded.redactor import PatternRedactor
from kalends.domain.redaction import CATEGORIES, DEFAULTS, Cleaning, mask
from kalends.ports.redactor import Redactor

EVERYTHING = dict.fromkeys(CATEGORIES, "mask")


@pytest.fixture
def redactor() -> Redactor:
    """The adapter."""
    return PatternRedactor()


def cleaned(redactor: Redactor, text: str, actions: dict[str, str] | None = None) -> tuple[str, tuple[str, ...]]:
    """*text* after cleaning, and the labels of what was masked."""
    cleaning = Cleaning(redactor.find, actions or EVERYTHING)
    return cleaning.text(text), cleaning.masked


def test_at_least_twenty_kinds_of_secrets_are_planted() -> None:
    """The tests below cannot pass by planting nothing."""
    assert len({one.label for one in planted()}) >= 30


@pytest.mark.parametrize("one", [each for number in range(3) for each in planted(number)], ids=lambda one: one.label)
def test_a_secret_is_found_whole_and_named(redactor: Redactor, one: Planted) -> None:
    """In a sentence, between quotes, in a list, and at either end of a text; nothing of it is left."""
    for around in ("{}", "'{}'", "- {}\n- milk", "é 寿司 {}, {}", "x\n{}\n"):
        text, labels = cleaned(redactor, around.replace("{}", one.text), dict(DEFAULTS))

        assert one.secret not in text
        assert not any(one.secret[start : start + 12] in text for start in range(len(one.secret) - 12))
        assert one.label in labels


def test_what_stands_around_a_secret_stays(redactor: Redactor) -> None:
    """The sentence can still be read, and says what kind of thing stood there."""
    [token] = [one for one in planted() if one.label == "github-token"]

    text, _ = cleaned(redactor, f"Ada said: {token.text}!")

    assert text == f"Ada said: here, use {mask('github-token')} and tell nobody!"


def test_a_mask_tells_nothing_of_what_it_stands_for(redactor: Redactor) -> None:
    """Not even its length: two secrets of one kind leave the same text."""
    short, long = ("hv" + "s." + some(random.Random(size), WORD, size) for size in (40, 120))

    assert cleaned(redactor, f"use {short} now") == cleaned(redactor, f"use {long} now")


def test_a_private_key_that_was_cut_off_is_masked_as_far_as_it_goes(redactor: Redactor) -> None:
    """Its lines are masked, and the sentence behind them stays."""
    lines = "\n".join(some(random.Random(number), WORD, 64) for number in range(4))
    text, labels = cleaned(redactor, "-----BEGIN RSA PRIVATE " + f"KEY-----\n{lines}\n\nthat is all I have")

    assert text == f"{mask('private-key')}\n\nthat is all I have"
    assert labels == ("private-key",)


def test_two_keys_are_two_masks(redactor: Redactor) -> None:
    """What stands between them is not taken with them."""
    [key] = [one for one in planted() if one.label == "private-key" and one.text.startswith("here")]

    text, _ = cleaned(redactor, f"{key.secret} and then {key.secret}")

    assert text == f"{mask('private-key')} and then {mask('private-key')}"


PEOPLE = [
    ("card", "my visa is 4111 1111 1111 1111 12/27 123", "my visa is [masked:card] 12/27 123"),
    ("card", "5500-0000-0000-0004", "[masked:card]"),
    ("card", "amex 378282246310005.", "amex [masked:card]."),
    ("email", "write to ada.lovelace+x@example.co.uk, please", "write to [masked:email], please"),
    ("email", "<grace@navy.example>", "<[masked:email]>"),
    ("phone", "call +44 20 7946 0958 tonight", "call [masked:phone] tonight"),
    ("phone", "call 0049 30 901820 tonight", "call [masked:phone] tonight"),
    ("phone", "(202) 555-0143 or 202-555-0143", "[masked:phone] or [masked:phone]"),
    ("iban", "IBAN DE89 3704 0044 0532 0130 00 AND BIC", "IBAN [masked:iban] AND BIC"),
    ("iban", "GB82WEST12345698765432", "[masked:iban]"),
]


@pytest.mark.parametrize(("category", "text", "expected"), PEOPLE, ids=lambda value: str(value)[:20])
def test_personal_data_is_found_where_it_is_asked_for(redactor: Redactor, category: str, text: str, expected: str) -> None:
    """And left alone otherwise."""
    assert cleaned(redactor, text, {category: "mask"}) == (expected, (category,))
    assert cleaned(redactor, text, dict(DEFAULTS)) == (text, ())


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112 has a wrong check digit",
        "DE89 3704 0044 0532 0130 01 too",
        "order 1774356000123456 of 2026-03-18 10:30:00",
        "version 1.2.3-202.555.0143",
        "my password is on the yellow note, and the token ring is old",
        "password: correct horse battery staple",
        "the secret: patience, young one",
        "token = request.headers['x-token-2']",
        "api_key=${API_KEY_2}, password=<your-password-1>, secret: {{ vault.item2 }}",
        "https://example.com/a/b?c=d and http://localhost:8000/x",
        "git checkout 07fd9e3c1a2b3c4d5e6f708192a3b4c5d6e7f809",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV and 0191c2a4-7e1b-7000-8000-0123456789ab",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGhlbGxv ada@laptop is public",
        "skipping sk-learn, hf_hub and npm_config",
        "she paid 20000000 euros for room 4000 on floor 12",
    ],
)
def test_what_only_looks_like_something_stays(redactor: Redactor, text: str) -> None:
    """Sentences, code that names no secret, identifiers, digests, public keys, numbers."""
    assert cleaned(redactor, text, {**EVERYTHING, "email": "off"}) == (text, ())


@given(text=st.text(max_size=400), picked=st.lists(st.sampled_from(planted()), max_size=4))
def test_a_cleaned_text_is_clean(text: str, picked: list[Planted]) -> None:
    """Cleaning again changes nothing, whatever stands around; so a text that passes twice is the same."""
    redactor = PatternRedactor()
    once, _ = cleaned(redactor, text.join(one.text for one in picked) + text)

    assert cleaned(redactor, once) == (once, ())


@given(text=st.text(max_size=300), categories=st.frozensets(st.sampled_from(CATEGORIES)))
def test_findings_are_stretches_of_the_text_of_the_wanted_categories(text: str, categories: frozenset[str]) -> None:
    """Half-open, never empty, whatever the text."""
    for finding in PatternRedactor().find(text, categories):
        assert 0 <= finding.start < finding.end <= len(text)
        assert finding.category in categories


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "unit", ["eyJ-", "://", "-----BEGIN PRIVATE KEY-----", "secret ", "SU", "4 ", "a@", "+1 ", "password:", "ghp_", "xoxe.", "."]
)
def test_a_hostile_text_is_read_in_one_breath(redactor: Redactor, unit: str) -> None:
    """As large as an event may be, and made of beginnings that lead nowhere."""
    text = (unit * (256 * 1024 // len(unit)))[: 256 * 1024]

    redactor.find(text, frozenset(CATEGORIES))
    redactor.find(text + string.ascii_letters, frozenset(CATEGORIES))
