"""What holds for every test: nothing of the user's own is read or written, and property tests are repeatable where it matters."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("people", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "people")

LONGEST_FIRST = (
    *("cluster/test_roles.py", "cluster/test_rolling.py", "cluster/test_rebuilds.py", "faults/test_failpoints.py"),
    # this one waits more than it computes, and lets others compute meanwhile
    "faults/test_slow_disk.py",
    *("forgetting/test_canaries.py", "cluster/test_forgetting_cluster.py", "forgetting/test_forgetting.py"),
    *("cluster/test_nats_faults.py", "cluster/test_opensearch_faults.py", "cluster/test_widening.py", "faults/test_backups.py"),
    *("faults", "forgetting", "cluster", "platform", "vllm", "services", "contracts"),
)
"""Files and folders by how long one of their files may take. What starts last ends alone while the other workers have nothing left."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the files that may take minutes begun first; within a file nothing moves."""
    here, rank = Path(__file__).parent, {name: place for place, name in enumerate(LONGEST_FIRST)}

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(here)
        return rank.get(path.as_posix(), rank.get(path.parts[0], len(rank)))

    items.sort(key=place)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests noted with ``record_property("figure", …)``, failed ones too; what a worker prints nobody sees."""
    for report in [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]:
        for name, value in report.user_properties:
            if name == "figure" and report.when == "call":
                terminalreporter.write_line(str(value))


@pytest.fixture(scope="session", autouse=True)
def _nobody_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty home and no settings from outside, for this process and every one that it starts."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("KALENDS_") and not name.startswith("KALENDS_TEST_"):
                patch.delenv(name)
        for name in ("HOME", "USERPROFILE", "LOCALAPPDATA", "APPDATA"):
            patch.setenv(name, str(home))
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
            patch.delenv(name, raising=False)
        yield
