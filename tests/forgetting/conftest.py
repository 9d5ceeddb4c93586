"""What the suites of forgetting share: an instance of each suite's own settings, and the instance and the people of ``platform``."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.platform import conftest as platform
from tests.support.instance import Instance

instance, prepared, admin, stranger = platform.instance, platform.prepared, platform.admin, platform.stranger


@pytest.fixture(scope="module")
def brisk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, prepared: Callable[[Path], Path]) -> Iterator[Instance]:
    """An instance with the module's SETTINGS, which does not wait long for anything."""
    with Instance(prepared(tmp_path_factory.mktemp("brisk") / "data"), settings=request.module.SETTINGS) as made:
        yield made.start()
