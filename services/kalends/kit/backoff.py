"""Growing pauses with full jitter (https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter)."""

import random
from collections.abc import Iterator


def pauses(*, first: float, longest: float, choose: random.Random | None = None) -> Iterator[float]:
    """Seconds to wait before each next try: uniformly between half and all of a bound that doubles from *first* up to *longest*."""
    source = choose or random.SystemRandom()
    bound = first
    while True:
        yield source.uniform(bound / 2, bound)
        bound = min(bound * 2, longest)
