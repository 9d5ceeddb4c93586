"""The table of what secrets and personal data look like.

Belongs here: patterns with where they come from, and the arithmetic that tells a number from its likes. Does not belong here: applying them
(``redactor``). A newcomer would get wrong: every pattern must take time in proportion to the text whatever it holds, for texts come from
strangers; so nothing that repeats holds something that repeats, but where it cannot give back (``++``).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

WORD = 18
_LEFT = r"(?<![A-Za-z0-9])"
_RIGHT = r"(?![A-Za-z0-9])"
_NAMES = (
    r"pass(?:word|wd|phrase)|pwd|secret|api[_-]?key|apikey|access[_-]?key|auth[_-]?token|access[_-]?token|refresh[_-]?token"
    r"|client[_-]?secret|private[_-]?token|account[_-]?key|signing[_-]?key|encryption[_-]?key|token"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """One kind of thing.

    ``anchors`` are literals of which one stands in every match; ``folded``: they and the pattern are for the text in lower case.
    ``group`` is the part that is masked. ``narrow`` says how many characters of it are really the thing, 0 for none. ``source`` says
    who told its shape.
    """

    label: str
    category: str
    pattern: re.Pattern[str]
    anchors: tuple[str, ...]
    source: str
    folded: bool = False
    group: int = 0
    narrow: Callable[[str], int] | None = None
    word: bool = False
    """Whether it is always part of a word of at least ``WORD`` characters, so that a text without one need not be looked at."""


def _credential(label: str, pattern: str, *anchors: str, source: str) -> Detector:
    """A token that its own first characters give away."""
    return Detector(label=label, category="credentials", pattern=re.compile(_LEFT + pattern), anchors=anchors, source=source, word=True)


def _assigned(value: str) -> int:
    """A word that was assigned to a name such as ``password`` is taken for a secret if it has letters and digits, as sentences do not."""
    mixed = any(character.isdigit() for character in value) and any(character.isalpha() for character in value)
    return len(value) if mixed and not value.startswith(("http://", "https://", "/")) else 0


def _long_secret(value: str) -> int:
    """Forty characters of base64 that are no path and no plain hexadecimal digest."""
    plain = value.isalnum() and (value.islower() or value.isdigit())
    return 0 if plain or value.count("/") > 4 else len(value)


_PREFIXED = (
    _credential(
        "aws-access-key",
        r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}" + _RIGHT,
        "AKIA",
        "ASIA",
        "ABIA",
        "ACCA",
        source="docs.aws.amazon.com: IAM, unique identifiers",
    ),
    _credential(
        "github-token",
        r"(?:gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9_]{22,244})",
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
        source="docs.github.com: about authentication, token formats",
    ),
    _credential(
        "gitlab-token",
        r"gl(?:pat|oas|dt|rt|cbt|ptt|ft|imt|agent|soat|ffct|wt)-[A-Za-z0-9_.-]{20,300}",
        "glpat-",
        "gloas-",
        "gldt-",
        "glrt-",
        "glcbt-",
        "glptt-",
        "glft-",
        "glimt-",
        "glagent-",
        "glsoat-",
        "glffct-",
        "glwt-",
        source="docs.gitlab.com: token overview, token prefixes",
    ),
    _credential(
        "slack-token",
        r"(?:xox[abeoprs](?:\.xox[bp])?-[A-Za-z0-9-]{13,250}|xapp-\d-[A-Za-z0-9-]{13,250})",
        "xoxa-",
        "xoxb-",
        "xoxe",
        "xoxo-",
        "xoxp-",
        "xoxr-",
        "xoxs-",
        "xapp-",
        source="docs.slack.dev: token types",
    ),
    _credential(
        "slack-webhook",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/]{20,120}",
        "hooks.slack.com",
        source="docs.slack.dev: incoming webhooks",
    ),
    _credential(
        "stripe-key",
        r"(?:(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{10,250}|whsec_[A-Za-z0-9+/=]{24,250})",
        "sk_live_",
        "sk_test_",
        "rk_live_",
        "rk_test_",
        "whsec_",
        source="docs.stripe.com: API keys",
    ),
    _credential("google-api-key", r"AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])", "AIza", source="cloud.google.com: API keys"),
    _credential(
        "google-oauth-token",
        r"(?:ya29\.[A-Za-z0-9_-]{20,2048}|GOCSPX-[A-Za-z0-9_-]{28}|1//0[A-Za-z0-9_-]{30,512})",
        "ya29.",
        "GOCSPX-",
        "1//0",
        source="developers.google.com: OAuth 2.0, token size",
    ),
    Detector(
        label="gcp-service-account",
        category="credentials",
        pattern=re.compile(r'"private_key_id"\s{0,20}:\s{0,20}"([0-9a-f]{40})"'),
        anchors=('"private_key_id"',),
        group=1,
        source="cloud.google.com: service account keys",
    ),
    _credential(
        "openai-key",
        r"sk-(?:(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{20,250}|[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}|[A-Za-z0-9]{48}" + _RIGHT + ")",
        "sk-",
        source="platform.openai.com: API keys",
    ),
    _credential("anthropic-key", r"sk-ant-[A-Za-z0-9_-]{20,250}", "sk-ant-", source="docs.anthropic.com: API keys"),
    _credential("openrouter-key", r"sk-or-(?:v1-)?[A-Za-z0-9]{32,128}", "sk-or-", source="openrouter.ai/docs: authentication"),
    _credential("huggingface-token", r"hf_[A-Za-z0-9]{30,250}", "hf_", source="huggingface.co/docs: user access tokens"),
    _credential("npm-token", r"npm_[A-Za-z0-9]{36}" + _RIGHT, "npm_", source="github.blog: npm access token formats"),
    _credential("pypi-token", r"pypi-Ag[A-Za-z0-9_-]{50,1000}", "pypi-Ag", source="PyPI: help, API tokens"),
    _credential("rubygems-key", r"rubygems_[0-9a-f]{48}" + _RIGHT, "rubygems_", source="guides.rubygems.org: API keys"),
    _credential("sendgrid-key", r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}", "SG.", source="docs.sendgrid.com: API keys"),
    _credential("twilio-key", r"SK[0-9a-f]{32}" + _RIGHT, "SK", source="twilio.com/docs: API keys, SID of the key"),
    _credential("mailchimp-key", r"[0-9a-f]{32}-us\d{1,2}" + _RIGHT, "-us", source="mailchimp.com/developer: quick start"),
    _credential("mailgun-key", r"key-[0-9a-f]{32}" + _RIGHT, "key-", source="documentation.mailgun.com: API authentication"),
    _credential("digitalocean-token", r"do[opr]_v1_[0-9a-f]{64}", "doo_v1_", "dop_v1_", "dor_v1_", source="docs.digitalocean.com: tokens"),
    _credential(
        "shopify-token", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}", "shpat_", "shpca_", "shppa_", "shpss_", source="shopify.dev: access tokens"
    ),
    _credential("square-token", r"sq0(?:atp|csp|idp)-[A-Za-z0-9_-]{22,60}", "sq0", source="developer.squareup.com: access tokens"),
    _credential("telegram-token", r"\d{8,10}:AA[A-Za-z0-9_-]{33}" + _RIGHT, ":AA", source="core.telegram.org/bots: tokens"),
    Detector(
        label="discord-token",
        category="credentials",
        pattern=re.compile(r"\.(?<=[A-Za-z0-9_-]{23}\.)([A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40})(?![A-Za-z0-9_-])"),
        anchors=(".",),
        group=1,
        source="discord.com/developers: bot tokens; before the first dot stands the bot's public id",
        word=True,
    ),
    _credential(
        "discord-webhook",
        r"discord(?:app)?\.com/api/webhooks/\d{15,22}/[A-Za-z0-9_-]{50,90}",
        "/api/webhooks/",
        source="discord.com/developers",
    ),
    _credential("vault-token", r"hv[sbr]\.[A-Za-z0-9_-]{24,300}", "hvs.", "hvb.", "hvr.", source="developer.hashicorp.com: Vault tokens"),
    _credential(
        "terraform-token", r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,70}", ".atlasv1.", source="developer.hashicorp.com: API tokens"
    ),
    _credential("databricks-token", r"dapi[0-9a-f]{32}(?:-\d)?" + _RIGHT, "dapi", source="docs.databricks.com: personal access tokens"),
    _credential("docker-token", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{27,40}", "dckr_", source="docs.docker.com: access tokens"),
    _credential("grafana-token", r"gl(?:sa|c)_[A-Za-z0-9+/=_]{32,400}", "glsa_", "glc_", source="grafana.com/docs: service accounts"),
    _credential("newrelic-key", r"NRAK-[A-Z0-9]{27}" + _RIGHT, "NRAK-", source="docs.newrelic.com: API keys"),
    _credential("atlassian-token", r"ATATT3[A-Za-z0-9_=-]{40,300}", "ATATT3", source="developer.atlassian.com: API tokens"),
    _credential("linear-key", r"lin_(?:api|oauth)_[A-Za-z0-9]{32,80}", "lin_api_", "lin_oauth_", source="linear.app/developers"),
    _credential("notion-token", r"(?:ntn_|secret_)[A-Za-z0-9]{43,50}" + _RIGHT, "ntn_", "secret_", source="developers.notion.com: tokens"),
    _credential("groq-key", r"gsk_[A-Za-z0-9]{40,60}" + _RIGHT, "gsk_", source="console.groq.com: API keys"),
    _credential("perplexity-key", r"pplx-[A-Za-z0-9]{40,60}" + _RIGHT, "pplx-", source="docs.perplexity.ai: API keys"),
    _credential("supabase-key", r"sb(?:p|_secret)_[A-Za-z0-9_-]{20,80}", "sbp_", "sb_secret_", source="supabase.com/docs: API keys"),
    _credential("age-key", r"AGE-SECRET-KEY-1[A-Z0-9]{58}", "AGE-SECRET-KEY-1", source="age-encryption.org: specification"),
    _credential("nats-seed", r"S[ACNOUXP][A-Z2-7]{56}" + _RIGHT, "SA", "SC", "SN", "SO", "SU", "SX", "SP", source="docs.nats.io: NKeys"),
    _credential("kalends-token", r"ka[ls]_[A-Za-z0-9_-]{40,2048}", "kal_", "kas_", source="kalends.domain.credentials"),
    _credential(
        "jwt",
        r"(?<![_-])eyJ[A-Za-z0-9_-]{8,4096}\.eyJ[A-Za-z0-9_-]{8,16384}\.[A-Za-z0-9_-]{0,2048}",
        "eyJ",
        source="RFC 7519, RFC 7515",
    ),
)

_NAMED = (
    Detector(
        label="aws-secret-key",
        category="credentials",
        folded=True,
        anchors=("secret",),
        group=1,
        narrow=_long_secret,
        pattern=re.compile(r"secret[^\r\n]{0,40}?(?<![a-z0-9/+=])([a-z0-9/+]{40})(?![a-z0-9/+=])"),
        source="docs.aws.amazon.com: managing access keys",
    ),
    Detector(
        label="azure-storage-key",
        category="credentials",
        anchors=("AccountKey=", "SharedAccessKey="),
        group=1,
        pattern=re.compile(r"(?:AccountKey|SharedAccessKey)=([A-Za-z0-9+/]{40,100}={0,2})"),
        source="learn.microsoft.com: storage connection strings",
    ),
    Detector(
        label="azure-sas",
        category="credentials",
        anchors=("sig=",),
        group=1,
        pattern=re.compile(r"[?&;]sig=([A-Za-z0-9%+/_-]{40,100}={0,2})"),
        source="learn.microsoft.com: shared access signatures",
    ),
    Detector(
        label="url-password",
        category="credentials",
        anchors=("://",),
        group=1,
        pattern=re.compile(r"(?<=://)[^\s/?#:@\"'<>\[\]]{0,256}+:([^\s/?#@\"'<>\[\]]{1,256}+)@(?=[\w\[])"),
        source="RFC 3986, section 3.2.1",
    ),
    Detector(
        label="basic-auth",
        category="credentials",
        folded=True,
        anchors=("basic ",),
        group=1,
        pattern=re.compile(r"authorization[\"']?\s{0,5}[:=]\s{0,5}[\"']?basic {1,5}([a-z0-9+/_-]{6,2048}={0,2})"),
        source="RFC 7617",
    ),
    Detector(
        label="bearer-token",
        category="credentials",
        folded=True,
        anchors=("bearer ",),
        group=1,
        pattern=re.compile(r"authorization[\"']?\s{0,5}[:=]\s{0,5}[\"']?bearer {1,5}([a-z0-9._~+/-]{12,4096}={0,2})"),
        source="RFC 6750",
    ),
    Detector(
        label="assigned-secret",
        category="credentials",
        folded=True,
        group=1,
        narrow=_assigned,
        anchors=("pass", "pwd", "secret", "key", "token"),
        pattern=re.compile(rf"(?:{_NAMES})[\"']?\s{{0,3}}(?:=>|:=|=|:)\s{{0,3}}[\"']?([^\s\"'`,;<>{{}}\[\]$()]{{8,}}+)(?![\[({{])"),
        source="names that twelve-factor configurations and .env files use",
    ),
)


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


_CARDS = re.compile(
    r"4\d{12}(?:\d{3})?(?:\d{3})?|5[1-5]\d{14}|2(?:2[2-9]|[3-6]\d|7[01]|720)\d{12,13}|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}|35\d{14}"
    r"|6(?:011|4[4-9]\d|5\d\d)\d{12,15}|62\d{14,17}"
)


def _card(text: str) -> int:
    """How many characters of *text* are a card's number: a length and a beginning that cards have, and its check digit (ISO/IEC 7812).

    The longest is taken; what follows may be its date and code.
    """
    for size in range(len(text), 12, -1):
        digits = text[:size].replace(" ", "").replace("-", "")
        whole = text[size - 1].isdigit() and not text[size : size + 1].isdigit()
        if whole and len(set(digits)) > 1 and _CARDS.fullmatch(digits) and _luhn(digits):
            return size
    return 0


IBAN_LENGTHS: Mapping[str, int] = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FO GL NL SD FK",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM TL SO",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB NI PL SV HN",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}
"""Characters of an IBAN by country (SWIFT, IBAN Registry)."""


def _iban(text: str) -> int:
    """How many characters of *text*, blanks included, are an IBAN; ISO 13616: the check digits make the number 1 modulo 97."""
    wanted = IBAN_LENGTHS.get(text[:2], 0)
    taken, size = [], 0
    for size, character in enumerate(text, start=1):  # noqa: B007 - the size of what was taken is the answer
        if character != " ":
            taken.append(character)
        if len(taken) == wanted:
            break
    number = "".join(taken)
    if not wanted or len(number) != wanted or text[size : size + 1].isalnum():
        return 0
    return size if int("".join(str(int(one, 36)) for one in number[4:] + number[:4])) % 97 == 1 else 0


def _phone(text: str) -> int:
    """A number of a length that E.164 allows."""
    digits = sum(character.isdigit() for character in text)
    return len(text.rstrip(" .-(")) if 8 <= digits <= 15 else 0


_PERSONAL = (
    Detector(
        label="card",
        category="card",
        anchors=tuple("23456"),
        narrow=_card,
        pattern=re.compile(r"(?<![\w.+-])\d(?:[ -]?\d){12,26}"),
        source="ISO/IEC 7812; lengths and beginnings as the card schemes publish them",
    ),
    Detector(
        label="email",
        category="email",
        anchors=("@",),
        pattern=re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}+@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])"),
        source="RFC 5321, what mail is really sent to",
    ),
    Detector(
        label="phone",
        category="phone",
        anchors=("+", "00"),
        narrow=_phone,
        pattern=re.compile(r"(?<![\w+.])(?<!\d )(?:\+|00)[1-9](?:[ ().-]{0,2}\d){7,14}(?!\d)"),
        source="ITU-T E.164 and E.123",
    ),
    Detector(
        label="phone",
        category="phone",
        anchors=tuple("23456789"),
        pattern=re.compile(r"(?<![\w.+-])(?:1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[ .-])[2-9]\d{2}[ .-]\d{4}(?![\w-])"),
        source="North American Numbering Plan, as it is written",
    ),
    Detector(
        label="iban",
        category="iban",
        anchors=tuple("0123456789"),
        narrow=_iban,
        pattern=re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,40}"),
        source="ISO 13616; SWIFT, IBAN Registry",
    ),
)

DETECTORS: tuple[Detector, ...] = (*_PREFIXED, *_NAMED, *_PERSONAL)
"""Every detector; private keys are found apart (``redactor``), because their ends are lines of their own."""
