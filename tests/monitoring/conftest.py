"""What the tests of the monitoring share: data folders that need no model built."""

from tests.faults import conftest as faults

models, prepared = faults.models, faults.prepared
