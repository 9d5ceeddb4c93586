"""What every test of a real API server is marked with.

Belongs here: marks. Does not belong here: a fixture. A newcomer would get wrong: the first test of a machine builds the control plane, so
the deadline of each has to be as long as that.
"""

import pytest

from tests.support.kubernetes.recipe import BUILD_S

MARKS = [pytest.mark.kubernetes, pytest.mark.timeout(BUILD_S)]
