"""What a support bundle lets through of log lines and of settings."""

import pytest

from kalends.app import bundle
from kalends.settings import LogSettings, Settings

WORD = "zebrafinch"


@pytest.mark.parametrize(
    "line",
    [
        f'Publish Violation - User "{WORD}", Subject "kalends.v1.local.{WORD}.search"',
        f"Invalid enum value '{WORD}' - at `$.{WORD}`",
        f"slow consumer on kalends.v1.local.{WORD}.out.indexed",
        f"JetStream API $JS.API.STREAM.INFO.{WORD} took long",
        f"no responders at _INBOX_{WORD}.1",
        f"http://{WORD}:{WORD}@127.0.0.1:9/{WORD}?{WORD}=1 does not answer",
    ],
)
def test_what_is_quoted_and_every_subject_is_masked(line: str) -> None:
    """Both hold names that people gave."""
    assert WORD not in bundle.masked(line)


def test_the_rest_of_a_line_stays() -> None:
    """Or it would help nobody."""
    line = "[21280] 2026/11/22 13:36:59 [ERR] Filestore [KEYS] Critical write error: no space left on device"
    assert bundle.masked(line) == line


def test_settings_tell_numbers_choices_and_hosts_only() -> None:
    """A user, a password, a path and any other text are replaced by whether they are set."""
    url = f"tls://{WORD}:{WORD}@nats.example:4222,tls://b:4222/{WORD}?{WORD}={WORD}"
    settings = Settings(data=f"/home/{WORD}", log=LogSettings(url=url, user=WORD, replicas=3))

    told = bundle.told_settings(settings)

    assert told["log"]["url"] == "tls://nats.example:4222,tls://b:4222"
    assert (told["log"]["user"], told["log"]["replicas"], told["log"]["password_file"]) == ("<set>", 3, "")
    assert told["data"] == "<set>"
    assert WORD not in str(told)
