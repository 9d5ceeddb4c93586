"""What the story asks, and which answers are right.

Belongs here: the questions of the story's own history, and how questions are made of a reader's data. Does not belong here: asking. A
newcomer would get wrong: a right answer is named by words of the event that must be found, so that the history can be edited without
copying ids.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kalends.client import Event, Hit, SearchAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question; right if a hit among the first ``within`` holds ``phrase`` (or is ``event_id``) and all lie between the times."""

    text: str
    phrase: str = ""
    event_id: str = ""
    within: int = 3
    since: datetime | None = None
    until: datetime | None = None

    def is_answer(self, hit: Hit) -> bool:
        """Whether *hit* is the one that was looked for."""
        return hit.id == self.event_id or (bool(self.phrase) and self.phrase in hit.text)

    def place(self, hits: Sequence[Hit]) -> int | None:
        """The place of the right hit, from 1; None if it is not there."""
        return next((place for place, hit in enumerate(hits, start=1) if self.is_answer(hit)), None)

    def right(self, answer: SearchAnswer) -> bool:
        """Whether *answer* is right: the event is among the first, and none lies outside of the time."""
        place = self.place(answer.hits)
        inside = all(
            (self.since is None or self.since <= hit.occurred_at) and (self.until is None or hit.occurred_at < self.until)
            for hit in answer.hits
        )
        return place is not None and place <= self.within and inside


def _day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


KEYWORD = Question(text="INV-20418 ERR_TAX_ROUNDING", phrase="half-cent on line 3")
PARAPHRASES = (
    Question(text="How long do we have to hold on to old paperwork?", phrase="kept for ten years"),
    Question(text="Which foods make somebody on the team ill?", phrase="allergic to nuts"),
)
"""They share no word of weight with their answers."""

OUTAGE = "What caused the outage?"
SEPTEMBER = Question(text=OUTAGE, phrase="ran out of memory", since=_day("2026-09-21"), until=_day("2026-09-28"))
OCTOBER = Question(text=OUTAGE, phrase="expired certificate", since=_day("2026-10-05"), until=_day("2026-10-12"))
OTHERS = (
    Question(text="How fast may we call the Stratus API?", phrase="120 requests"),
    Question(text="who decides while Mara is on holiday", phrase="Jonas decides"),
    Question(text="discounts that sales may grant", phrase="15 percent"),
)
"""Further questions whose answers are compared before and after the rebuild."""

_WORD = re.compile(r"[^\W\d_]{4,}")


def made_of(events: Sequence[Event]) -> list[Question]:
    """Questions for a reader's own data: rare words of a few long events, which must bring those events back; the last one with its day."""
    counts = Counter(word for event in events for word in set(_words(event.text)))
    chosen: list[Question] = []
    for event in sorted(events, key=lambda event: (-min(len(event.text), 400), event.event_id)):
        words = sorted(dict.fromkeys(_words(event.text)), key=lambda word: (counts[word], -len(word), word))[:4]
        if len(words) >= 3 and counts[words[0]] <= 2:
            chosen.append(Question(text=" ".join(words), event_id=event.event_id, within=10))
        if len(chosen) == 5:
            break
    if chosen:
        last = next(event for event in events if event.event_id == chosen[-1].event_id)
        day = last.occurred_at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        chosen[-1] = Question(text=chosen[-1].text, event_id=last.event_id, within=10, since=day, until=day + timedelta(days=1))
    return chosen


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]
