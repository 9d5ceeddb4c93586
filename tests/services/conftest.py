"""What all tests of services share: no failpoint outlives the test that armed it."""

from collections.abc import Iterator

import pytest

from kalends.kit import failpoints


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    failpoints.arm({})
