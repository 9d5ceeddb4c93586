"""Secrets of many kinds that were never anybody's, made when a test runs.

Belongs here: what each kind looks like, from parts, so that no line of this repository looks like a secret to a scanner. Does not belong
here: finding them. A newcomer would get wrong: the same seed makes the same secret, so a test can plant one and look for it later.
"""

import base64
import hashlib
import json
import random
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass

HEX = "0123456789abcdef"
WORD = string.ascii_letters + string.digits
UPPER = string.ascii_uppercase + "234567"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A secret: the ``text`` that a person would write around it, and the part that must not be stored."""

    label: str
    text: str
    secret: str


def some(seed: random.Random, alphabet: str, count: int) -> str:
    """*count* characters; with a digit and a letter where the alphabet has both."""
    return "".join(seed.choice(alphabet) for _ in range(count - 2)) + alphabet[0] + alphabet[-1]


def _segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _jwt(seed: random.Random) -> str:
    return ".".join((_segment({"alg": "RS256", "typ": "JWT"}), _segment({"sub": some(seed, WORD, 12)}), some(seed, WORD, 86)))


def _pem(seed: random.Random, name: str, end: str = "\n") -> str:
    lines = [some(seed, WORD, 64) for _ in range(6)]
    return end.join((f"-----BEGIN {name}-----", *lines, f"-----END {name}-----"))


_MADE: Mapping[str, Callable[[random.Random], str]] = {
    "aws-access-key": lambda seed: "AK" + "IA" + some(seed, UPPER, 16),
    "github-token": lambda seed: "gh" + "p_" + some(seed, WORD, 36),
    "gitlab-token": lambda seed: "gl" + "pat-" + some(seed, WORD, 20),
    "slack-token": lambda seed: "xo" + "xb-" + some(seed, string.digits, 12) + "-" + some(seed, WORD, 24),
    "slack-webhook": lambda seed: (
        "hooks.slack" + ".com/services/T" + some(seed, UPPER, 9) + "/B" + some(seed, UPPER, 9) + "/" + some(seed, WORD, 24)
    ),
    "stripe-key": lambda seed: "sk_" + "live_" + some(seed, WORD, 24),
    "google-api-key": lambda seed: "AI" + "za" + some(seed, WORD, 35),
    "google-oauth-token": lambda seed: "ya" + "29." + some(seed, WORD, 60),
    "openai-key": lambda seed: "sk-" + "proj-" + some(seed, WORD, 64),
    "anthropic-key": lambda seed: "sk-" + "ant-api03-" + some(seed, WORD, 90),
    "openrouter-key": lambda seed: "sk-" + "or-v1-" + some(seed, HEX, 64),
    "huggingface-token": lambda seed: "hf" + "_" + some(seed, WORD, 34),
    "npm-token": lambda seed: "np" + "m_" + some(seed, WORD, 36),
    "pypi-token": lambda seed: "py" + "pi-AgEIcHlwaS5vcmc" + some(seed, WORD, 100),
    "sendgrid-key": lambda seed: "S" + "G." + some(seed, WORD, 22) + "." + some(seed, WORD, 43),
    "twilio-key": lambda seed: "S" + "K" + some(seed, HEX, 32),
    "mailchimp-key": lambda seed: some(seed, HEX, 32) + "-us" + "12",
    "digitalocean-token": lambda seed: "dop" + "_v1_" + some(seed, HEX, 64),
    "shopify-token": lambda seed: "shp" + "at_" + some(seed, HEX, 32),
    "telegram-token": lambda seed: some(seed, string.digits, 10) + ":A" + "A" + some(seed, WORD, 33),
    "vault-token": lambda seed: "hv" + "s." + some(seed, WORD, 90),
    "databricks-token": lambda seed: "da" + "pi" + some(seed, HEX, 32),
    "docker-token": lambda seed: "dckr" + "_pat_" + some(seed, WORD, 27),
    "grafana-token": lambda seed: "gl" + "sa_" + some(seed, WORD, 32) + "_" + some(seed, HEX, 8),
    "nats-seed": lambda seed: "S" + "U" + some(seed, UPPER, 56),
    "kalends-token": lambda seed: "ka" + "l_" + some(seed, WORD, 43),
    "jwt": _jwt,
    "private-key": lambda seed: _pem(seed, "OPENSSH " + "PRIVATE KEY"),
}


def planted(number: int = 0) -> list[Planted]:
    """One secret of each kind, the *number*-th of them, in a sentence that a person might send to an agent."""
    found = []
    for label, made in _MADE.items():
        secret = made(_seed(label, number))
        found.append(Planted(label=label, text=f"here, use {secret} and tell nobody", secret=secret))
    return found + _in_context(number)


def _in_context(number: int) -> list[Planted]:
    """Secrets that only their surroundings give away; the surroundings stay."""
    word = some(_seed("word", number), WORD, 18)
    key = some(_seed("key", number), WORD, 40)
    storage = some(_seed("storage", number), WORD, 86) + "=="
    header = base64.b64encode(f"ada:{word}".encode()).decode()
    service = _pem(_seed("service", number), "PRIVATE " + "KEY", end="\\n")
    return [
        Planted(label="url-password", text=f"connect to postgres://ada:{word}@db.internal:5432/app please", secret=word),
        Planted(label="assigned-secret", text=f"in .env: DATABASE_PASSWORD={word}", secret=word),
        Planted(label="basic-auth", text=f"curl -H 'Authorization: Basic {header}' http://x", secret=header),
        Planted(label="bearer-token", text=f'headers = {{"Authorization": "Bearer {word}"}}', secret=word),
        Planted(label="aws-secret-key", text=f"aws_secret_access_key = {key}", secret=key),
        Planted(label="azure-storage-key", text=f"AccountName=ada;AccountKey={storage};EndpointSuffix=core.windows.net", secret=storage),
        Planted(label="private-key", text=f'{{"type": "service_account", "private_key": "{service}\\n"}}', secret=service.split("\\n")[2]),
    ]


def _seed(label: str, number: int) -> random.Random:
    return random.Random(hashlib.sha256(f"{label} {number}".encode()).digest())
