"""Pauses between tries."""

import random
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from kalends.kit.backoff import pauses


@given(st.floats(0.001, 1), st.floats(1, 100), st.integers())
def test_pauses_grow_from_the_first_to_the_longest(first, longest, seed):
    """Each lies between half and all of a bound that doubles."""
    bound = first
    for pause in islice(pauses(first=first, longest=longest, choose=random.Random(seed)), 30):
        assert bound / 2 <= pause <= bound
        bound = min(bound * 2, longest)

    assert bound == longest


def test_two_who_wait_do_not_wait_alike():
    """Else they would all come back at once."""
    one, other = (list(islice(pauses(first=1.0, longest=8.0), 5)) for _ in range(2))

    assert one != other
