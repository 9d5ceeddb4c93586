"""What the suites of forgetting share: the instance and the people of ``platform``."""

from tests.platform import conftest as platform

instance, prepared, admin, stranger = platform.instance, platform.prepared, platform.admin, platform.stranger
