"""Texts to store and to ask for: turns of conversations, the same for the same seed.

Belongs here: making texts, events and questions. Does not belong here: sending them (``load``). A newcomer would get wrong: the words are
those of the model's own vocabulary, drawn by rank (Zipf), so that a word is one token and posting lists are as uneven as in real text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kalends.adapters.embedded import models
from kalends.domain.events import new_ulid

TURN_WORDS = 23.0
"""Mean words of a turn in public collections of long conversations; with date, speaker and punctuation about 35 tokens."""

SESSION_TURNS = 20
"""Turns of one session there."""

_SPREAD = 0.5
_BLOCK = 1000
_WORD = re.compile(r"[a-z]{2,14}")
_SPEAKERS = ("Caroline", "Melanie", "Jon", "Gina", "Maria", "John", "Nate", "Joanna")
_START = datetime(2024, 1, 1, 9, tzinfo=UTC)
_OPENINGS = ("when did", "what does", "where was", "why would", "how did", "which", "who told")


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One event to be."""

    number: int
    session_id: str
    actor: str
    text: str
    occurred_at: datetime

    @property
    def embedded(self) -> str:
        """What the model reads of it."""
        return f"{self.actor}: {self.text}"

    @property
    def indexed(self) -> str:
        """What BM25 reads of it."""
        return f"{self.occurred_at.date().isoformat()} {self.actor}: {self.text}"

    def item(self) -> dict[str, Any]:
        """The event as the API takes it."""
        return {
            "event_id": new_ulid(datetime.now(UTC)),
            "session_id": self.session_id,
            "kind": "message",
            "role": "user",
            "actor": self.actor,
            "text": self.text,
            "occurred_at": self.occurred_at.isoformat(),
        }


@cache
def words() -> tuple[str, ...]:
    """Words of the model's vocabulary, the frequent ones first."""
    vocabulary: dict[str, int] = models.open_tokenizer(models.model_folder() / "tokenizer.json").get_vocab()
    return tuple(word for word, _ in sorted(vocabulary.items(), key=lambda pair: pair[1]) if _WORD.fullmatch(word))


def turns(count: int, *, first: int = 0, session_turns: int = SESSION_TURNS) -> list[Turn]:
    """*count* turns from number *first* on; turn 17 is the same whoever asks for it."""
    blocks = range(first // _BLOCK, (first + count - 1) // _BLOCK + 1)
    made = [turn for block in blocks for turn in _block(block, session_turns)]
    skipped = first % _BLOCK
    return made[skipped : skipped + count]


@lru_cache(maxsize=64)
def _block(block: int, session_turns: int) -> Sequence[Turn]:
    random = np.random.default_rng([7, block])
    lengths = np.maximum(4, np.round(random.lognormal(np.log(TURN_WORDS) - _SPREAD**2 / 2, _SPREAD, _BLOCK))).astype(int)
    drawn = _drawn(random, int(lengths.sum()))
    made, start = [], 0
    for number, length in zip(range(block * _BLOCK, (block + 1) * _BLOCK), lengths.tolist(), strict=True):
        session, turn = divmod(number, session_turns)
        made.append(
            Turn(
                number=number,
                session_id=f"session-{session_turns}-{session}",
                actor=_SPEAKERS[(session % 4) * 2 + turn % 2],
                text=_sentence(drawn[start : start + length]),
                occurred_at=_START + timedelta(hours=session % 16_000, seconds=23 * turn),
            )
        )
        start += length
    return made


def questions(count: int, *, about: int, first: int = 0) -> list[str]:
    """*count* questions of about ten words, each with the rarest words of one of the first *about* turns."""
    random = np.random.default_rng([11, first])
    rank = {word: number for number, word in enumerate(words())}
    made = []
    for number in range(count):
        (turn,) = turns(1, first=int(random.integers(0, about)))
        told = sorted(set(_WORD.findall(turn.text.lower())), key=lambda word: -rank.get(word, 0))
        middle = _drawn(random, 3)
        made.append(f"{_OPENINGS[number % len(_OPENINGS)]} {turn.actor} {' '.join([*middle[:2], *told[:4], *middle[2:]])}?")
    return made


def _drawn(random: np.random.Generator, count: int) -> list[str]:
    known = words()
    return [known[place] for place in np.searchsorted(_edges(), random.random(count)).tolist()]


@cache
def _edges() -> NDArray[np.float64]:
    weights = 1.0 / np.arange(3, len(words()) + 3)
    shares: NDArray[np.float64] = np.cumsum(weights / weights.sum())
    return shares


def _sentence(drawn: Sequence[str]) -> str:
    """A turn out of words: a comma and a full stop now and then."""
    half = len(drawn) // 2
    return f"{' '.join(drawn[:half]).capitalize()}, {' '.join(drawn[half:])}."
