"""That an instance of the fork server is as one that was started by itself: what other tests see of it is the same.

Belongs here: what a start gives and what an end says, both ways. Does not belong here: what an instance does. A newcomer would get wrong:
most tests never see a start of its own any more, so whatever differs would be seen by nobody but these.
"""

import contextlib
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support import forkserver
from tests.support.api import Away
from tests.support.instance import Child, Instance, NotStarted, clean_environment
from tests.support.load import an_event
from tests.support.verdicts import api_of

NewFolder = Callable[[Path], Path]
BOTH = pytest.mark.parametrize("fork", [True, False], ids=["forked", "by itself"])


def parent_of(pid: int) -> int:
    """The process that started *pid*."""
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])


@BOTH
def test_it_starts_answers_and_ends_when_asked(tmp_path: Path, prepared: NewFolder, *, fork: bool) -> None:
    """Its own session and group, and the status of a process that ended well."""
    with Instance(prepared(tmp_path / "data"), fork=fork) as instance:
        instance.start()
        assert (parent_of(instance.pid) == os.getpid()) is not fork
        assert os.getsid(instance.pid) == os.getpgid(instance.pid) == instance.pid
        assert Path(f"/proc/{instance.pid}/cwd").resolve() == Path.cwd()
        with api_of(instance) as api:
            assert api.status()["mode"] == "up"
        assert instance.terminate() == 0
        assert not instance.running
    assert instance.left_running() == []


@BOTH
def test_it_dies_where_it_is_told_to_and_the_next_does_not(tmp_path: Path, prepared: NewFolder, *, fork: bool) -> None:
    """Of the signal, which its status says; what one start was given does not reach the next."""
    with Instance(prepared(tmp_path / "data"), fork=fork) as instance:
        instance.start({"KALENDS_FAILPOINTS": "timeline.before-put=kill", "KALENDS_TELEMETRY__LEVEL": "error"})
        with api_of(instance) as api:
            api.make_memory("diary")
            # it may be gone before it has answered
            with contextlib.suppress(Away):
                api.append("diary", [an_event(random.Random(1), session="s")])
        assert instance.wait() == instance.wait() == -signal.SIGKILL
        assert '"info"' not in instance.last_words

        instance.start()
        with api_of(instance) as api:
            api.quiet()
        assert '"info"' in instance.last_words
        assert instance.terminate() == 0


@BOTH
def test_what_is_wrong_with_a_start_is_told(tmp_path: Path, *, fork: bool) -> None:
    """The status of a usage error, and why."""
    with Instance(tmp_path / "data", fork=fork) as instance, pytest.raises(NotStarted, match=r"http\.port") as refused:
        instance.start({"KALENDS_HTTP__PORT": "many"})
    assert refused.value.code == 2


@pytest.mark.parametrize("silenced", ["0", "1"])
def test_a_test_that_has_loaded_the_runtime_is_forked_for_too(
    tmp_path: Path, prepared: NewFolder, monkeypatch: pytest.MonkeyPatch, silenced: str
) -> None:
    """Loading it sets a variable of this process, before the server was started or after."""
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", silenced)
    with Instance(prepared(tmp_path / "data")) as instance:
        instance.start()
        assert parent_of(instance.pid) != os.getpid()


def test_another_environment_is_a_start_of_its_own(tmp_path: Path, prepared: NewFolder) -> None:
    """What libraries read while they are loaded cannot be changed any more."""
    with Instance(prepared(tmp_path / "data")) as instance:
        instance.start({"TZ": "Europe/Vienna"})
        assert parent_of(instance.pid) == os.getpid()


def test_the_server_forks_nothing_but_instances(tmp_path: Path) -> None:
    """Every other command is started as it stands."""
    with (tmp_path / "words").open("ab") as errors:
        assert forkserver.forked(["nats-server", "-v"], env=clean_environment(), output=None, errors=errors) is None
    child = Child(["/bin/sh", "-c", "exit 3"], env=clean_environment(), errors=tmp_path / "words", fork=True)
    assert child.wait() == 3
