"""Every process is replaced by one of another version, and back, and nobody who writes or asks is told anything wrong.

Belongs here: two versions that serve one log side by side, under load. Does not belong here: formats of the log
(``test_golden_folders``), or restarts of one version (``test_rolling``). A newcomer would get wrong: the way back is open only while the
newer version has written nothing that the older does not read, which a change of the log's format ends.
"""

from collections.abc import Iterator, Sequence

import pytest
from tests.support import earlier
from tests.support.deployment import ROLES, Deployment, deployed
from tests.support.earlier import OURS, Version
from tests.support.trials import Trial

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1800)]
PAIRS = [f"{role}-{number}" for role in ROLES for number in (1, 2)]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """The version before."""
    return earlier.obtained(tmp_path_factory.mktemp("before"))


@pytest.fixture(scope="module")
def pairs(before: Version, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Two replicas of each role, all of the version before, on three NATS nodes, OpenSearch and the wire server."""
    with deployed(tmp_path_factory.mktemp("upgrade") / "cluster", *PAIRS, settings=before.settings, served=True) as made:
        yield made


def replace(deployment: Deployment, names: Sequence[str], *, by: Version) -> None:
    """End each process gently and start one of *by* in its place, one after another, as a rollout does."""
    for name in names:
        assert deployment.processes[name].terminate() == 0, (name, deployment.processes[name].last_words)
        deployment.again(name, settings=by.settings)
    deployment.becomes_ready(*names)


def test_every_process_is_replaced_by_another_version_and_back_and_nothing_is_lost_or_wrong(pairs: Deployment, before: Version) -> None:
    """Both versions serve together for as long as that takes, while eight write and eight ask; each write is acked in the end, once."""
    trial = Trial(pairs, prefix="upgrade")
    with trial.goes_on():
        trial.answered("whole")
        replace(pairs, PAIRS, by=OURS)
        trial.answered("whole")
        replace(pairs, PAIRS, by=before)
        trial.answered("whole")
        replace(pairs, PAIRS[1::2], by=OURS)
        trial.answered("whole")

    trial.check()
