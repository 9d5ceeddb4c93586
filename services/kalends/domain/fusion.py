"""Fusion: from the scores of several arms to one ranking.

Belongs here: scaling, weighing, smoothing; pure arithmetic on scores. Does not belong here: asking an engine. A newcomer would get wrong:
reciprocal-rank fusion with a weak arm is worse than BM25 alone on public data, the weighted sum of scaled scores is not (docs/decisions).
Ties go to the lower key, so that equal inputs give equal answers.
"""

from collections.abc import Mapping, Sequence

from kalends.domain.events import EventKey

Scores = Mapping[EventKey, float]
Neighbours = Mapping[EventKey, tuple[EventKey | None, EventKey | None]]


def scaled_to_best(scores: Scores) -> dict[EventKey, float]:
    """*scores* divided by the best, for scores whose zero means "nothing in common", as BM25's does."""
    best = max(scores.values(), default=0.0)
    return {key: score / best for key, score in scores.items()} if best > 0 else dict.fromkeys(scores, 0.0)


def scaled_to_range(scores: Scores) -> dict[EventKey, float]:
    """*scores* moved and stretched to [0, 1], for scores without a meaningful zero, as cosines have; all equal become 0."""
    if not scores:
        return {}
    low, high = min(scores.values()), max(scores.values())
    span = max(high - low, 1e-9)
    return {key: (score - low) / span for key, score in scores.items()}


def weighted(arms: Sequence[tuple[Scores, float]]) -> dict[EventKey, float]:
    """The weighted sum of already scaled arms; an arm that lacks a key gives it 0."""
    fused: dict[EventKey, float] = {}
    for scores, weight in arms:
        for key, score in scores.items():
            fused[key] = fused.get(key, 0.0) + weight * score
    return fused


def smoothed(scores: Scores, neighbours: Neighbours, *, shares: Mapping[EventKey, float]) -> dict[EventKey, float]:
    """Each score plus its share of its better neighbour's in the session.

    A neighbour without a score counts 0, and enters with its share of what stands beside it. A key without a share takes nothing.
    """
    beside: dict[EventKey, float] = {}
    for key, (before, after) in neighbours.items():
        score = scores.get(key, 0.0)
        for neighbour in (before, after):
            if neighbour is not None:
                beside[neighbour] = max(beside.get(neighbour, 0.0), score)
                beside[key] = max(beside.get(key, 0.0), scores.get(neighbour, 0.0))
    found = dict(scores)
    for key, best in beside.items():
        found[key] = found.get(key, 0.0) + shares.get(key, 0.0) * best
    return found


def share_of(length: int, *, share: float, full_up_to: int) -> float:
    """How much of a neighbour's score an event of *length* characters takes: *share* up to *full_up_to*, then falling with the square.

    A short turn is often understood only with the one before it; a long one speaks for itself (measured: docs/decisions).
    """
    return share * min(1.0, full_up_to / max(length, 1)) ** 2


def ranked(scores: Scores) -> list[EventKey]:
    """Keys by score, best first; ties by key."""
    return sorted(scores, key=lambda key: (-scores[key], key))
